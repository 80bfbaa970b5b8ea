"""Clients that note, by its reply, how each of their requests has to be counted: tests/admin/test_metrics.py compares that
with GET /metrics, and tests/chaos/counts.py does so for many more requests and deaths."""
import collections
import json
import os
import random
import signal
import socket
import struct
import threading
import time

from prometheus_client import parser

# how often each is asked for, and over which protocols
DEEDS = {"echo": 300, "big": 8, "value": 10, "key": 10, "odd": 5, "memory": 4, "bad": 10, "nobody": 4, "large": 3, "late": 1,
         "exit": 2, "kill": 2, "segv": 1, "stream": 10, "stream_value": 3, "stream_kill": 1}
PROTOCOLS = ["raw", "framed", "http", "http_kept"]
OF_HTTP = {"nobody", "stream", "stream_value", "stream_kill"}
DEATHS = {"WorkerCrashed", "WorkerExited"}  # a cut reply does not say which of them cut it
MAX_MESSAGE = 4096
CUT = ("processing_error", "cut")
NAMELESS = {"JSONDecodeError": "invalid_json", "ConnectionError": "connection_error", "RuntimeError": "server_error"}


class Lost(AssertionError):
    """A request got no reply at all."""


def read_families(text, open_metrics=False):
    """The families of a document by name; refuses what Prometheus would."""
    if open_metrics:
        from prometheus_client.openmetrics import parser as strict
        return {family.name: family for family in strict.text_string_to_metric_families(text)}
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def requests_of(families):
    """{(protocol, outcome, error_type): count} where it is not 0."""
    found = collections.Counter()
    for sample in families["asya_runtime_requests"].samples:
        labels = sample.labels
        found[labels["protocol"], labels["outcome"], labels["error_type"]] += int(sample.value)
    return +found


def judge_named(details, do):
    """(outcome, error_type) by what the length prefix and HTTP say of an error."""
    name = details["type"].rpartition(".")[2]
    if name == "MemoryError":
        return "out_of_memory", "MemoryError" if do == "memory" else ""
    if name == "ValueError":
        return ("message_too_large", "") if do == "large" else ("validation_error", "" if do == "nobody" else "ValueError")
    return (NAMELESS[name], "") if name in NAMELESS else ("processing_error", name)


def judge_raw(reply, do):
    code = reply.get("error", "ok")
    if code == "processing_error":
        return code, reply["type"]
    return code, {"validation_error": "ValueError", "out_of_memory": "MemoryError" if do == "memory" else ""}.get(code, "")


