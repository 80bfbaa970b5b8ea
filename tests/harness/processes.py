"""Processes as the kernel shows them under /proc: descriptors, children, states, who carries a mark."""
import os
import time


def descriptors(pid):
    """The open descriptors of a process: number -> what it points at."""
    found = {}
    folder = "/proc/%d/fd" % pid
    try:
        numbers = os.listdir(folder)
    except OSError:
        return found
    for number in numbers:
        try:
            found[int(number)] = os.readlink(os.path.join(folder, number))
        except OSError:
            pass  # closed between the two calls
    return found


def descriptors_of_its_own(pid):
    """Those that are no library's: libffi 3.5 opens itself when ctypes makes its first callback, and stays open."""
    return {number: target for number, target in descriptors(pid).items() if "/libffi.so" not in target}


def command(pid):
    """The words of a process's command line."""
    with open("/proc/%d/cmdline" % pid) as file:
        return file.read().split("\0")[:-1]


def is_fdholder(pid):
    """Whether this is what shares a worker's descriptor table: it is part of its worker."""
    try:
        with open("/proc/%d/comm" % pid) as file:
            return file.read() == "asya-fdholder\n"
    except OSError:
        return False


def children(pid):
    """The direct children of a process without fdholders, zombies included."""
    return [child for child in all_children(pid) if not is_fdholder(child)]


def all_children(pid):
    """The direct children of a process, zombies included."""
    found = []
    try:
        tasks = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return found
    for task in tasks:
        try:
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            pass
    return sorted(child for child in found if parent(child) == pid)


def parent(pid):
    """The parent of a process, None when it is gone, or for a thread: gVisor lists a process's threads as children, too."""
    try:
        with open("/proc/%d/status" % pid) as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        return int(fields["PPid"]) if int(fields["Tgid"]) == pid else None
    except OSError:
        return None


def descendants(pid):
    """All processes below a process, nearest first."""
    found = []
    for child in children(pid):
        found.append(child)
        found += descendants(child)
    return found


def state(pid):
    """The state letter of a process (R, S, T, Z ...), None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return None


def switches(pid):
    """How often a process has gone to sleep of its own accord."""
    with open("/proc/%d/status" % pid) as file:
        return int(next(line.split()[1] for line in file if line.startswith("voluntary_ctxt_switches")))


def alive(pid):
    """Whether a process still runs: a zombie does not."""
    return state(pid) not in (None, "Z", "X")


def resident(pid):
    """Resident memory of a process in bytes."""
    with open("/proc/%d/statm" % pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def page_faults(pid):
    """How many pages a process has been given by the kernel, without those that came from a disk."""
    with open("/proc/%d/stat" % pid, "rb") as file:
        return int(file.read().rpartition(b") ")[2].split()[7])


def cpu_seconds(pid):
    """User and system time a process has used itself."""
    with open("/proc/%d/stat" % pid, "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid):
    """How many threads a process has."""
    return len(os.listdir("/proc/%d/task" % pid))


def bearers(mark):
    """Processes (zombies have no environment left) that were started with `mark` in their environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/environ" % name, "rb") as file:
                    if mark.encode() in file.read():
                        found.append(int(name))
            except OSError:
                pass
    return found


def eventually(condition, timeout=20.0, pause=0.005):
    """Wait until condition() is true; returns its last value. Who is right at once waits for nothing, so the limit is one
    for a slow and busy machine."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(pause)
