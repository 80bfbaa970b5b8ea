"""What a process has open, for functions that look at it."""
import os


def seen():
    """number -> what it is"""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink("/proc/self/fd/" + number)
        except OSError:
            pass
    return found
