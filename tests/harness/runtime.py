"""A runtime under test: started in a folder of its own, and inspected for whatever it leaves behind."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import pytest

from . import client, control, logs, processes

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
RUNTIME = pathlib.Path(os.environ.get("ASYA_RUNTIME", REPOSITORY / "dist" / "asya_runtime.py"))
PYTHON = os.environ.get("ASYA_TEST_PYTHON", sys.executable)
WRAPPER = os.environ.get("ASYA_TEST_WRAPPER", "").split()  # a place to run in, see tests/matrix
HANDLERS = REPOSITORY / "tests" / "data" / "handlers"

EXIT_OK, EXIT_USAGE, EXIT_SYNTAX, EXIT_NO_MODULE, EXIT_NO_ATTRIBUTE, EXIT_NOT_CALLABLE = 0, 64, 65, 66, 67, 68
EXIT_NEEDS_PARAMETERS, EXIT_IMPORT_RAISED, EXIT_STARTUP_TIMEOUT = 69, 71, 72
EXIT_SOCKET, EXIT_ALREADY_RUNNING, EXIT_LACK, EXIT_UNFIT = 73, 75, 77, 78
EXIT_INTERNAL = 70

# What is logged under qemu-user (tests/matrix/arm64.sh): it refuses a clone() of the fdholder's kind, and tells of signals.
EMULATOR = "/build/cache/arm64/"
EMULATOR_LOG = ["WARNING.*no fdholder .Invalid argument", "^qemu: uncaught target signal"]

SETTLE = 5.0  # seconds for descriptors, children and the socket's folder to be as before


def skip_unless_importable(*modules, **options):
    """Skips where the interpreter under test, which need not be this one, lacks one of the modules."""
    for module in modules:
        if subprocess.run([PYTHON, "-c", "import " + module], stderr=subprocess.DEVNULL, check=False).returncode:
            pytest.skip("the interpreter under test has no " + module, **options)


class StartError(AssertionError):
    """The runtime ended instead of serving."""


class Runtime:
    """One runtime process, its folder, its log."""

    def __init__(self, handler=None, env=None, args=(), cwd=None, path=None, python=PYTHON, flags=(), wrapper=(),
                 umask=-1, program=RUNTIME, stdin=subprocess.DEVNULL, stdout=None, stderr=None):
        self.mark = "asya-test-%s" % uuid.uuid4().hex
        self._home = pathlib.Path(tempfile.mkdtemp(prefix="asya-", dir="/tmp"))
        self.folder = self._home / "s"
        self.folder.mkdir()
        self.path = str(path or self.folder / "app.sock")
        self.log_file = self._home / "stderr"
        self.out_file = self._home / "stdout"
        wrapper = [*map(str, wrapper), *WRAPPER]
        self._command = [*wrapper, str(python), *flags, str(program), *args]
        self._python = str(python)
        self._forks = wrapper.count("--fork")
        self._pid_file = self._home / "container.pid" if any(word.endswith("/podman.sh") for word in wrapper) else None
        self._always_allowed = EMULATOR_LOG if EMULATOR in str(python) else ["^unshare: sigprocmask "] if self._forks else []
        self._cwd = str(cwd or self._home)
        self._umask = umask
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self._home), "LANG": "C.UTF-8",
            "TMPDIR": str(self._home), "PYTHONPATH": str(HANDLERS), "PYTHONDONTWRITEBYTECODE": "1",
            "ASYA_SOCKET_PATH": self.path, "TEST_MARK": self.mark,
        }
        if handler is not None:
            self.env["ASYA_PROCESS_MODULE"] = handler
        for name, value in (env or {}).items():
            if value is None:
                self.env.pop(name, None)
            else:
                self.env[name] = str(value)
        self.process = None
        self._judged = 0
        self.clean_before = self._listing()

    # -- life ---------------------------------------------------------------------------------------------------------

    def launch(self):
        """Start the process, wait for nothing."""
        if not RUNTIME.exists():
            raise StartError("no runtime at %s: build it, or set ASYA_RUNTIME" % RUNTIME)
        with open(self.log_file, "wb") as err, open(self.out_file, "wb") as out:
            self.process = subprocess.Popen(
                self._command, stdin=self._stdin, stdout=self._stdout or out, stderr=self._stderr or err, cwd=self._cwd, env=self.env,
                umask=self._umask, start_new_session=True)
        if WRAPPER:
            processes.eventually(self._in_place, client.PATIENCE)
        return self

    def _in_place(self):
        """Whether what made the place has become the interpreter, or has ended."""
        try:
            return self.process.poll() is not None or processes.command(self.pid)[0] == self._python
        except (IndexError, OSError):
            return False

    def reachable(self):
        """Whether a connection is accepted right now, and not by what a killed runtime has left: its fdholder keeps the
        listener for a moment."""
        try:
            connection = client.Connection(self.path, 1.0)
            listening = connection.peer_pid()
            connection.close()
            return listening == 0 or processes.alive(listening)  # 0: in another PID namespace
        except OSError:
            return False

    def wait_ready(self, timeout=client.PATIENCE):
        """Until the socket takes connections; StartError when the process ends first."""
        def ready_or_over():
            return self.process.poll() is not None or self.reachable()

        processes.eventually(ready_or_over, timeout)
        if self.process.poll() is not None or not self.reachable():
            raise StartError("not serving (exit %s), log: %s" % (self.process.poll(), self.log_text()[-3000:]))
        return self

    def launches(self):
        """Start the process: true once it serves; false if it has refused, which it must say by its exit code."""
        self.launch()
        try:
            self.wait_ready()
        except StartError:
            assert self.process.poll() not in (None, 0), "a start that fails says so by its exit code"
            return False
        return True

    def wait_complete(self):
        """Until all workers are ready, where there are several: the first one alone makes the socket appear."""
        count = int(self.env.get("ASYA_WORKERS", 1))
        if count > 1 and self._stderr is None:
            self.wait_for_log("INFO.*worker .*ready", count=count)

    def wait(self, timeout=client.PATIENCE):
        """The exit code once the process has ended by itself or by a signal sent before."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running after %s s, log: %s" % (timeout, self.log_text()[-3000:])) from None

    def kill(self, number):
        """Send a signal to the supervisor alone."""
        os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM, timeout=client.PATIENCE):
        """Ask it to stop; returns the exit code."""
        if self.running:
            with contextlib.suppress(ProcessLookupError, IndexError):
                self.kill(number)
        return self.wait(timeout)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        """The supervisor; below each wrapper that forks (unshare --fork) its only child; in a container, which is
        no child of its wrapper, what podman has written."""
        if self._pid_file:
            return int(self._pid_file.read_text().split()[0])
        pid = self.process.pid
        for _ in range(self._forks):
            pid = processes.children(pid)[0]
        return pid

    def worker_pids(self):
        """The workers alive now."""
        return [pid for pid in processes.children(self.pid) if processes.alive(pid)]

    # -- talk ---------------------------------------------------------------------------------------------------------

    def connect(self, timeout=client.PATIENCE):
        return client.Connection(self.path, timeout)

    def call(self, message=b"", **options):
        """One exchange, see client.call."""
        return client.call(self.path, message, **options)

    def result(self, message, **options):
        """The result of a call that must succeed."""
        reply = self.call(message, **options)
        assert reply.get("status") == "ok", reply
        return reply["result"]

    # -- the control socket -------------------------------------------------------------------------------------------

    @property
    def control_path(self):
        return self.env.get("ASYA_CONTROL_PATH") or self.path + ".ctl"

    def control(self, path, method="GET", body=None, **options):
        """One request to the control socket, see control.ask."""
        return control.ask(self.control_path, path, method, body, **options)

    def status(self):
        """What GET /status says."""
        answer = self.control("/status")
        assert answer.status == 200, answer
        return answer.json

    # -- log ----------------------------------------------------------------------------------------------------------

    def log_text(self):
        return self.log_file.read_bytes().decode("utf-8", "backslashreplace")

    def logs(self):
        """All complete lines of standard error so far."""
        return logs.split(self.log_file.read_bytes())

    def wait_for_log(self, pattern, timeout=client.PATIENCE, count=1):
        """The lines that match, once there are at least `count` of them."""
        def matches():
            found = [line for line in self.logs() if re.search(pattern, line.text, re.DOTALL)]
            return found if len(found) >= count else None

        matching = processes.eventually(matches, timeout)
        assert matching, "%r was not logged %d times: %s" % (pattern, count, self.log_text()[-3000:])
        return matching

    # -- inspection ---------------------------------------------------------------------------------------------------

    def _listing(self):
        return sorted(os.listdir(os.path.dirname(self.path))) if os.path.isdir(os.path.dirname(self.path)) else []

    def _count(self):
        """(descriptors of the supervisor, most descriptors of a worker, workers, what else lives below)."""
        workers = processes.children(self.pid)
        most = max((len(processes.descriptors_of_its_own(pid)) for pid in workers), default=0)
        return len(processes.descriptors(self.pid)), most, len(workers)

    def baseline(self):
        """The counts once they stand still."""
        last = self._count()
        for _ in range(100):
            time.sleep(0.01)
            now = self._count()
            if now == last and self._have_begun():
                break
            last = now
        return last

    def _have_begun(self):
        """Every worker has what it waits with: it says that it is ready a moment before."""
        return all(any("eventpoll" in name for name in processes.descriptors(pid).values())
                   for pid in processes.children(self.pid))

    def _faults(self, before, worker_descriptors, worker_children):
        """What differs from `before`, as a list of sentences; empty when all is well."""
        supervisor, worker, count = self._count()
        found = []
        if supervisor > before[0]:
            found.append("supervisor has %d descriptors, had %d: %s" % (
                supervisor, before[0], processes.descriptors(self.pid)))
        if worker > before[1] and not worker_descriptors:
            found.append("a worker has %d descriptors, had %d: %s" % (
                worker, before[1], [processes.descriptors(pid) for pid in self.worker_pids()]))
        if count != before[2]:
            found.append("%d children, had %d: %s" % (
                count, before[2], [(pid, processes.state(pid)) for pid in processes.children(self.pid)]))
        below = [pid for pid in processes.descendants(self.pid) if pid not in processes.children(self.pid)]
        if below and not worker_children:
            found.append("processes below the workers: %s" % below)
        whole = processes.children if worker_children else processes.descendants
        zombies = [pid for pid in whole(self.pid) if processes.state(pid) == "Z"]
        if zombies:
            found.append("zombies: %s" % zombies)
        return found

    @contextlib.contextmanager
    def watched(self, expect_log=(), allow_log=(), **on_purpose):
        """Whatever happens in the block leaves nothing behind (see intact) and logs only what is declared:
        expect_log lines must come, allow_log lines may."""
        with self.intact(**on_purpose):
            yield self
        self.judge_log(expect_log, allow_log)

    @contextlib.contextmanager
    def intact(self, worker_descriptors=False, worker_children=False):
        """Whatever happens in the block leaves no descriptor, child or zombie behind.

        worker_descriptors and worker_children say that the handler itself leaks them on purpose."""
        before = self.baseline()
        yield self
        if not self.running:
            return
        settled = processes.eventually(
            lambda: not self._faults(before, worker_descriptors, worker_children) or not self.running, SETTLE)
        if self.running and not settled:  # judged once: a worker may be replaced again in the next moment
            faults = self._faults(before, worker_descriptors, worker_children)
            assert not faults, "left behind: " + "; ".join(faults)

    def judge_log(self, expect=(), allow=()):
        """Judge the lines since the last judgement."""
        def unjudged():
            return self.logs()[self._judged:]

        def all_came():
            try:
                logs.judge(unjudged(), expect, allow=[""])
                return True
            except AssertionError:
                return False

        processes.eventually(all_came, SETTLE)
        lines = unjudged()
        self._judged += len(lines)
        logs.judge(lines, expect, [*allow, *self._always_allowed])

    def check_gone(self, leaves=()):
        """After its end: no process, no file."""
        left = processes.eventually(lambda: not processes.bearers(self.mark), SETTLE) or processes.bearers(self.mark)
        assert left is True, "processes survived: %s" % [(pid, processes.state(pid)) for pid in left]
        expected = sorted({*self.clean_before, *leaves})
        assert self._listing() == expected, "files beside the socket: %s" % self._listing()

    def discard(self):
        """Kill what is left and remove the folder; never fails."""
        if self.process is not None:
            if self.running:
                with contextlib.suppress(OSError, IndexError):
                    os.kill(self.pid, signal.SIGKILL)
                self.process.kill()
            self.process.wait()
            for pid in processes.bearers(self.mark):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._home, ignore_errors=True)


