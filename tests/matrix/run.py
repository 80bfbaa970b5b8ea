#!/usr/bin/env python3
"""Runs the contract tests on every interpreter and in every place with one file, and writes the table of the outcome.

Interpreters are those that tests/harness/interpreters.py finds, and those that newer.sh, musl.sh and arm64.sh make here once. Places
are those of place.sh and, on the system's interpreter, containers (podman.sh), a pod (test_pod.py) and gVisor (gvisor.sh). What
cannot be had here is named and left out. Fails when a test fails, or when nothing was tested.
"""
import argparse
import concurrent.futures
import fnmatch
import hashlib
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness import interpreters  # noqa: E402
from harness.runtime import RUNTIME  # noqa: E402
from matrix import gvisor  # noqa: E402

CONTRACT = ["tests/socket", "tests/faults"]
# What takes long to start or to run has the files in which what a client sees is tested.
IN_CONTAINERS = ["tests/socket/test_replies.py", "tests/socket/test_conformance.py", "tests/socket/test_end_of_request.py",
                 "tests/socket/test_sizes.py", "tests/socket/test_modules.py", "tests/faults/test_worker_death.py"]
SYSTEM = "/usr/bin/python3"  # an interpreter in root's home is closed to other users
SCRIPT = "tests/matrix/place.sh"
PLACES = {
    "read-only": "all mounts read-only, /tmp and /dev/shm noexec",
    "memfd-noexec-1": "vm.memfd_noexec=1",
    "memfd-noexec-2": "vm.memfd_noexec=2",
    "no-proc": "no /proc",
    "user": "ordinary user without capabilities",
    "unknown-user": "user number without a passwd entry, group 0",
    "process-1": "process 1 of a process namespace",
    "restricted": "read-only, noexec, unknown user, no capabilities",
}
# Containers of podman's, by (runtime, place of podman.sh).
CONTAINERS = {
    ("crun", "restricted"): "podman with crun: read-only, unknown user, no capabilities, the project's seccomp profile",
    ("runc", "default"): "podman with runc: its seccomp profile and capabilities",
}
# What qemu-user, which runs the arm64 interpreter, does differently from a kernel; these tests are left out there.
QEMU = {
    "tests/faults/test_worker_death.py::test_the_log_tells_the_death_in_one_line": "the warning about the fdholder is a second line",
    "tests/faults/test_worker_death.py::test_nothing_is_appended_to_a_reply_that_has_begun": "it, not the kernel, writes what sendmmsg has sent, after the call",
    "tests/faults/test_calls.py": "strace would see its own calls",
    "tests/faults/test_lacks.py": "limits and filters would be its own",
    "tests/socket/test_modules.py::test_without_a_module_it_echoes_with_one_warning": "it refuses a clone() of the fdholder's kind, which is a second warning",
    "tests/faults/test_exceptions.py::test_the_supervisor_has_one_thread": "it has a thread of its own",
    "tests/faults/test_exceptions.py::test_a_real_shortage_of_memory_is_out_of_memory_and_survived": "it takes limits of memory for its own",
    "tests/faults/test_exceptions.py::test_a_result_too_large_for_memory_is_out_of_memory_and_survived": "likewise",
    "tests/faults/test_recycling.py::test_a_memory_limit_makes_exhaustion_an_error_of_the_request": "likewise",
}
# What makes places of its own, around those of place.sh.
WRAPPED = {
    "tests/faults/test_environment.py": "makes places of its own",
    "tests/faults/test_calls.py": "would have calls of place.sh fail",
    "tests/faults/test_lacks.py": "likewise",
}
# What a container's runtime changes on the way.
CONFINED = {
    "tests/socket/test_modules.py::test_the_function_sees_the_directory_the_environment_and_the_umask_it_was_started_with":
        "it sets the umask",
    "tests/socket/test_modules.py::test_a_bad_module_name_is_refused_with_one_line[bytes that are not UTF-8]":
        "podman changes variables that are not UTF-8",
}
FORKING = {"memfd-noexec-1", "memfd-noexec-2", "process-1"}
# What knows a process by its number outside, where these have a namespace of processes.
NUMBERED = {
    "tests/socket/test_stop.py::test_a_stop_while_starting_leaves_nothing": "a signal that comes so early meets the place being made",
    "tests/faults/test_exceptions.py::test_the_life_of_a_runtime_in_the_log": "the log has the number inside",
    "tests/faults/test_workers.py::test_all_of_them_serve": "the function says the number inside",
}