class Client(threading.Thread):
    """Sends `count` requests one after the other."""

    def __init__(self, path, count, seed, deeds):
        super().__init__(daemon=True)
        self.path, self.count, self.chance = path, count, random.Random(seed)
        self.deeds, self.weights = list(deeds), list(deeds.values())
        self.counted = collections.Counter()
        self.sent = self.received = 0  # bytes, where nothing was cut
        self.failure = None
        self.kept = None

    def run(self):
        try:
            for _ in range(self.count):
                self.one()
        except Exception as error:  # the test raises it
            self.failure = error
        finally:
            self.close()

    def close(self):
        if self.kept is not None:
            self.kept.close()
        self.kept = None

    def connect(self):
        for pause in (0.001, 0.01, 0.1, 1, 5, None):  # the backlog may be full for a moment
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(60)
            try:
                connection.connect(self.path)
                return connection
            except BlockingIOError:
                connection.close()
                if pause is None:
                    raise
                time.sleep(pause)

    def one(self):
        [do] = self.chance.choices(self.deeds, self.weights)
        protocol = self.chance.choice(PROTOCOLS[2:] if do in OF_HTTP else PROTOCOLS)
        try:
            outcome = getattr(self, protocol)(do)
        except Lost as lost:
            raise Lost("%s: %s over %s" % (lost, do, protocol)) from None
        self.counted[(protocol.partition("_")[0], *outcome)] += 1

    def payload(self, do):
        pad = "x" * (MAX_MESSAGE + 1 if do == "large" else self.chance.randrange(40))
        return {"do": do, "pad": pad}

    def body(self, do, **around):
        if do == "bad":
            return b'{"payload": {"do": nonsense}}'
        payload = self.payload(do)
        return json.dumps(dict(around, payload=payload) if around else payload).encode()

    def send(self, connection, data):
        """False if it was refused before its end: then the reply is there, or a kept connection was closed."""
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.sent += len(data)
        return True

    def receive(self, connection):
        part = connection.recv(1 << 16)
        self.received += len(part)
        return part

    def read_all(self, connection):
        parts = []
        while True:
            part = self.receive(connection)
            if not part:
                break
            parts.append(part)
        if not parts:
            raise Lost("no reply")
        return b"".join(parts)

    # -- the protocols ----------------------------------------------------------------------------------------------------

    def raw(self, do):
        with self.connect() as connection:
            self.send(connection, self.body(do))
            if do == "bad":
                connection.shutdown(socket.SHUT_WR)
            data = self.read_all(connection)
        try:
            reply = json.loads(data)
        except ValueError:
            return CUT
        return judge_raw(reply, do)

    def framed(self, do):
        body = self.body(do, route={"actors": ["a", "b"], "current": 0})
        with self.connect() as connection:
            self.send(connection, struct.pack(">I", len(body)) + body)
            data = self.read_all(connection)
        if len(data) < 4 or len(data) - 4 < struct.unpack(">I", data[:4])[0]:
            return CUT
        [reply, *_] = json.loads(data[4:]) or [{}]
        return judge_named(reply["details"], do) if "error" in reply else ("ok", "")

    def http(self, do, keep=False):
        connection, kept = (keep and self.kept) or self.connect(), keep and self.kept is not None
        if keep:
            self.kept = None
        body = b"" if do == "nobody" else self.body(do, route={"prev": [], "curr": "a", "next": []})
        head = b"POST /invoke HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n"
        data = head % (b"" if keep else b"Connection: close\r\n", len(body)) + body
        if not self.send(connection, data) and kept:  # it was being closed, and not a byte was taken
            connection.close()
            connection = self.connect()
            self.send(connection, data)
        whole, stays, data = self.read_http(connection)
        if keep and whole and stays:
            self.kept = connection
        else:
            connection.close()
        return self.judge_http(whole, data, do)

    def http_kept(self, do):
        return self.http(do, keep=True)

    def read_http(self, connection):
        """(it came to its end, the connection is kept, body or events)"""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.receive(connection)
            if not part:
                if data:
                    return False, False, b""
                raise Lost("no reply")
            data += part
        head, _, data = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        stays = fields.get(b"connection") != b"close"
        size = int(fields[b"content-length"]) if b"content-length" in fields else None
        while len(data) < size if size is not None else not data.endswith(b"0\r\n\r\n"):
            part = self.receive(connection)
            if not part:
                return False, False, data
            data += part
        return True, stays and size is not None, data

    def judge_http(self, whole, data, do):
        if b"event: " not in data:
            if not whole:
                return CUT
            reply = json.loads(data) if data else {}
            return judge_named(reply["details"], do) if "error" in reply else ("ok", "")
        if not whole:
            return CUT
        for line in data.split(b"\n"):
            if line.startswith(b"data: ") and b'"error"' in line and b'"details"' in line:
                return judge_named(json.loads(line[6:])["details"], do)
        return "ok", ""


class Killer(threading.Thread):
    """Sends SIGKILL to one worker after the other."""

    def __init__(self, pids, count, interval, seed):
        super().__init__(daemon=True)
        self.pids, self.count, self.interval, self.chance = pids, count, interval, random.Random(seed)
        self.killed = 0
        self.over = threading.Event()

    def run(self):
        while self.killed < self.count and not self.over.wait(self.chance.uniform(0, 2 * self.interval)):
            workers = self.pids()
            if workers:
                try:
                    os.kill(self.chance.choice(workers), signal.SIGKILL)
                    self.killed += 1
                except ProcessLookupError:
                    pass

    def stop(self):
        self.over.set()
        self.join()


def run_clients(path, count, clients, seed, deeds):
    """What `clients` of them have seen, as they count it."""
    threads = [Client(path, count // clients, seed + number, deeds) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thread in threads:
        if thread.failure is not None:
            raise thread.failure
    return threads


def compare(found, seen):
    """Lines that say where the runtime has counted otherwise than its clients have seen."""
    found, seen, problems = collections.Counter(found), collections.Counter(seen), []
    for protocol in ("raw", "framed", "http"):
        cut = seen.pop((protocol, *CUT), 0)
        for name in sorted(DEATHS) if cut else ():  # the cut ones are among these
            key = (protocol, "processing_error", name)
            taken = min(cut, max(found[key] - seen[key], 0))
            seen[key] += taken
            cut -= taken
        if cut:
            problems.append("%s: %d cut replies are not counted as deaths" % (protocol, cut))
    for key in sorted(set(found) | set(seen)):
        if found[key] != seen[key]:
            problems.append("%s: counted %d, seen %d" % (key, found[key], seen[key]))
    return problems


def seen_by(clients):
    return sum((one.counted for one in clients), collections.Counter())


__all__ = ["CUT", "Client", "DEEDS", "Killer", "Lost", "MAX_MESSAGE", "compare", "read_families", "requests_of",
           "run_clients", "seen_by"]
