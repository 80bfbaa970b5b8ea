"""Which worker this is, as it was while the module loaded."""
import ctypes
import os

getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
SEEN = [os.environ.get("ASYA_WORKER"), (getenv(b"ASYA_WORKER") or b"").decode()]


def process(payload):
    with open("/proc/self/comm") as file:
        return SEEN + [file.read().strip(), os.getpid()]
