"""Children the function forks have nothing of the runtime's, and their parent goes on as before."""
import os
import signal
import time

import pytest

from harness import processes
from harness.runtime import Runtime

SEEN = "import json, os\nfrom descriptors import seen\n"

BY_FORK = SEEN + """
receive, send = os.pipe()
if os.fork() == 0:
    os.write(send, json.dumps(seen()).encode())
    os._exit(0)
os.wait()
return json.loads(os.read(receive, 65536))
"""

# each returns the child's descriptors: number -> what it is
WAYS = {
    "os.fork": ("snippets:run", {}, BY_FORK),
    "os.fork of a fork": ("snippets:run", {}, SEEN + """
receive, send = os.pipe()
if os.fork() == 0:
    kept = [os.open("/dev/zero", os.O_RDONLY) for _ in range(40)]
    if os.fork() == 0:
        found = seen()
        assert all(found.get(str(number)) == "/dev/zero" for number in kept), "files of its own were closed"
        os.write(send, json.dumps(found).encode())
    os._exit(0)
os.wait()
return json.loads(os.read(receive, 65536))
"""),
    "os.fork in a thread": ("snippets:run", {"ASYA_CONCURRENCY": "4"}, BY_FORK),
    "os.fork in a coroutine": ("snippets:run_async", {}, BY_FORK),
    "multiprocessing.Process": ("snippets:run", {}, SEEN + """
import multiprocessing
context = multiprocessing.get_context("fork")
receive, send = context.Pipe(False)
child = context.Process(target=lambda: send.send(seen()))
child.start()
child.join()
return receive.recv()
"""),
    "ProcessPoolExecutor": ("pools:descriptors", {}, "null"),
    "subprocess with a preexec_fn": ("snippets:run", {}, SEEN + """
import subprocess
receive, send = os.pipe()
subprocess.run(["true"], preexec_fn=lambda: os.write(send, json.dumps(seen()).encode()))
return json.loads(os.read(receive, 65536))
"""),
}


@pytest.mark.parametrize("handler, env, code", WAYS.values(), ids=WAYS)
def test_a_child_has_nothing_of_the_runtimes_by(runtime, handler, env, code):
    with runtime(handler, env=env, worker_children=True, worker_descriptors=True) as server:
        with server.connect() as other:
            other.send(b'"return ')
            time.sleep(0.1)
            found = server.result(code)
            left = {number: target for number, target in found.items()
                    if target.startswith(("socket:", "anon_inode:[event"))}
            loop = 3 if handler == "snippets:run_async" else 0  # asyncio's own: an epoll set and a pair to wake it
            assert len(left) == loop, "of its parent's: %s" % found
            other.send(b'1"')
            assert other.reply()
        for _ in range(20):
            assert isinstance(server.result(code), dict)


LIVING = {
    "a child of os.fork": ("snippets:run", "import os, time\npid = os.fork()\nif pid == 0:\n    time.sleep(30)\n"
                                           "    os._exit(0)\nreturn [pid]"),
    "a daemon": ("snippets:run", "import os, time\nreceive, send = os.pipe()\nif os.fork() == 0:\n    os.setsid()\n"
                                 "    pid = os.fork()\n    if pid == 0:\n        time.sleep(30)\n"
                                 "    os.write(send, b'%d' % pid)\n    os._exit(0)\nreturn [int(os.read(receive, 9))]"),
    "a ProcessPoolExecutor": ("pools:pids", "null"),
}


@pytest.mark.parametrize("handler, code", LIVING.values(), ids=LIVING)
def test_who_waits_when_the_supervisor_is_killed_hears_of_it_though_there_is(runtime, handler, code):
    """And the socket refuses at once, and the next start works."""
    with runtime(handler, code=None, worker_children=True) as first:
        with first.connect() as waiting:
            children = first.result(code)
            assert children
            try:
                first.kill(signal.SIGKILL)
                first.wait()
                assert waiting.receive_all() == b"", "an end, and not silence"
                assert processes.eventually(lambda: not first.reachable(), 5)
                second = Runtime(handler, path=first.path)
                try:
                    second.launch().wait_ready()
                    assert second.result(code)
                    assert second.stop() == 0
                finally:
                    second.discard()
            finally:
                for child in children:
                    if processes.alive(child):
                        os.kill(child, signal.SIGKILL)


RETURNS_TWICE = {
    "a function": ("snippets:run", {}, "import os\nos.fork()\nreturn 1"),
    "a function in a thread": ("snippets:run", {"ASYA_CONCURRENCY": "4"}, "import os\nos.fork()\nreturn 1"),
    "a coroutine that waits then":
        ("snippets:run_async", {}, "import asyncio, os\nos.fork()\nawait asyncio.sleep(0.1)\nreturn 1"),
    "a coroutine among others":
        ("snippets:run_async", {"ASYA_CONCURRENCY": "4"}, "import asyncio, os\nos.fork()\nawait asyncio.sleep(0.1)\nreturn 1"),
}


@pytest.mark.parametrize("handler, env, code", RETURNS_TWICE.values(), ids=RETURNS_TWICE)
# -
def test_there_is_one_reply_when_the_child_returns_too_from(runtime, handler, env, code):
    with runtime(handler, env=env, worker_children=True) as server:
        for _ in range(5):
            assert server.call(code) == {"status": "ok", "result": 1}
            assert server.result("return 2") == 2
