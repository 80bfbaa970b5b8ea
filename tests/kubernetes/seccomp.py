#!/usr/bin/env python3
"""Runs a command under a seccomp profile as container runtimes read it: seccomp.py PROFILE COMMAND [ARGUMENT...]

The profile is translated by libseccomp, which is what container runtimes use.
"""
import ctypes
import json
import os
import sys

ACTIONS = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000}
OPERATORS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


class Argument(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp.h."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def action_of(rule, errno_key="errnoRet"):
    return ACTIONS[rule["action"]] | (rule.get(errno_key, 1) if rule["action"] == "SCMP_ACT_ERRNO" else 0)


def argument_of(entry):
    # for MASKED_EQ the profile's `value` is the mask and `valueTwo` what must remain
    return Argument(entry["index"], OPERATORS[entry["op"]], entry["value"], entry.get("valueTwo", 0))


def load(profile):
    """Puts this process, and all it starts, under the profile."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Argument)]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(ACTIONS[profile["defaultAction"]] | profile["defaultErrnoRet"])
    unknown = []
    for rule in profile["syscalls"]:
        arguments = [argument_of(entry) for entry in rule.get("args", [])]
        array = (Argument * max(1, len(arguments)))(*arguments)
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                unknown.append(name)
                continue
            status = library.seccomp_rule_add_array(context, action_of(rule), number, len(arguments), array)
            if status != 0:
                raise OSError(-status, "seccomp_rule_add for %s: %s" % (name, os.strerror(-status)))
    status = library.seccomp_load(context)
    if status != 0:
        raise OSError(-status, "seccomp_load")
    return unknown


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = json.load(file)
    unknown = load(profile)
    if unknown:
        sys.exit("seccomp.py: libseccomp knows no system call %s" % ", ".join(unknown))
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
