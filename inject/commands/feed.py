"""Feeds a runtime of its own with batches of lines.

A batch is a connection: its lines are HTTP requests in one write, which the worker answers in order, and then the
connection ends. So an idle worker takes the next batch, and the first line without a reply is the only one that may have
run. Lines without a reply go into a connection again. A batch has one line at first, and twice as many as long as it is
answered within 10 ms: a slow function gets its lines one by one.
"""
import os
import re
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections import deque

from . import EXTENSION, FAILED, START, Refusal, client, settings

FOLDER = "asya-run-"
HEAD = b"POST /invoke HTTP/1.1\r\nHost: run\r\nContent-Length: %d\r\n\r\n%b%b}"
LAST = HEAD.replace(b"run\r\n", b"run\r\nConnection: close\r\n")
PREFIX = b'{"route":{},"payload":'
AROUND = len(PREFIX) + 1
BEFORE, BEHIND = b'{"frames":[{"payload":', b',"route":{"prev":[],"curr":"","next":[]}}]}'
CUT, REST = len(BEFORE), -len(BEHIND)
LINES_MAX, PENDING_MAX = 64, 64 << 20
LINKS_MORE = 8  # connections for each worker, while its lines are quick
QUICK, SLOW = 0.010, 0.050
TRIES, RESTARTS = 5, 3
TRIES_KILLED = 2  # of a line whose worker gets SIGKILL: that may have come from outside, so once is no proof
# What another runtime on this machine may have, unless the command line gives it to this one.
ITS_OWN = ("ASYA_SOCKET_DIR", "ASYA_SOCKET_NAME", "ASYA_HANDLER_MODE", "ASYA_HANDLER_ARG_TYPE", "ASYA_HANDLER", "ASYA_ALLOWED_UIDS")
SHARED = ("ASYA_CONTROL_PATH", "ASYA_HTTP_ADDR")


class Killed(tuple):
    """The error of a line whose worker was killed by SIGKILL."""


class Runtime:
    """The runtime as a child that ends with us, at a socket in a folder of its own."""

    def __init__(self, log, state, protocol="http"):
        """`state` of the journal remembers the folder: whoever was killed has left one behind."""
        self.log, self.protocol = log, protocol
        left = state.get("folder", "")
        if os.path.basename(left).startswith(FOLDER):
            shutil.rmtree(left, ignore_errors=True)
        self.folder = tempfile.mkdtemp(prefix=FOLDER)
        state["folder"] = self.folder if len(self.folder) < 80 else ""
        self.path = os.path.join(self.folder, "s")
        self.process = None
        self.restarts = 0

    def start(self):
        env = dict(os.environ, ASYA_SOCKET_PATH=self.path, ASYA_PROTOCOL=self.protocol, ASYA_ENABLE_VALIDATION="false")
        env.setdefault("ASYA_LOG_LEVEL", "WARNING")
        for name in ITS_OWN + tuple(name for name in SHARED if name not in settings.given):
            env.pop(name, None)
        parent, size = os.getpid(), os.fstat(self.log).st_size
        self.process = subprocess.Popen(START, env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        start_new_session=True, preexec_fn=lambda: EXTENSION._end_with_parent(parent))
        while True:
            code = self.process.poll()
            if code is not None:
                said = os.pread(self.log, 1 << 16, size).decode("utf-8", "replace").splitlines()
                causes = [line.partition(" ERROR ")[2] for line in said if " ERROR " in line]
                raise Refusal("the function cannot be served: %s" % (causes or said or ["see the log"])[-1],
                              code if code > 0 else FAILED)
            try:
                client.connect(self.path).close()
                return
            except OSError:
                time.sleep(0.01)

    def watch(self):
        """Starts another one if it has ended."""
        if self.process.poll() is not None:
            self.restarts += 1
            if self.restarts > RESTARTS:
                raise Refusal("the runtime has ended %d times in a row, the last time with %s"
                              % (self.restarts, self.process.returncode), FAILED)
            self.start()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Link:
    """A connection and the batch that travels on it."""
    __slots__ = ("connection", "batch", "left", "parts", "began")

    def __init__(self, path, batch):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.setblocking(False)
        self.batch, self.parts, self.began = batch, [], time.monotonic()
        payloads = [batch.payloads[index] for index in batch.todo]
        last = payloads.pop()
        requests = [HEAD % (len(payload) + AROUND, PREFIX, payload) for payload in payloads]
        requests.append(LAST % (len(last) + AROUND, PREFIX, last))
        self.left = memoryview(b"".join(requests))
        try:
            self.connection.connect(path)
        except OSError:
            self.connection.close()
            raise

    def send(self):
        try:
            self.left = self.left[self.connection.send(self.left):]
        except BlockingIOError:
            pass
        except OSError:
            self.left = self.left[:0]  # the reply, if there is one, says why

    def receive(self):
        """False when all has come that will."""
        try:
            data = self.connection.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.parts.append(data)
        return bool(data)


heads = {}


def read_head(head):
    """(status, length of the body), the length None for a stream."""
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    status = int(head[9:12])
    heads[head] = found = status, int(length.group(1)) if length else 0 if status == 204 else None
    if len(heads) > 5000:
        heads.clear()
    return found


