"""One reply for every request, whatever happens to the worker that serves it (W1, W2, W3, W6, W8, W9)."""
import concurrent.futures
import contextlib
import os
import re
import signal
import time

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

DEATH = ["ERROR .*worker"]


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run", allow_log=DEATH) as server:
        yield server


@pytest.fixture
def mortal(serving):
    """A runtime whose worker may die, and must each time be followed by exactly one other."""
    with serving.watched(allow_log=DEATH):
        yield serving


KILL = "import os, signal\nos.kill(os.getpid(), signal.%s)\nimport time; time.sleep(5)"

# the code, the type of the reply, what the message names
DEATHS = {
    "SIGKILL": (KILL % "SIGKILL", "WorkerCrashed", "signal 9|SIGKILL"),
    "SIGSEGV": (KILL % "SIGSEGV", "WorkerCrashed", "signal 11|SIGSEGV"),
    "SIGBUS": (KILL % "SIGBUS", "WorkerCrashed", "signal 7|SIGBUS"),
    "SIGILL": (KILL % "SIGILL", "WorkerCrashed", "signal 4|SIGILL"),
    "SIGFPE": (KILL % "SIGFPE", "WorkerCrashed", "signal 8|SIGFPE"),
    "SIGABRT": (KILL % "SIGABRT", "WorkerCrashed", "signal 6|SIGABRT"),
    "a null pointer": ("import ctypes\nctypes.string_at(0)", "WorkerCrashed", "signal 11|SIGSEGV"),
    "os.abort": ("import os\nos.abort()", "WorkerCrashed", "signal 6|SIGABRT"),
    "os._exit(0)": ("import os\nos._exit(0)", "WorkerExited", r"\b0\b"),
    "os._exit(3)": ("import os\nos._exit(3)", "WorkerExited", r"\b3\b"),
    "os._exit with the runtime's own status for tampering": ("import os\nos._exit(76)", "WorkerExited", r"\b76\b"),
    "os._exit in a thread": ("import os, threading, time\nthreading.Thread(target=os._exit, args=(4,)).start()\ntime.sleep(5)",
                             "WorkerExited", r"\b4\b"),
    "exec of another program": ("import os\nos.execv('/bin/false', ['false'])", "WorkerExited", r"\b1\b"),
    "C's exit": ("import ctypes\nctypes.CDLL(None).exit(5)", "WorkerExited", r"\b5\b"),
}


@pytest.mark.parametrize("code, kind, names", DEATHS.values(), ids=DEATHS)
def test_death_by(mortal, code, kind, names):
    reply = mortal.call(code)
    assert (reply["error"], reply["type"]) == ("processing_error", kind)
    assert re.search(names, reply["message"]), reply
    assert mortal.result("return 1") == 1


@pytest.mark.parametrize("code", ["import os\nos._exit(1)", KILL % "SIGKILL", "import ctypes\nctypes.string_at(0)"],
                         ids=["exit", "SIGKILL", "SIGSEGV"])
def test_every_one_of_many_deaths_gets_its_reply(runtime, code):
    with runtime("snippets:run", allow_log=DEATH) as server:
        for _ in range(int(os.environ.get("ASYA_TEST_DEATHS", 6))):
            assert server.call(code)["error"] == "processing_error"
            assert server.result("return 1") == 1


def test_a_kill_from_outside_is_answered_at_once(runtime):
    with runtime("answers:nap", allow_log=DEATH) as server:
        [worker] = server.worker_pids()
        with server.connect() as connection:
            connection.send(b"30 ")
            time.sleep(0.2)
            os.kill(worker, signal.SIGKILL)
            started = time.monotonic()
            reply = connection.reply()
            assert (reply["error"], reply["type"]) == ("processing_error", "WorkerCrashed")
            assert time.monotonic() - started < 1
        started = time.monotonic()
        assert server.result(0) == 0
        assert time.monotonic() - started < 2
        assert server.worker_pids() != [worker]


def test_the_log_tells_the_death_in_one_line(serving):
    with serving.watched(expect_log=["ERROR .*worker.*(signal 9|SIGKILL)"]):
        before = len(serving.logs())
        serving.call(KILL % "SIGKILL")
        serving.result("return 1")
        told = [line for line in serving.logs()[before:] if not line.quiet]
        assert len(told) == 1, told


