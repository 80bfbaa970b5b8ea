"""What `check` adds to its line about the function: settings, versions, limits, and the socket's folder."""
import os
import platform
import resource
import stat
import sys

from . import EXTENSION, START, settings



def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def amount(number):
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return "%.4g %s" % (number, unit)
        number /= 1024


def limit(kind, show=str):
    soft, hard = (show(value) if value != resource.RLIM_INFINITY else "unlimited" for value in resource.getrlimit(kind))
    return soft if soft == hard else "%s (at most %s)" % (soft, hard)


def cgroup():
    """(CPUs, bytes) that the container may use, as text."""
    root = "/sys/fs/cgroup"
    inside = read("/proc/self/cgroup").rpartition("::")[2].strip("/") if os.path.exists(root + "/cgroup.controllers") else ""
    cpu = memory = "no limit"
    folder = os.path.join(root, inside)
    quota = read(folder + "/cpu.max").split() or [read(root + "/cpu/cpu.cfs_quota_us"), read(root + "/cpu/cpu.cfs_period_us")]
    if quota[0].isdigit() and int(quota[0]) > 0:
        cpu = "%.3g CPUs" % (int(quota[0]) / int(quota[1]))
    most = read(folder + "/memory.max") or read(root + "/memory/memory.limit_in_bytes")
    if most.isdigit() and int(most) < 1 << 60:
        memory = amount(int(most))
    return cpu, memory


def folder_of(path):
    """The socket's folder, who owns it, and whether a start can put the socket there."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        above = folder
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        return "%s is not there; a start %s make it" % (folder, "can" if os.access(above, os.W_OK) else "cannot")
    about = os.stat(folder)
    return "%s %s, owner %d:%d, %s" % (folder, stat.filemode(about.st_mode), about.st_uid, about.st_gid,
                                       "writable" if os.access(folder, os.W_OK) else "not writable for user %d" % os.geteuid())


def socket_path(values):
    """Where the socket is, by the rules of options_resolve() in src/base/options.c."""
    folder, name = values["ASYA_SOCKET_DIR"], values["ASYA_SOCKET_NAME"]
    if values["ASYA_SOCKET_PATH"] or not (folder or name or values["ASYA_HANDLER"]):
        return values["ASYA_SOCKET_PATH"] or "/tmp/sockets/app.sock"
    return "%s/%s" % (folder or "/var/run/asya", name or "asya-runtime.sock")


def run(arguments):
    known = settings.known()
    cpu, memory = cgroup()
    path = socket_path({setting.name: setting.value for setting in known})
    rows = [("versions", [("runtime", "%s (%s)" % (EXTENSION.__version__, START[-1])),
                          ("Python", "%s, %s" % (sys.version.split()[0], sys.executable)),
                          ("system", "Linux %s, %s, %s" % (platform.release(), platform.machine(),
                                                           " ".join(platform.libc_ver()).strip() or "musl"))]),
            ("limits", [("descriptors", limit(resource.RLIMIT_NOFILE)),
                        ("processes", limit(resource.RLIMIT_NPROC)),
                        ("data", limit(resource.RLIMIT_DATA, amount)),
                        ("CPUs", "%d to run on; quota: %s" % (len(os.sched_getaffinity(0)), cpu)),
                        ("memory", "container: " + memory)]),
            ("place", [("user", "%d:%d" % (os.geteuid(), os.getegid())), ("working folder", os.getcwd()),
                       ("socket", path), ("its folder", folder_of(path))]),
            ("settings that are not the default",
             [(setting.name, setting.value) for setting in known if setting.value not in (None, setting.default)]),
            ("defaults", [(setting.name, setting.default) for setting in known
                          if setting.value in (None, setting.default) and setting.default])]
    for title, lines in rows:
        if lines:
            print("%s:" % title)
            for name, value in lines:
                print("  %-25s %s" % (name, value))
