"""A connector of a state mount: keys and values over HTTP on a Unix socket, in memory, with the faults that a test asks for."""
import contextlib
import http.server
import json
import os
import socketserver
import threading
import urllib.parse


class Request:
    """What came, as a test looks at it."""

    def __init__(self, method, target, headers, chunks):
        self.method, self.target, self.headers, self.chunks = method, target, headers, chunks


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def give(self, status, body=b"", headers=()):
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        if not any(name in ("Content-Length", "Transfer-Encoding") for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, message):
        self.give(status, json.dumps({"error": "refused", "message": message}).encode())

    def body(self):
        """(chunks of the body, or their number where the connector does not keep them)"""
        chunks, keep = [], self.server.owner.keeps
        if self.headers.get("Transfer-Encoding") == "chunked":
            while True:
                line = self.rfile.readline()
                if not line.endswith(b"\r\n"):
                    return None
                size = int(line, 16)
                data = self.rfile.read(size)
                if len(data) < size or self.rfile.readline() != b"\r\n":
                    return None
                self.server.owner.received += size
                if not size:
                    return chunks
                if keep:
                    chunks.append(data)
        left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read(min(left, 1 << 16))
            if not data:
                return None
            left -= len(data)
            self.server.owner.received += len(data)
            if keep:
                chunks.append(data)
        return chunks

    def serve(self):
        owner = self.server.owner
        fault = owner.faults.pop(0) if owner.faults else None
        if fault:
            if fault(self) is not False:
                self.close_connection = True
                return
        chunks = self.body()
        owner.requests.append(Request(self.command, self.path, dict(self.headers.items()), chunks))
        if chunks is None:
            self.close_connection = True
            return
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        root, _, key = parts.path[1:].partition("/")
        getattr(self, "%s_%s" % (self.command, root))(owner, key, query, b"".join(chunks))

    do_GET = do_PUT = do_HEAD = do_DELETE = serve

    def GET_keys(self, owner, key, query, _):
        if not key:
            found = [name for name in sorted(owner.store) if name.startswith(query["prefix"])]
            rests = [name[len(query["prefix"]):] for name in found]
            folders = sorted({query["prefix"] + rest.split("/")[0] + "/" for rest in rests if "/" in rest})
            keys = [name for name, rest in zip(found, rests) if "/" not in rest]
            self.give(200, json.dumps({"keys": keys, "prefixes": folders}).encode())
        elif key in owner.store:
            self.give(200, owner.store[key])
        elif key in owner.streams:  # of unknown length
            self.give(200, b"", [("Transfer-Encoding", "chunked")])
            for data in owner.streams[key]():
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
        elif key in owner.sized:
            size, parts = owner.sized[key]
            self.give(200, b"", [("Content-Length", str(size))])
            for data in parts():
                self.wfile.write(data)
        else:
            self.refuse(404, "no key " + key)

    def HEAD_keys(self, owner, key, *_):
        is_file, is_folder = key in owner.store, any(name.startswith(key + "/") for name in owner.store)
        if not is_file and not is_folder:
            return self.give(404)
        size = len(owner.store[key]) if is_file else 0
        return self.give(200, b"", [("Content-Length", str(size)), ("X-Is-File", "true" if is_file else "false")])

    def PUT_keys(self, owner, key, _, body):
        if self.headers.get("If-None-Match") == "*" and key in owner.store:
            return self.refuse(412, "there is a key " + key)
        if owner.keeps:
            owner.store[key] = body
        return self.give(204)

    def DELETE_keys(self, owner, key, *_):
        if owner.store.pop(key, None) is None:
            return self.refuse(404, "no key " + key)
        return self.give(204)

    def GET_meta(self, owner, key, query, _):
        values = {"url": "memory://" + key, "size": len(owner.store.get(key, b"")), **owner.attributes.get(key, {})}
        if key not in owner.store:
            self.refuse(404, "no key " + key)
        elif "attr" not in query:
            self.give(200, json.dumps({"attrs": list(values)}).encode())
        elif query["attr"] in values:
            self.give(200, json.dumps({"attr": query["attr"], "value": values[query["attr"]]}).encode())
        else:
            self.refuse(400, "no attribute " + query["attr"])

    def PUT_meta(self, owner, key, query, body):
        if query["attr"] == "url":
            return self.refuse(403, "is read-only")
        owner.attributes.setdefault(key, {})[query["attr"]] = json.loads(body)["value"]
        return self.give(204)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def get_request(self):
        return self.socket.accept()[0], ("connector", 0)

    def handle_error(self, *_):
        pass  # the client went away in the middle: the test says what that means


class Connector:
    """connector.store has the keys; connector.faults are called, one for each request, instead of an answer, or before it
    if they return False."""

    def __init__(self, folder, name):
        self.path = os.path.join(str(folder), name + ".sock")
        self.store, self.streams, self.sized, self.attributes = {}, {}, {}, {}
        self.faults, self.requests = [], []
        self.keeps, self.received = True, 0
        self.start()

    def start(self):
        self.server = _Server(self.path, _Handler)
        self.server.owner = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        """It is gone, as is its socket."""
        self.server.shutdown()
        self.server.server_close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def asked(self):
        """Methods and targets so far, which are forgotten."""
        asked = [(request.method, request.target) for request in self.requests]
        self.requests.clear()
        return asked


def answering(status, message=""):
    """A fault: this status, at once, without reading what is sent."""
    return lambda handler: handler.refuse(status, message)


def waiting(event):
    """A fault: nothing, until a test sets the event."""
    def fault(_):
        event.wait(60)
        return False
    return fault


def cutting(size, said):
    """A fault: says that `said` bytes follow, sends `size` of them and goes."""
    def fault(handler):
        handler.give(200, b"x" * size, [("Content-Length", str(said))])
    return fault


def leaving(handler):
    """A fault: closes the connection without a word."""
