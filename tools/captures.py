#!/usr/bin/env python3
"""Takes the pictures of docs/images again: `top`, `run` and `bench` as a terminal shows them (tmux), and the page of
ASYA_HTTP_ADDR as a browser does (Chromium). Needs tmux, chromium, and dist/asya_runtime.py.

A terminal becomes an SVG of its text, in the light or dark of whoever looks at it. A page becomes a PNG of at most 72
colours. Look at each of them before it is committed.
"""
import contextlib
import html
import os
import pathlib
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from harness import browser, client, control  # noqa: E402

IMAGES = ROOT / "docs" / "images"
RUNTIME = ROOT / "dist" / "asya_runtime.py"
CELL, LINE = 8, 17  # pixels of a character
HANDLER = '''import os, random, time

def process(payload):
    time.sleep(payload.get("seconds") or random.expovariate(150))
    if "text" not in payload:
        raise ValueError("text is missing")
    if payload["text"] == "crash":
        os.abort()
    return {"length": len(payload["text"])}

def length(payload):
    return {"length": len(payload["text"])}
'''


# -- pictures ---------------------------------------------------------------------------------------------------------------


def svg(text, columns):
    """The lines of a terminal. Each is stretched to its columns, whichever font there is."""
    lines = text.rstrip("\n").split("\n")
    width, height = columns * CELL + 24, len(lines) * LINE + 20
    yield '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">' % (width, height, width, height)
    yield ("<style>rect{fill:#f6f8fa;stroke:#d1d9e0}text{fill:#1f2328;font:13px ui-monospace,Menlo,'DejaVu Sans Mono',monospace;"
           "white-space:pre}@media(prefers-color-scheme:dark){rect{fill:#151b23;stroke:#3d444d}text{fill:#e6edf3}}</style>")
    yield '<rect x=".5" y=".5" width="%d" height="%d" rx="6"/>' % (width - 1, height - 1)
    for row, line in enumerate(lines):
        if line.strip():
            yield '<text x="12" y="%d" textLength="%d" xml:space="preserve">%s</text>' % (
                (row + 1) * LINE + 6, len(line.rstrip()) * CELL, html.escape(line.rstrip()))
    yield "</svg>\n"