def test_those_who_wait_are_served_by_the_next_worker(runtime):
    with runtime("snippets:run", allow_log=DEATH) as server:
        with server.connect() as dying:
            waiting = [server.connect() for _ in range(20)]
            dying.send(b'"import os, time\\ntime.sleep(0.3)\\nos._exit(1)"')
            time.sleep(0.1)
            for number, connection in enumerate(waiting):
                connection.send(b'"return %d"' % number)
            assert dying.reply()["type"] == "WorkerExited"
            for number, connection in enumerate(waiting):
                assert connection.reply()["result"] == number, "not the fault of this request"
                connection.close()


def test_half_sent_messages_survive_the_worker(runtime):
    """Connected before the death, finished after it: an answer, not silence."""
    with runtime("snippets:run", allow_log=[*DEATH, "WARNING"]) as server:
        with server.connect() as half, server.connect() as silent:
            half.send(b'"return')
            time.sleep(0.1)
            server.call("import os\nos._exit(1)")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                half.send(b' 5"')
            silent.send(b'"return 6"')
            assert silent.reply() == {"status": "ok", "result": 6}
            assert half.reply().get("error", "ok") in ("ok", "processing_error", "server_error", "connection_error")


HALVES = {"http": (b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 503 "),
          "length prefix": (b"\0\0\0\x09{", b"\0\0\0"), "bare json": (b'{"a":', b'{"error":"server_error"')}


@pytest.mark.parametrize("half, reply", HALVES.values(), ids=HALVES)
def test_a_half_sent_message_of_a_dead_worker_is_answered_in_its_own_protocol(runtime, half, reply):
    with runtime("answers:echo", allow_log=[*DEATH, "WARNING"]) as server:
        [worker] = server.worker_pids()
        with server.connect() as connection:
            connection.send(half)
            time.sleep(0.1)
            os.kill(worker, signal.SIGKILL)
            assert connection.receive_all().startswith(reply)


def test_a_worker_killed_while_idle_is_replaced_unnoticed(runtime):
    with runtime("answers:echo", allow_log=DEATH) as server:
        for number in range(5):
            for worker in server.worker_pids():
                os.kill(worker, signal.SIGKILL)
            assert server.result(number) == number


def test_nothing_is_appended_to_a_reply_that_has_begun(runtime):
    """The client sees a truncated reply or a whole one, never two."""
    with runtime("answers:echo", allow_log=[*DEATH, "WARNING"]) as server:
        with server.connect() as connection:
            connection.send(b'"' + b"x" * 5_000_000 + b'"')
            got = connection.receive(1000)
            os.kill(server.worker_pids()[0], signal.SIGKILL)
            try:
                while True:
                    part = connection.receive(1 << 20)
                    if not part:
                        break
                    got += part
            except ConnectionResetError:
                pass
            assert got.startswith(b'{"status":"ok","result":"xxx')
            assert b"error" not in got
        assert server.result(1) == 1


def test_fifty_workers_dying_at_once_leave_no_zombie(runtime):
    with runtime("answers:echo", env={"ASYA_WORKERS": "16"}, allow_log=DEATH) as server:
        for worker in server.worker_pids():
            os.kill(worker, signal.SIGKILL)
        assert server.result(1) == 1
        assert processes.eventually(lambda: len(server.worker_pids()) == 16, 15)


FORKS = {
    "a fork that returns twice": ("import os\nos.fork()\nreturn 'twice'", "twice"),
    "three forks that return": ("import os\nos.fork(); os.fork()\nreturn 'often'", "often"),
    "a fork whose child raises": ("import os\nif os.fork() == 0: raise RuntimeError('child')\nreturn 'parent'", "parent"),
    "a fork whose child exits": ("import os\nif os.fork() == 0: os._exit(0)\nos.wait()\nreturn 'parent'", "parent"),
    "a fork whose child calls sys.exit":
        ("import os, sys\nif os.fork() == 0: sys.exit(0)\nreturn 'parent'", "parent"),
    "multiprocessing": ("import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: return p.map(abs, [-1, -2])",
                        [1, 2]),
}


@pytest.mark.parametrize("code, result", FORKS.values(), ids=FORKS)
def test_there_is_one_reply_after(runtime, code, result):
    with runtime("snippets:run", allow_log=["WARNING", "ERROR"], worker_children=True) as server:
        assert server.call(code) == {"status": "ok", "result": result}
        for number in range(10):
            assert server.result("return %d" % number) == number
        assert processes.eventually(
            lambda: list(filter(processes.alive, processes.descendants(server.pid))) == server.worker_pids()), \
            "a child of the function goes on as if it were a worker"


def test_children_the_function_left_end_with_their_worker(runtime):
    """The process group of a worker is ended with it."""
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)\nreturn 'left one'"
    with runtime("snippets:run", allow_log=DEATH, worker_children=True) as server:
        assert server.result(code) == "left one"
        [worker] = server.worker_pids()
        [child] = processes.children(worker)
        os.kill(worker, signal.SIGKILL)
        assert server.result("return 1") == 1
        assert processes.eventually(lambda: not processes.alive(child), 3)


