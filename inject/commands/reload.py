"""`serve --reload`: the runtime as a child, whose workers are replaced when a source of the function changes.

Which files these are is found by reading them: what the function's module imports, and what that imports, as far as it
lies in the working directory or in another folder of sys.path that is neither Python's own nor site-packages. Nothing of
the user's runs in this process. A worker is forked from a supervisor that has not loaded the function, so the next one
reads what is there now.
"""
import ast
import os
import select
import signal
import subprocess
import sys
import time

from . import EXTENSION, START, Refusal, control, say, settings

POLL, SETTLED, PATIENCE = 0.5, 0.1, 1.0  # seconds: between looks; unchanged for; for a worker that loads what is old now
LOAD_FAILED = (65, 66, 67, 68, 69, 71)  # exit codes of a start that another text of the function may mend
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def folders():
    library = os.path.dirname(os.path.realpath(os.__file__))
    found = [os.getcwd()] + [os.path.realpath(path) for path in sys.path if os.path.isdir(path or ".")]
    return [path for path in dict.fromkeys(found) if not (path + "/").startswith(library + "/")
            and os.path.basename(path) not in ("site-packages", "dist-packages", "lib-dynload")]


def imports(text, package):
    """Names of modules in this source; of what is imported from a module it is not known whether it is one, too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, above + [node.module or ""]))
            yield from (base + "." + alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(getattr(node.args[0], "value", None), str):
            if getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
                yield node.args[0].value


class Sources:
    def __init__(self, name):
        self.name, self.folders, self.seen = name.replace(":", "."), folders(), {}
        self.find()

    def files_of(self, name):
        """(file, its package) of a module and of the packages that it is in; what stands behind it in the name is ignored."""
        for folder in self.folders:
            path, found = folder, []
            for index, part in enumerate(name.split(".")):
                package = ".".join(name.split(".")[:index])
                path = os.path.join(path, part)
                if os.path.isfile(path + "/__init__.py"):
                    found.append((path + "/__init__.py", name[: len(package) + bool(package) + len(part)]))
                elif os.path.isfile(path + ".py"):
                    return found + [(path + ".py", package)]
                elif not os.path.isdir(path):
                    break
            if found:
                return found
        return []

    def find(self):
        """Looks again at which files there are. What is imported where nothing can be read stays as it was."""
        names, found = [self.name], set()
        while names:
            for file, package in self.files_of(names.pop()):
                if file in found:
                    continue
                found.add(file)
                try:
                    with open(file, "rb") as source:
                        names += imports(source.read(), package)
                except (OSError, SyntaxError, ValueError, RecursionError):
                    found.update(self.seen)
        self.seen = {file: self.look(file) for file in found}

    @staticmethod
    def look(file):
        try:
            found = os.stat(file)
            return found.st_mtime_ns, found.st_size, found.st_ino
        except OSError:
            return None

    def changed(self):
        """Whether one has changed, once no more changes come."""
        seen = None
        while seen != {file: self.look(file) for file in self.seen}:
            if seen is not None:
                time.sleep(SETTLED)
            elif all(self.look(file) == before for file, before in self.seen.items()):
                return False
            seen = {file: self.look(file) for file in self.seen}
        self.find()
        return True


class Reloader:
    def __init__(self, sources, path):
        self.sources, self.path, self.child, self.stopping, self.again, self.since = sources, path, None, False, False, 0
        self.woken, ours = os.pipe()
        os.set_blocking(ours, False)
        signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in FORWARDED:
            signal.signal(number, self.forward)

    def forward(self, number, _):
        self.stopping = self.stopping or number not in (signal.SIGUSR1, signal.SIGUSR2)
        if self.child and self.child.poll() is None:
            self.child.send_signal(number)

    def start(self):
        parent = os.getpid()

        def begin():  # a group of its own: a terminal's Ctrl-C comes once, from us
            os.setpgid(0, 0)
            EXTENSION._end_with_parent(parent)
        # bytecode files are found out of date by the second and the size only
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        self.child = subprocess.Popen(START, env=env, preexec_fn=begin)

    def wait(self):
        """Until something has happened or it is time to look."""
        if select.select([self.woken], [], [], POLL)[0]:
            os.read(self.woken, 64)

    def renew(self):
        """Has the workers replaced by such as load what is there now. False: not yet."""
        try:
            status = control.status(self.path)
        except Refusal:
            status = {"state": "loading", "workers": []}
        if status["state"] == "loading":  # none serves yet: begin anew
            self.again = True
            self.child.terminate()
            return True
        loading = [worker["pid"] for worker in status["workers"] if worker["state"] == "starting"]
        if loading and time.monotonic() - self.since > PATIENCE:
            for pid in loading:
                os.kill(pid, signal.SIGKILL)
        return not loading and control.ask(self.path, "/recycle", b"")[0] == 200

    def serve(self):
        """One life of the runtime; its exit code."""
        self.start()
        pending = False
        while self.child.poll() is None:
            if not self.stopping and self.sources.changed():
                say("--reload: the sources have changed")
                pending, self.since = True, time.monotonic()
            try:
                pending = pending and not self.stopping and not self.renew()
            except (Refusal, OSError):  # it ends in this moment, or a worker has
                pass
            self.wait()
        return self.child.returncode

    def run(self):
        """Until it is stopped, or ends by itself; its exit code."""
        code = None
        while not self.stopping and (code is None or self.again or code in LOAD_FAILED):
            if code in LOAD_FAILED and not self.again:
                say("--reload: waiting for a change of the sources")
                while not self.stopping and not self.sources.changed():
                    self.wait()
            if not self.stopping:
                self.again = False
                code = self.serve()
        return code


def run(arguments):
    words = settings.take([word for word in arguments if word != "--reload"])
    if len(words) > 1:
        raise Refusal("unexpected argument '%s': serve [HANDLER] --reload" % words[1])
    if words:
        settings.put("ASYA_PROCESS_MODULE", words[0])
    name = os.environ.get("ASYA_PROCESS_MODULE") or os.environ.get("ASYA_HANDLER")
    if not name:
        raise Refusal("--reload needs a function: serve handler:process --reload")
    path = control.parse(control.parser("serve"), []).control
    code = Reloader(Sources(name), path).run()
    if code < 0:  # as it has ended, so do we
        if -code in FORWARDED:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
