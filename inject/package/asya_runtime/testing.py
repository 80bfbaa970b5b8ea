"""For tests of functions: a runtime of its own at a socket in a folder of its own. Also a plugin for pytest."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import dumps, loads
from ._commands import client

PATIENCE = 60.0  # seconds for a start, a stop and a reply


class CallError(Exception):
    """The reply was an error: its category, class (None if it has none) and text."""

    def __init__(self, category, kind, message):
        Exception.__init__(self, "%s: %s%s" % (category, kind + ": " if kind else "", message))
        self.category, self.type, self.message = category, kind, message


class StartError(Exception):
    """The runtime ended instead of serving; the text is its log."""


class Runtime:
    """A running runtime."""

    def __init__(self, handler, settings):
        self.folder = tempfile.mkdtemp(prefix="asya-")
        self.socket_path = os.path.join(self.folder, "s")
        self._log = os.path.join(self.folder, "log")
        env = dict(os.environ, ASYA_PROCESS_MODULE=handler, ASYA_SOCKET_PATH=self.socket_path)
        for name in ("ASYA_CONTROL_PATH", "ASYA_HTTP_ADDR"):  # another runtime's
            env.pop(name, None)
        env["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)  # it imports what the test can import
        for name, value in settings.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            env["ASYA_" + name.upper()] = text
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "asya_runtime"], env=env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)

    def log(self):
        """All that the function and its runtime have written so far."""
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_ready(self):
        end = time.monotonic() + PATIENCE
        while True:
            if self.process.poll() is not None or time.monotonic() > end:
                raise StartError("not serving, exit code %s:\n%s" % (self.process.poll(), self.log()))
            try:
                client.connect(self.socket_path).close()
                return
            except OSError:
                time.sleep(0.01)

    def call(self, payload, timeout=PATIENCE):
        """The function's result for one payload; CallError for an error."""
        with client.connect(self.socket_path, timeout) as connection:
            reply = loads(client.exchange(connection, "raw", dumps(payload)))
        if "error" in reply:
            raise CallError(reply["error"], reply.get("type"), reply["message"])
        return reply["result"]

    def exchange(self, message, protocol="http", timeout=PATIENCE):
        """The whole reply to a whole message over `framed` or `http`; of a stream its events, as (name, value)."""
        events = []
        with client.connect(self.socket_path, timeout) as connection:
            reply = client.exchange(connection, protocol, dumps(message), events.append)
        if reply is None:
            return [(name.decode(), loads(data)) for event in events for name, data in client.events_of(event + b"\n\n")]
        return loads(reply) if reply else None

    def stop(self):
        """As Kubernetes stops a pod. The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.process.returncode


@contextlib.contextmanager
def serve(handler, **settings):
    """A block with a runtime that serves `handler`; settings in lower case, such as workers=2."""
    runtime = Runtime(handler, settings)
    try:
        runtime.wait_ready()
        yield runtime
    finally:
        runtime.stop()
