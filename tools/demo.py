#!/usr/bin/env python3
"""Show the runtime at work: start it on the example handlers, send real messages, print every reply.

Each reply is compared with the documented one; the exit status is 0 only if all of them are right and the runtime
stopped with status 0 and left no socket behind.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HANDLERS = ROOT / "examples" / "handlers"
MAX_MESSAGE_SIZE = 64 * 1024
WIDTH = 300  # of a message that is shown whole, in characters


def ok(result):
    """The documented reply to a message that was processed."""
    return {"status": "ok", "result": result}


def error(code, text):
    """The documented reply to one that was not: the message is free text that contains `text`."""
    return {"error": code, "message": text}


# (module:function, [(what is shown, the request's bytes, the documented reply)])
RUNS = [
    (
        "single_response:process",
        [
            (
                "a good message",
                b'{"id": 1, "text": "What a lovely day"}',
                ok({"id": 1, "text": "What a lovely day", "words": 4, "label": "positive"}),
            ),
            (
                "text in any script",
                '{"text": "今日は good 🌞"}'.encode(),
                ok({"text": "今日は good 🌞", "words": 3, "label": "positive"}),
            ),
        ],
    ),
    (
        "fan_out:process",
        [
            (
                "a fan-out: the function returns a list",
                b'{"id": "doc-1", "text": "First sentence. Second one."}',
                ok(
                    [
                        {"id": "doc-1", "part": 1, "parts": 2, "text": "First sentence."},
                        {"id": "doc-1", "part": 2, "parts": 2, "text": "Second one."},
                    ]
                ),
            ),
            (
                "a message the function fails on: KeyError",
                b'{"id": "doc-2"}',
                {**error("processing_error", "text"), "type": "KeyError"},
            ),
        ],
    ),
    (
        "validation:process",
        [
            (
                "a bad message: the function raises ValueError",
                b'{"prompt": "Hello", "max_tokens": 5000}',
                error("validation_error", "max_tokens must be between 1 and 4096, not 5000"),
            ),
            ("not JSON", b'{"prompt": "Hello",}', error("invalid_json", "")),
            ("not UTF-8", b'{"prompt": "\xff"}', error("invalid_encoding", "")),
            ("nothing at all", b"", error("empty_message", "")),
            (
                f"too large: 100,000 bytes where {MAX_MESSAGE_SIZE} are allowed",
                b'{"prompt": "' + b"x" * (100_000 - 14) + b'"}',
                error("message_too_large", ""),
            ),
            (
                "and the next good one",
                b'{"prompt": " Hello "}',
                ok({"prompt": "Hello", "max_tokens": 256}),
            ),
        ],
    ),
]


class Failure(Exception):
    """The runtime did not do what is documented."""


def is_documented(reply, documented):
    """Whether a reply is exactly the documented object; an error's message need only contain its text."""
    if "error" not in documented:
        return reply == documented
    if not isinstance(reply, dict) or not isinstance(reply.get("message"), str) or not reply["message"]:
        return False
    return documented["message"] in reply["message"] and {**reply, "message": documented["message"]} == documented


def exchange(path, request):
    """Send one message on its own connection and read until the runtime closes it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # a refused message may be answered before all of it is sent
        with client.makefile("rb") as reply:
            return reply.read()


def shorten(data):
    """Bytes as a person would like to see them."""
    text = data.decode("utf-8", "backslashreplace") or "(nothing)"
    if len(text) > WIDTH:
        text = f"{text[:60]} ... {text[-20:]}  ({len(data):,} bytes)"
    return text


def start(runtime, handler, folder):
    """Start the runtime and wait until its socket accepts. Returns (process, socket path, log path)."""
    path, log = os.path.join(folder, "app.sock"), os.path.join(folder, "log")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    environment.update(
        ASYA_SOCKET_PATH=path,
        ASYA_PROCESS_MODULE=handler,
        ASYA_MAX_MESSAGE_SIZE=str(MAX_MESSAGE_SIZE),
        PYTHONDONTWRITEBYTECODE="1",
    )
    with open(log, "wb") as file:
        process = subprocess.Popen([sys.executable, runtime], cwd=HANDLERS, env=environment, stderr=file)
    deadline = time.monotonic() + 10
    while not os.path.exists(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise Failure("the runtime did not start:\n" + pathlib.Path(log).read_text())
        time.sleep(0.005)
    return process, path, log


def stop(process, path):
    """SIGTERM, as Kubernetes stops a container."""
    process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=30)
    if status != 0:
        raise Failure(f"the runtime ended with status {status} after SIGTERM")
    if os.path.exists(path):
        raise Failure("the runtime left its socket behind")


def show(path, title, request, documented):
    """One exchange, printed. Returns whether the reply is the documented one."""
    print(f"\n  {title}")
    print(f"    -> {shorten(request)}")
    begin = time.perf_counter()
    reply = exchange(path, request)
    duration = time.perf_counter() - begin
    print(f"    <- {shorten(reply)}  [{duration * 1000:.1f} ms]")
    try:
        right = is_documented(json.loads(reply), documented)
    except ValueError:
        right = False
    if not right:
        print(f"    !! documented: {json.dumps(documented, ensure_ascii=False)}")
    return right


def run(runtime, handler, messages):
    """Start, send, stop, print the log. Returns the number of replies that are not the documented ones."""
    with tempfile.TemporaryDirectory(prefix="asya-demo-") as folder:
        print(f"\n$ ASYA_PROCESS_MODULE={handler} python3 {os.path.basename(runtime)}")
        process, path, log = start(runtime, handler, folder)
        try:
            wrong = sum(not show(path, *message) for message in messages)
            stop(process, path)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        print("\n  its log, after SIGTERM:")
        for line in pathlib.Path(log).read_text().splitlines():
            print(f"    | {line}")
        return wrong


def main():
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runtime", default=ROOT / "dist" / "asya_runtime.py", type=pathlib.Path, help="the one file")
    arguments = parser.parse_args()
    if not arguments.runtime.exists():
        sys.exit(f"{arguments.runtime} does not exist: build it with `make`")
    try:
        wrong = sum(run(str(arguments.runtime.resolve()), handler, messages) for handler, messages in RUNS)
    except (Failure, OSError, subprocess.TimeoutExpired) as failure:
        sys.exit(f"\nFAILED: {failure}")
    total = sum(len(messages) for _, messages in RUNS)
    if wrong:
        sys.exit(f"\nFAILED: {wrong} of {total} replies are not the documented ones")
    print(f"\nAll {total} replies are the documented ones.")


if __name__ == "__main__":
    main()