def unfiltered(data, width, height, depth):
    """The rows of a PNG's pixels (its section 9)."""
    rows, size, at = [], width * depth, 0
    above = bytearray(size)
    for _ in range(height):
        kind, row = data[at], bytearray(data[at + 1 : at + 1 + size])
        for i in range(size) if kind else ():
            left, up = row[i - depth] if i >= depth else 0, above[i]
            corner = above[i - depth] if i >= depth else 0
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda value: abs(guess - value))
            row[i] = (row[i] + (left, up, (left + up) // 2, paeth)[kind - 1]) & 255
        rows.append(row)
        above, at = row, at + 1 + size
    return rows


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def small(png):
    """The same picture with a palette."""
    at, parts = 8, {}
    while at < len(png):
        size, name = struct.unpack_from(">I4s", png, at)
        parts[name] = parts.get(name, b"") + png[at + 8 : at + 8 + size]
        at += 12 + size
    width, height, bits, kind = struct.unpack_from(">IIBB", parts[b"IHDR"])
    depth = {2: 3, 6: 4}[kind]
    assert bits == 8
    rows = unfiltered(zlib.decompress(parts[b"IDAT"]), width, height, depth)
    pixels = [[tuple(row[x : x + 3]) for x in range(0, len(row), depth)] for row in rows]
    counts = {}
    for row in pixels:
        for pixel in row:
            counts[pixel] = counts.get(pixel, 0) + 1
    apart = lambda one, other: sum((a - b) ** 2 for a, b in zip(one, other))
    palette = sorted(counts, key=counts.get, reverse=True)[:24]
    nearest = {pixel: min(palette, key=lambda colour: apart(colour, pixel)) for pixel in counts}
    while len(palette) < 72:  # small things have colours, too: what is farthest from all that are there
        palette.append(max(counts, key=lambda pixel: apart(nearest[pixel], pixel)))
        for pixel in counts:
            nearest[pixel] = min(nearest[pixel], palette[-1], key=lambda colour: apart(colour, pixel))
    index = {colour: i for i, colour in enumerate(palette)}
    places = {pixel: index[nearest[pixel]] for pixel in counts}
    data = b"".join(b"\0" + bytes(places[pixel] for pixel in row) for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
            + chunk(b"PLTE", bytes(channel for colour in palette for channel in colour))
            + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


# -- what is shown ----------------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal of its own in which a command runs."""

    def __init__(self, folder, columns, rows, command):
        self.tmux, self.columns = ["tmux", "-L", "captures-%d" % os.getpid()], columns
        self("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder), "bash --norc")
        script = folder / "show"
        script.write_text("PS1='$ '\nclear\necho %s\n%s\n" % (shlex.quote("$ " + command), command))
        self("send-keys", "source ./show", "Enter")

    def __call__(self, *words):
        return subprocess.run([*self.tmux, *words], check=True, capture_output=True, text=True).stdout

    def text(self):
        return self("capture-pane", "-p")

    def save(self, name):
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / (name + ".svg")).write_text("\n".join(svg(self.text(), self.columns)))

    def close(self):
        self("kill-server")


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.1)


@contextlib.contextmanager
def busy(folder, port):
    """A runtime with three workers, and clients of it."""
    path = str(folder / "app.sock")
    env = {**os.environ, "ASYA_SOCKET_PATH": path, "ASYA_WORKERS": "3", "ASYA_HANDLER_TIMEOUT": "30", "ASYA_HTTP_ADDR": "127.0.0.1:%d" % port}
    stop = threading.Event()

    def ask(messages, pause):
        number = 0
        while not stop.is_set():
            with contextlib.suppress(Exception):
                client.call(path, messages[number % len(messages)])
            number += 1
            stop.wait(pause)

    def ask_slowly():
        while not stop.is_set():
            subprocess.run(["curl", "--silent", "--max-time", "20", "--unix-socket", path, "-H", "X-Request-ID: order-4711", "-d",
                            '{"payload":{"seconds":9,"text":"x"},"route":{"prev":[],"curr":"a","next":[]}}', "http://localhost/invoke"],
                           stdout=subprocess.DEVNULL, check=False)

    program = subprocess.Popen([sys.executable, str(RUNTIME), "serve", "handler:process"], cwd=folder, env=env, stderr=subprocess.DEVNULL)
    good = [b'{"text":"hello"}'] * 60 + [b'{"txt":"hello"}']
    clients = [threading.Thread(target=ask, args=arguments, daemon=True) for arguments in
               ((good, 0.003), (good, 0.004), ([b'{"text":"x"}'] * 3 + [b'{"text":"crash"}'], 2))]
    clients.append(threading.Thread(target=ask_slowly, daemon=True))
    try:
        until(lambda: os.path.exists(path))
        for thread in clients:
            thread.start()
        yield path
    finally:
        stop.set()
        program.terminate()
        program.wait()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="app-", dir="/tmp"))
    (folder / "handler.py").write_text(HANDLER)
    (folder / "asya_runtime.py").symlink_to(RUNTIME)
    os.environ["PATH"] = os.path.dirname(sys.executable) + ":" + os.environ["PATH"]
    port = control.free_port()
    wanted = sys.argv[1:] or ["top", "page", "run", "bench"]
    try:
        if {"top", "page"} & set(wanted):
            with busy(folder, port):
                if "top" in wanted:
                    with contextlib.closing(Terminal(folder, 90, 25, "python3 asya_runtime.py top --socket ./app.sock")) as terminal:
                        time.sleep(15)
                        terminal.save("top")
                if "page" in wanted:
                    with browser.opened("http://127.0.0.1:%d/" % port) as page:
                        page.size(900, 640)
                        time.sleep(62)
                        for scheme in ("light", "dark"):
                            page.prefer(scheme)
                            time.sleep(1)
                            (IMAGES / ("page-%s.png" % scheme)).write_bytes(small(page.picture()))
        if "run" in wanted:
            (folder / "in.jsonl").write_text('{"text": "hello"}\n' * 1000 + '{"txt": 1}\n' + '{"text": "hello"}\n' * 1500000)
            command = "python3 asya_runtime.py run handler:length in.jsonl -o out.jsonl --workers 2"
            with contextlib.closing(Terminal(folder, 90, 6, command)) as terminal:
                time.sleep(6)
                terminal.save("run")
        if "bench" in wanted:
            command = "python3 asya_runtime.py bench handler:length '{\"text\": \"hello\"}' --workers 2 --rate 2000"
            with contextlib.closing(Terminal(folder, 90, 34, command)) as terminal:
                until(lambda: terminal.text().rstrip().endswith("$") and "p99" in terminal.text())
                terminal.save("bench")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
