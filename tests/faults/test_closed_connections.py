"""A function that closes a connection's number, as a program does that closes a number twice: whoever gets the number next
gets nothing that is not his, and every client its reply."""
import pytest

from harness import client, processes, protocols

pytestmark = pytest.mark.supervised

DEATH = ["ERROR", "WARNING"]
RUNNERS = {"in threads": ("snippets:run", "time.sleep"), "in tasks": ("snippets:run_async", "await asyncio.sleep")}

# Numbers by what they are: connections of ours have the name of the socket, and the ends of the fdstore have none.
NUMBERS = """
import asyncio, os, socket, time
connections, ends = [], []
for number in sorted(map(int, os.listdir("/proc/self/fd"))):
    try:
        with socket.socket(fileno=os.dup(number)) as copy:
            if copy.type == socket.SOCK_STREAM and not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                (connections if copy.getsockname() else ends).append(number)
    except OSError:
        pass
def close(numbers):
    for number in numbers:
        os.close(number)
"""


def post(code):
    body = client.encode(protocols.hops(code))
    return b"POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def read_ok(connection):
    """The bytes of one response of an HTTP connection that stays."""
    data = b""
    while not data.endswith(b"}]}"):
        part = connection.receive(1 << 16)
        assert part, "cut after %r" % data
        data += part
    assert data.startswith(b"HTTP/1.1 200 ") and data.count(b"HTTP/1.1") == 1, data
    return data


def run_until(server, folder, sleep, code):
    """A connection whose request closes what `code` says and then waits for the file `go`."""
    closed = folder / "closed"
    connection = server.connect()
    connection.send(client.encode(NUMBERS + code + """
open(%r, "w").close()
while not os.path.exists(%r):
    %s(0.01)
return "of the first"
""" % (str(closed), str(folder / "go"), sleep)))
    assert processes.eventually(closed.exists)
    return connection


@pytest.mark.parametrize("handler, sleep", RUNNERS.values(), ids=RUNNERS)
def test_the_next_client_does_not_get_the_reply(runtime, tmp_path, handler, sleep):
    with runtime(handler, env={"ASYA_CONCURRENCY": "4"}, allow_log=DEATH) as server:
        with run_until(server, tmp_path, sleep, "close(connections)") as first, server.connect() as second:
            second.send(client.encode("import asyncio, time\n%s(0.5)\nreturn 'of the second'" % sleep))
            (tmp_path / "go").touch()
            assert second.reply()["result"] == "of the second"
            assert first.reply()["type"] == "WorkerCrashed"


@pytest.mark.parametrize("handler, sleep", RUNNERS.values(), ids=RUNNERS)
def test_it_is_not_taken_for_a_connection_kept_alive(runtime, tmp_path, handler, sleep):
    with runtime(handler, env={"ASYA_CONCURRENCY": "4"}, allow_log=DEATH) as server, server.connect() as kept:
        kept.send(post("return 'a'"))
        assert b'"a"' in read_ok(kept)
        with run_until(server, tmp_path, sleep, "close(connections[:1])") as running, server.connect() as fresh:
            kept.send(post("return 'b'"))
            assert b'"b"' in read_ok(kept)
            fresh.send(client.encode("return 'c'"))
            assert fresh.reply()["result"] == "c"
            (tmp_path / "go").touch()
            running.reply()


def test_no_descriptor_goes_to_a_client(runtime, tmp_path):
    """The next client has the number through which a copy of its connection is to be stored, and would be sent that."""
    with runtime("snippets:run", env={"ASYA_CONCURRENCY": "4"}, allow_log=DEATH) as server:
        with run_until(server, tmp_path, "time.sleep", "close(ends[2:3])") as first, server.connect() as second:
            second.send(client.encode("return 'of the second'"))
            assert second.reply()["result"] == "of the second"
            (tmp_path / "go").touch()
            assert first.reply()["type"] == "WorkerCrashed"


OWN_FILE = "close(connections)\nown = socket.socketpair()\nKEPT['own'] = own\n"


@pytest.mark.parametrize("env", [{}, {"ASYA_CONCURRENCY": "4"}], ids=["on the spot", "in threads"])
@pytest.mark.parametrize("wrap", [client.encode, post], ids=["bare JSON", "HTTP"])
def test_a_reply_does_not_go_into_a_file_that_the_function_opens(runtime, env, wrap):
    with runtime("snippets:run", env=env, allow_log=DEATH) as server, server.connect() as connection:
        connection.send(wrap(NUMBERS + OWN_FILE + "return 'lost'"))
        assert b"WorkerCrashed" in connection.receive_all()


def test_nor_does_a_stream(runtime):
    with runtime("snippets:run", allow_log=DEATH) as server, server.connect() as connection:
        connection.send(post(NUMBERS + "yield 'whole'\n" + OWN_FILE + "yield 'lost'"))
        data = connection.receive_all()
        assert b'"whole"' in data and b'"lost"' not in data
        assert b"event: error" in data and b"WorkerCrashed" in data and data.endswith(b"0\r\n\r\n")


def test_a_kept_connection_whose_number_the_function_uses_is_served(runtime):
    with runtime("snippets:run", env={"ASYA_CONCURRENCY": "4"}, allow_log=DEATH) as server, server.connect() as kept:
        kept.send(post("return 'a'"))
        assert b'"a"' in read_ok(kept)
        with server.connect() as other:  # its own reply goes out by its own number
            other.send(client.encode(NUMBERS + "close(connections[:1])\nKEPT['own'] = socket.socketpair()\nreturn 1"))
            other.receive_all()
        kept.send(post("return 'b'"))
        assert b'"b"' in read_ok(kept)
        assert server.result("return 1") == 1
