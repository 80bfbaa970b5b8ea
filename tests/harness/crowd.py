"""Many clients at once."""
import contextlib
import resource
import selectors
import socket
import time


@contextlib.contextmanager
def many_descriptors(count=8192):
    """Room for that many descriptors in this process; runtimes started before keep their own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def all_at_once(path, requests, when_sent=lambda: None):
    """Send every request on a connection of its own, all open at the same time; the raw replies in order.

    Connecting does not wait: a backlog that is too short shows as EAGAIN."""
    replies = [b""] * len(requests)
    with contextlib.ExitStack() as stack, many_descriptors(), selectors.DefaultSelector() as selector:
        sockets = []
        for _ in requests:
            peer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            peer.connect(path)
            sockets.append(peer)
        for number, (peer, request) in enumerate(zip(sockets, requests)):
            peer.sendall(request)
            selector.register(peer, selectors.EVENT_READ, number)
        when_sent()
        deadline = time.monotonic() + 60
        waiting = len(requests)
        while waiting and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                part = key.fileobj.recv(1 << 16)
                replies[key.data] += part
                if not part:
                    selector.unregister(key.fileobj)
                    waiting -= 1
        assert not waiting, "%d of %d connections were never closed" % (waiting, len(requests))
    return replies