def read_stream(data):
    """The values that a generator has yielded, as one list; None if the stream is torn."""
    text, at = b"", 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(data[at:end], 16)
        if size == 0:
            break
        text += data[end + 2 : end + 2 + size]
        at = end + 4 + size
    items = []
    for name, value in client.events_of(text):
        if name == b"error":
            return judge(500, value, b"null")
        if name == b"downstream":
            items.append(EXTENSION.dumps(EXTENSION.loads(value)["payload"]))
    return b"[%b]" % b",".join(items)


def judge(status, body, payload):
    """The result of one reply: JSON text, an error, or None if the line is to be sent again."""
    if status == 200:
        return EXTENSION.dumps(EXTENSION.loads(body)["frames"][0]["payload"])
    if status == 204:
        return b"null"
    if status in (408, 503):
        return None
    reply = EXTENSION.loads(body)
    details = reply.get("details", {})
    kind, text = details.get("type") or "", details.get("message")
    if status == 413:
        return "message_too_large", None, text
    if status == 400:
        try:
            EXTENSION.loads(payload.rstrip(b"\r\n"))
        except ValueError as error:
            category, _, text = str(error).partition(": ")
            return category, None, text
        return "validation_error", kind, text
    if kind == "WorkerCrashed" and "(SIGKILL)" in text:
        return Killed(("processing_error", kind, text))
    if "MemoryError" in kind or "OutOfMemory" in kind:
        return "out_of_memory", kind, text
    is_value = kind == "ValueError" or "ValueError" in details.get("mro", ())
    return "validation_error" if is_value else "processing_error", kind, text


def collect(data, batch):
    """Takes the results out of what came for a batch; whether there was one at least."""
    at, done, todo, results, batch.killed = 0, 0, batch.todo, batch.results, None
    find, count = data.find, len(todo)
    while done < count:
        end = find(b"\r\n\r\n", at)
        if end < 0:
            break
        head = data[at:end]
        known = heads.get(head)
        status, length = known if known is not None else read_head(head)
        at = end + 4
        if length is None:
            result = read_stream(data[at:])
            at = len(data)
        else:
            body = data[at : at + length]
            if len(body) < length:
                break
            at += length
            if status == 200 and body.startswith(BEFORE) and body.endswith(BEHIND):
                result = body[CUT:REST]
            else:
                result = judge(status, body, batch.payloads[todo[done]])
        if result.__class__ is Killed:
            batch.killed, result = tuple(result), None
        if result is None:
            break
        results[todo[done]] = result
        done += 1
    del todo[:done]
    return done > 0


class Feed:
    def __init__(self, source, runtime, workers, concurrency):
        self.source, self.runtime, self.places = source, runtime, workers * concurrency
        self.links_max = self.places + LINKS_MORE * workers
        self.size, self.most, self.bytes, self.eof = 1, LINES_MAX, 0, False
        self.order, self.ready, self.links = deque(), deque(), {}
        self.selector = selectors.DefaultSelector()

    def fill(self):
        while not self.eof and len(self.ready) < self.links_max and self.bytes < PENDING_MAX:
            batch = self.source.take(self.size)
            if batch is None:
                self.eof = True
                return
            self.order.append(batch)
            self.bytes += sum(map(len, batch.raws))
            if batch.todo:
                self.ready.append(batch)

    def launch(self):
        now = time.monotonic()
        # of a slow function no more lines wait than keep its workers busy; a quick one is not to wait for our turn to run
        most = self.places + 1 if self.size == 1 else self.links_max
        while self.ready and len(self.links) < most and self.ready[0].not_before <= now:
            try:
                link = Link(self.runtime.path, self.ready[0])
            except OSError:
                self.ready[0].not_before = now + 0.05
                return
            self.ready.popleft()
            self.links[link.connection.fileno()] = link
            link.send()
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.left else 0)
            self.selector.register(link.connection, events, link)

    def finish(self, link):
        """The connection of a batch has ended."""
        self.selector.unregister(link.connection)
        del self.links[link.connection.fileno()]
        link.connection.close()
        batch, elapsed = link.batch, time.monotonic() - link.began
        data = b"".join(link.parts)
        if b"text/event-stream" in data[:200]:  # a generator: its stream ends the connection
            self.size = self.most = 1
        if collect(data, batch):
            batch.tries = self.runtime.restarts = 0
        else:
            batch.tries += 1
            batch.not_before = time.monotonic() + 0.1 * batch.tries
            if batch.tries >= (TRIES_KILLED if batch.killed else TRIES):
                batch.results[batch.todo.pop(0)] = batch.killed or ("server_error", None, "no reply, in %d tries" % TRIES)
                batch.tries = 0
        if batch.todo:
            self.ready.appendleft(batch)
        elif elapsed < QUICK:
            self.size = min(self.size * 2, self.most)
        elif elapsed > SLOW:
            self.size = max(self.size // 2, 1)

    def turn(self, more):
        """One round: begins batches if `more` are wanted, and takes what has come. False when nothing is left to do."""
        if more:
            self.fill()
            self.launch()
        if not self.links and not (more and self.ready):
            return more and not self.eof
        for key, events in self.selector.select(0.1 if self.links else 0.02):
            link = key.data
            if events & selectors.EVENT_WRITE:
                link.send()
                if not link.left:
                    self.selector.modify(link.connection, selectors.EVENT_READ, link)
            if events & selectors.EVENT_READ and not link.receive():
                self.finish(link)
        return True

    def take_done(self):
        """The batches from the first on that have all their results."""
        done = []
        while self.order and not self.order[0].todo:
            done.append(self.order.popleft())
            self.bytes -= sum(map(len, done[-1].raws))
        return done