def test_a_child_holding_the_connection_does_not_delay_the_reply(runtime):
    """The reply ends with the server's close, not when the last copy of the descriptor is closed."""
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(3)\n    os._exit(0)\nreturn 'quick'"
    with runtime("snippets:run", worker_children=True) as server:
        started = time.monotonic()
        assert server.result(code) == "quick"
        assert time.monotonic() - started < 2


DESTRUCTION = {
    "closes every descriptor": "import os\nos.closerange(3, 4096)\nreturn 1",
    "closes every descriptor and the standard ones": "import os\nos.closerange(0, 4096)\nreturn 1",
    "puts /dev/null over every descriptor":
        "import os\nnull = os.open('/dev/null', os.O_RDWR)\n"
        "[os.dup2(null, int(fd)) for fd in os.listdir('/proc/self/fd') if int(fd) not in (0, 1, 2, null)]\nreturn 1",
    "writes garbage to every descriptor":
        "import os\n"
        "for fd in os.listdir('/proc/self/fd'):\n"
        "    if int(fd) > 2:\n"
        "        try:\n            os.set_blocking(int(fd), False); os.write(int(fd), b'\\xa5' * 65536)\n"
        "        except OSError: pass\nreturn 1",
    "reads from every descriptor":
        "import os\n"
        "for fd in os.listdir('/proc/self/fd'):\n"
        "    if int(fd) > 2:\n"
        "        try:\n            os.set_blocking(int(fd), False); os.read(int(fd), 65536)\n"
        "        except OSError: pass\nreturn 1",
    "fills shared memory with garbage":
        "import ctypes, re\n"
        "for line in open('/proc/self/maps'):\n"
        "    if re.search(r' rw-s ', line) and '/dev/zero' in line or 'memfd' in line and ' rw-s ' in line:\n"
        "        start, end = (int(x, 16) for x in line.split()[0].split('-'))\n"
        "        ctypes.memset(start, 0xA5, end - start)\nreturn 1",
}


@pytest.mark.parametrize("code", DESTRUCTION.values(), ids=DESTRUCTION)
def test_one_well_formed_end_and_a_served_next_request_when_the_function(runtime, code):
    """Garbage may reach the client only where the function itself wrote to the client's connection."""
    with runtime("snippets:run", allow_log=["WARNING", "ERROR", ""], worker_descriptors=True, code=None) as server:
        supervisor = server.pid
        with server.connect() as connection:
            connection.send(('"%s"' % code.replace("\n", "\\n")).encode())
            data = connection.receive_all()
            assert data.count(b'{"') == 1, data[:300]
        for number in range(10):
            assert processes.eventually(server.reachable)
            assert server.result("return %d" % number) == number
        assert server.pid == supervisor and server.running
        assert server.stop() == 0


def test_what_a_random_killer_does_is_one_reply_each(runtime, dice):
    """Numbered requests from four clients while workers are killed at random moments: none lost, none mixed up."""
    total = int(os.environ.get("ASYA_TEST_CHAOS", 400))
    with runtime("answers:nap", env={"ASYA_WORKERS": "2"}, allow_log=[*DEATH, "WARNING"]) as server:
        deaths = 0
        seeds = [dice.random() for _ in range(4)]

        def client(number):
            answers = []
            for count in range(total // 4):
                value = (number * 1_000_000 + count) / 1e12 + seeds[number] * 1e-3
                answers.append((value, server.call(value)))
            return answers

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(client, number) for number in range(4)]
            while not all(future.done() for future in clients):
                time.sleep(dice.uniform(0.05, 0.15))
                workers = server.worker_pids()
                if workers and deaths < 30:
                    try:
                        os.kill(dice.choice(workers), dice.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]))
                        deaths += 1
                    except ProcessLookupError:
                        pass
            answers = [answer for future in clients for answer in future.result()]
        assert len(answers) == total // 4 * 4
        for value, reply in answers:
            crashed = reply.get("type") == "WorkerCrashed" or reply.get("error") == "server_error"  # run, or not begun
            assert crashed or reply == {"status": "ok", "result": value}, reply
        assert deaths