@contextlib.contextmanager
def serve(handler=None, expect_log=(), allow_log=(), code=EXIT_OK, leaves=(), worker_descriptors=False,
          worker_children=False, ready=True, **options):
    """A serving runtime for the block; afterwards it is stopped, must exit with `code` (None: any), and is inspected.

    A test that ends the runtime itself says with `leaves` which files may stay. ready=False starts and waits for nothing."""
    runtime = Runtime(handler, **options)
    try:
        runtime.launch()
        if ready:
            runtime.wait_ready()
            runtime.wait_complete()
            with runtime.intact(worker_descriptors, worker_children):
                yield runtime
        else:
            yield runtime
        ended = runtime.stop()
        assert code is None or ended == code, "exit code %s, log: %s" % (ended, runtime.log_text()[-3000:])
        runtime.judge_log(expect_log, allow_log)
        runtime.check_gone(leaves)
    except BaseException:
        print("--- log of the runtime ---\n%s" % (runtime.log_text()[-6000:] if runtime.log_file.exists() else ""))
        raise
    finally:
        runtime.discard()


class Refusal:
    """How a start that was refused went: exit code, seconds, lines, and the one cause line."""

    def __init__(self, code, seconds, lines):
        self.code, self.seconds, self.lines = code, seconds, lines
        self.errors = [line for line in lines if line.level == "ERROR"]

    @property
    def cause(self):
        """The one ERROR line; after it at most that the runtime stops."""
        assert len(self.errors) == 1, "not one cause line: %r" % self.lines
        after = self.lines[self.lines.index(self.errors[0]) + 1:]
        assert all(line.quiet for line in after), "more follows the cause: %r" % self.lines
        return self.errors[0].message.partition("\n")[0]

    @property
    def traceback(self):
        """What stands below the cause line."""
        return "".join(line.text.partition("\n")[2] for line in self.errors)


def refuse(handler=None, timeout=client.PATIENCE, leaves=(), **options):
    """A start that must fail: nothing may stay, neither process nor file."""
    runtime = Runtime(handler, **options)
    try:
        started = time.monotonic()
        runtime.launch()
        code = runtime.wait(timeout)
        runtime.check_gone(leaves)
        return Refusal(code, time.monotonic() - started, runtime.logs())
    finally:
        runtime.discard()
