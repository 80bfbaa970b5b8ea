"""A headless Chromium, spoken to by its DevTools protocol over a WebSocket (RFC 6455)."""
import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import urllib.request

import pytest

from . import client, processes

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """One page; what goes wrong in it is collected in `faults`."""

    def __init__(self, url):
        host, path = url[len("ws://") :].split("/", 1)
        name, port = host.split(":")
        self._socket = socket.create_connection((name, int(port)), client.PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(("GET /%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                              "Sec-WebSocket-Version: 13\r\n\r\n" % (path, host, key)).encode())
        self._in = self._socket.makefile("rb")
        assert b" 101 " in self._in.readline()
        while self._in.readline() != b"\r\n":
            pass
        self._number, self.faults = 0, []
        for domain in ("Log", "Runtime", "Page"):
            self.ask(domain + ".enable")

    def close(self):
        self._in.close()
        self._socket.close()

    def _receive(self):
        text, last = b"", False
        while not last:
            first, size = self._in.read(2)
            if size > 125:
                size, = struct.unpack(">H" if size == 126 else ">Q", self._in.read(2 if size == 126 else 8))
            text += self._in.read(size)
            last = first & 0x80
        return json.loads(text)

    def ask(self, method, **parameters):
        """The result of one command."""
        self._number += 1
        text = json.dumps({"id": self._number, "method": method, "params": parameters}).encode()
        size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
        self._socket.sendall(b"\x81" + size + bytes(4) + text)  # a mask of zeros
        while True:
            said = self._receive()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            if said["method"] == "Runtime.exceptionThrown" or \
                    said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.faults.append(said["params"])

    def run(self, script):
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def becomes(self, script):
        """Whether an expression becomes true."""
        return processes.eventually(lambda: self.run(script))

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key if len(key) > 1 else "Space", windowsVirtualKeyCode=code,
                     **({"text": key} if len(key) == 1 and kind == "keyDown" else {}))

    def size(self, width, height):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme):
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self):
        """The visible part as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def opened(url):
    """The page at `url`, in a browser that ends with the block."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("chromium is not installed")
    home = tempfile.mkdtemp(prefix="asya-browser-", dir="/tmp")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0",
             "--user-data-dir=" + home, "about:blank"]
    browser = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": home})
    port = os.path.join(home, "DevToolsActivePort")
    try:
        assert processes.eventually(lambda: os.path.exists(port) and open(port).read().count("\n") >= 1, 3 * client.PATIENCE)
        with open(port) as file:
            address = "http://127.0.0.1:%s/json" % file.readline().strip()
        targets = json.loads(urllib.request.urlopen(address, timeout=client.PATIENCE).read())
        page = Page(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
        with contextlib.closing(page):
            page.ask("Page.navigate", url=url)
            yield page
    finally:
        browser.kill()
        browser.wait()
        shutil.rmtree(home, ignore_errors=True)
