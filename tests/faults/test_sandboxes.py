"""The function forbids its own process system calls that the runtime needs (seccomp)."""
import platform

import pytest

pytestmark = [pytest.mark.supervised, pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are x86-64's")]

# A classic BPF program: EPERM for these numbers, everything else is allowed.
FORBID = """
import ctypes, struct
numbers = %r
lines = [(0x20, 0, 0, 0)]
for number in numbers:
    lines += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050001)]
lines.append((0x06, 0, 0, 0x7FFF0000))
KEPT["program"] = program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
class Filter(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("program", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
return libc.prctl(22, 2, ctypes.byref(Filter(len(lines), ctypes.addressof(program))), 0, 0)
"""


@pytest.mark.parametrize("numbers", [[45], [47], [45, 47]], ids=["recvfrom", "recvmsg", "both"])
def test_a_worker_that_may_not_read_any_more_is_replaced(runtime, numbers):
    with runtime("snippets:run", allow_log=["ERROR ", "WARNING "]) as server:
        server.call(FORBID % (numbers,))
        for number in range(5):
            assert server.result("return %d" % number) == number
