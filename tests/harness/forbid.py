"""Refuses system calls to a program, as a container's filter may (seccomp): forbid.py ERROR NAME[,NAME...] PROGRAM [ARGUMENT...]

By the numbers of x86-64. Runs on any CPython, since the tests' own starts it.
"""
import ctypes
import errno
import os
import struct
import sys

NUMBERS = {"waitid": 247, "eventfd2": 290, "accept4": 288, "kill": 62, "sigaltstack": 131, "signalfd4": 289}
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
REFUSE, ALLOW = 0x00050000, 0x7FFF0000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38


class Program(ctypes.Structure):
    """struct sock_fprog"""
    _fields_ = [("size", ctypes.c_ushort), ("lines", ctypes.c_void_p)]


def main():
    error, names, *command = sys.argv[1:]
    lines = [(LOAD, 0, 0, 0)]
    for name in names.split(","):
        lines += [(JUMP_IF_EQUAL, 0, 1, NUMBERS[name]), (RETURN, 0, 0, REFUSE | getattr(errno, error))]
    lines.append((RETURN, 0, 0, ALLOW))
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(Program(len(lines), ctypes.addressof(text))), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(command[0], command)


main()
