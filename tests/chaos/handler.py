"""What the chaos run's function does: as each request says, mostly nothing but to give its number back."""
import ctypes
import os
import signal
import time


def process(payload):
    number, deed = payload["number"], payload["do"]
    if deed != "echo":
        DEEDS[deed](payload)
    return {"number": number}


def nap(payload):
    time.sleep(payload["number"] % 7 / 1000)


def leave(payload):
    os._exit(payload["number"] % 200)


def crash(_):
    ctypes.string_at(0)


def kill(payload):
    os.kill(os.getpid(), [signal.SIGKILL, signal.SIGABRT, signal.SIGBUS, signal.SIGTERM][payload["number"] % 4])
    time.sleep(1)


def hang(_):
    while True:
        pass


def hang_stubbornly(_):
    while True:
        try:
            while True:
                pass
        except BaseException:  # as code does that nobody should write
            pass


def stop(_):
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def exhaust(_):
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def close(_):
    os.closerange(3, 4096)


def fork_twice(_):
    os.fork()


DEEDS = {"nap": nap, "leave": leave, "crash": crash, "kill": kill, "hang": hang, "stubborn": hang_stubbornly,
         "stop": stop, "exhaust": exhaust, "close": close, "fork": fork_twice}
