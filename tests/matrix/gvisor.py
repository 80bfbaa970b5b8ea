"""gVisor, where tests/matrix/gvisor.sh has built it: a program in it runs on a kernel of its own, written in Go."""
import functools
import subprocess

from harness.interpreters import CACHE

INSIDE = CACHE / "gvisor" / "inside"


@functools.lru_cache(maxsize=None)
def refusal():
    """Why it cannot be tried here; empty where it can."""
    if not INSIDE.exists():
        return "no gVisor on this machine"
    ended = subprocess.run([INSIDE, "/bin/true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return "gVisor cannot run here: " + (ended.stderr.splitlines() or ["no root"])[-1] if ended.returncode else ""