class Environment:
    """Where the contract is tested: what it is called, and the variables that lead the tests there."""

    def __init__(self, name, python, wrapper="", left_out=(), tests=(), around=(), has_own=False, program=None):
        """`around`: the words before pytest itself, where not the runtime alone but its tests run elsewhere. `has_own`:
        `tests` are all there are. `program`: another file than the one that is tested everywhere."""
        self.name, self.variables = name, {"ASYA_TEST_PYTHON": python, "ASYA_TEST_WRAPPER": wrapper}
        if program:
            self.variables.update(ASYA_RUNTIME=str(program), PYTHONPATH=str(RUNTIME.parent))  # what the tests import
        self.left_out, self.tests, self.around, self.has_own = left_out, tests, around, has_own
        self.counts, self.failed, self.skips = {}, [], []

    def run(self, arguments):
        """One pytest; fills counts, failed and skips."""
        with tempfile.TemporaryDirectory(prefix="asya-", dir="/tmp") as folder:
            os.chmod(folder, 0o755)  # to be entered by the users of some places
            report = os.path.join(folder, "report.xml")
            ended = subprocess.run(
                [*self.around, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", report, "--basetemp", os.path.join(folder, "pytest"),
                 *("--deselect=" + name for name in self.left_out), *(arguments or self.tests or CONTRACT)],
                cwd=ROOT, env={**os.environ, **self.variables, "CI": ""}, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, check=False)
            if ended.returncode not in (0, 1):
                raise SystemExit("%s: pytest ended with %d\n%s" % (self.name, ended.returncode, ended.stdout[-3000:]))
            suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
        counts = {key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")}
        counts["passed"] = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
        self.counts = counts
        for case in suite.iter("testcase"):
            name = "%s::%s" % (case.get("classname"), case.get("name"))
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(name)
            if case.find("skipped") is not None:
                self.skips.append("%s: %s" % (name, case.find("skipped").get("message")))
        return self, ended.stdout


def make():
    """The interpreters that no package of this machine has, the image for abi3t, and gVisor, once."""
    made = [("newer.sh", "debian-" + version, version) for version in interpreters.NEWER] + [
        ("debug.sh", "debug"), ("musl.sh", "musl"), ("arm64.sh", "arm64"), ("abi3t.sh", "abi3t")]
    for script, folder, *which in made:
        subprocess.run([ROOT / "tests" / "matrix" / script, interpreters.CACHE / folder, *which], check=True)
    if subprocess.run([ROOT / "tests" / "matrix" / "gvisor.sh", gvisor.INSIDE.parent], check=False).returncode:
        print("gVisor could not be built", flush=True)


def environments():
    """All there are here, interpreters first."""
    found = [i for i in interpreters.found() if i.fit]
    for interpreter in found:
        yield Environment(interpreter.name, interpreter.path, left_out=QEMU if interpreter.name.endswith("on arm64") else ())
    [system, *_] = [i for i in found if i.name.endswith("of the system")] or found
    for place, meaning in PLACES.items():
        wrapper = "%s%s %s" % (ROOT / SCRIPT, " --fork" if place in FORKING else "", place)
        left_out = [*WRAPPED, *NUMBERED] if place in FORKING else WRAPPED
        yield Environment(meaning, system.path, wrapper, left_out=left_out)
    for (runtime, place), meaning in CONTAINERS.items():
        if shutil.which("podman") and shutil.which(runtime):
            wrapper = "%s %s %s" % (ROOT / "tests/matrix/podman.sh", runtime, place)
            yield Environment(meaning, SYSTEM, wrapper, left_out=[*WRAPPED, *NUMBERED, *CONFINED], tests=IN_CONTAINERS)
    if shutil.which("podman") and shutil.which("runc"):
        yield Environment("podman kube play of examples/kubernetes/base", SYSTEM, tests=["tests/matrix/test_pod.py"], has_own=True)
    if not gvisor.refusal():
        yield Environment("gVisor, with clients outside of it", SYSTEM, tests=["tests/matrix/test_gvisor.py"], has_own=True)
        yield Environment("gVisor, with clients inside of it", SYSTEM, tests=IN_CONTAINERS, around=[gvisor.INSIDE])
    shared = interpreters.CACHE / "abi3t" / "asya_runtime.py"
    for interpreter in found:
        if interpreter.version >= (3, 15) and shared.exists():
            yield Environment(interpreter.name + ", the image for both kinds of build (abi3t)", interpreter.path,
                              tests=[*IN_CONTAINERS, "tests/socket/test_context.py", "tests/admin/test_user_metrics.py"], program=shared)


def table(done, tests):
    """The page, as Markdown."""
    data = RUNTIME.read_bytes()
    lines = [
        "# Compatibility", "",
        "Where the runtime was tested, and with what result. Each row ran the same bytes of `asya_runtime.py`: sha256 `%s`, %d bytes."
        % (hashlib.sha256(data).hexdigest(), len(data)),
        "The runtime ran where the row says, the tests on CPython %s outside, on %s with Linux %s."
        % (platform.python_version(), platform.machine(), platform.release().split("-")[0]), "",
        "The tests were %s%s; `tests/matrix/run.py` with these names repeats this."
        % (", ".join("`%s`" % name for name in tests or CONTRACT),
           "" if tests else ", in containers, in gVisor and for abi3t " + ", ".join("`%s`" % name for name in IN_CONTAINERS)),
        "`make matrix` runs all of `tests/socket` and `tests/faults` and writes this page.",
        "", "| where | passed | skipped | failed |", "| --- | --- | --- | --- |"]
    lines += ["| %s | %d | %d | %d |" % (e.name, e.counts["passed"], e.counts["skipped"], len(e.failed)) for e in done]
    reasons = sorted({skip.split(": ", 1)[1] for e in done for skip in e.skips})
    if reasons:
        lines += ["", "Tests were skipped for these reasons: " + "; ".join(reasons) + "."]
    for where, names in (("in containers", CONFINED), ("on arm64, because qemu-user is not a kernel", QEMU), ("in places", WRAPPED), ("in places with processes of their own", NUMBERED)):
        lines += ["", "Left out %s: %s." % (where, "; ".join("`%s` (%s)" % pair for pair in names.items()))]
    failed = [(e.name, name) for e in done for name in e.failed]
    if failed:
        lines += ["", "Failed:", ""] + ["* %s: `%s`" % pair for pair in failed]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="environments whose name matches this pattern")
    parser.add_argument("--make", action=argparse.BooleanOptionalAction, default=True, help="make the interpreters that are missing")
    parser.add_argument("--jobs", type=int, default=2, help="environments tested at once")
    parser.add_argument("--report", type=pathlib.Path, help="write the table there")
    parser.add_argument("--logs", type=pathlib.Path, help="write what pytest prints into this folder")
    parser.add_argument("tests", nargs="*", help="what pytest is to run (default: the contract)")
    options = parser.parse_args()
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
    if options.make:
        make()
    for tool in [name for name in ("podman", "crun", "runc") if not shutil.which(name)]:
        print("left out: %s is not installed" % tool, flush=True)
    if gvisor.refusal():
        print("left out: " + gvisor.refusal(), flush=True)
    chosen = [e for e in environments() if not options.only or any(fnmatch.fnmatch(e.name, o) for o in options.only)]
    chosen = [e for e in chosen if not (options.tests and e.has_own)]
    slowest_first = sorted(chosen, key=lambda e: not e.name.endswith("on arm64"))  # it is emulated
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for future in concurrent.futures.as_completed([pool.submit(e.run, options.tests) for e in slowest_first]):
            environment, output = future.result()
            print("%-60s %s" % (environment.name, output.strip().splitlines()[-1]), flush=True)
            for name in environment.failed:
                print("    failed: " + name, flush=True)
            if options.logs:
                (options.logs / (re.sub(r"\W+", "-", environment.name) + ".log")).write_text(output)
            if options.report:
                options.report.write_text(table([e for e in chosen if e.counts], options.tests))
    sys.exit(not chosen or any(e.failed or not e.counts["passed"] for e in chosen))


if __name__ == "__main__":
    main()
