#!/usr/bin/env python3
"""A sidecar for demonstrations: it takes messages from a queue of RabbitMQ, has the runtime process them, and routes what
comes back. It shows what the runtime's HTTP contract (docs/protocol.md) asks of a client, and needs nothing but pika.

    python3 sidecar.py --queue split --socket /tmp/split.sock --amqp amqp://guest:guest@localhost

A frame goes to the queue that its route names, or to --sink at the end of the route. An error goes to --sump, with the
message that caused it. The messages that follow from one message are published in the transaction that acknowledges it:
if the sidecar dies, the broker has either all of them or the message as it was.

What is no fault of the message is tried again: the runtime restarts, a worker was killed. The function may run twice
then, so it must be idempotent, but its results are routed once."""
import argparse
import http.client
import json
import signal
import socket
import time

TRANSIENT_TYPES = {"WorkerCrashed", "WorkerExited"}  # of the processing_error for a worker that died
TRANSIENT_CODES = {"connection_error", "server_error"}
LONGEST_PAUSE = 1.0  # seconds between two tries


class RuntimeConnection(http.client.HTTPConnection):
    """HTTP over the runtime's Unix socket."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def split_events(text):
    """[(name, data)] of a stream of server-sent events, of which each has one line of data."""
    events = []
    for event in text.split("\n\n")[:-1]:
        name, data = event.split("\n")
        events.append((name[len("event: "):], json.loads(data[len("data: "):])))
    return events


def read_reply(response):
    """(frames, error) of a reply. The error is None where there is none; what a stream has sent before its error is not
    used, since the message may be tried again as a whole."""
    body = response.read()  # raises IncompleteRead if the stream was cut
    if response.status == 204:
        return [], None
    if response.getheader("Content-Type") == "text/event-stream":
        events = split_events(body.decode())
        errors = [data for name, data in events if name == "error"]
        return ([], errors[0]) if errors else ([data for name, data in events if name == "downstream"], None)
    reply = json.loads(body)
    return (reply["frames"], None) if response.status == 200 else ([], reply)


def invoke(path, message, timeout):
    """Have the runtime process the message once. Returns (frames, error); a runtime that is not there, or goes away, is a
    connection_error."""
    connection = RuntimeConnection(path, timeout)
    try:
        connection.request("POST", "/invoke", json.dumps(message), {"Content-Type": "application/json"})
        return read_reply(connection.getresponse())
    except (OSError, http.client.HTTPException) as problem:
        return [], {"error": "connection_error",
                    "details": {"type": type(problem).__name__, "message": str(problem), "traceback": ""}}
    finally:
        connection.close()


def is_transient(error):
    return error["error"] in TRANSIENT_CODES or error["details"]["type"] in TRANSIENT_TYPES


def process(path, message, timeout, patience):
    """As invoke(), trying again for `patience` seconds while the error is no fault of the message."""
    end = time.monotonic() + patience
    pause = 0.02
    while True:
        frames, error = invoke(path, message, timeout)
        if error is None or not is_transient(error) or time.monotonic() + pause > end:
            return frames, error
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def next_messages(message, frames, error, sink, sump):
    """[(queue, message)] that follow from a message. Several frames get identifiers of their own."""
    if error is not None:
        return [(sump, {**message, "error": error})]
    following = []
    for number, frame in enumerate(frames):
        identity = {"id": message["id"]}
        if len(frames) > 1:
            identity = {"id": "%s.%d" % (message["id"], number), "parent_id": message["id"]}
        following.append((frame["route"]["curr"] or sink, {**identity, **frame}))
    return following


def serve(channel, arguments):
    """Take messages until SIGTERM, one at a time."""
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    known = {arguments.queue}
    channel.queue_declare(arguments.queue)
    channel.basic_qos(prefetch_count=1)
    channel.tx_select()
    for method, _, body in channel.consume(arguments.queue, inactivity_timeout=0.2):
        if method is not None:
            message = json.loads(body)
            frames, error = process(arguments.socket, message, arguments.timeout, arguments.patience)
            for queue, following in next_messages(message, frames, error, arguments.sink, arguments.sump):
                if queue not in known:  # a message for a queue that does not exist would be dropped
                    channel.queue_declare(queue)
                    known.add(queue)
                channel.basic_publish("", queue, json.dumps(following).encode())
            channel.basic_ack(method.delivery_tag)
            channel.tx_commit()
        if stopping:
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queue", required=True, help="the actor's name and its queue's")
    parser.add_argument("--socket", required=True, help="the runtime's (ASYA_SOCKET_PATH)")
    parser.add_argument("--amqp", default="amqp://guest:guest@localhost", help="the broker (default: %(default)s)")
    parser.add_argument("--sink", default="x-sink", help="the queue for results (default: %(default)s)")
    parser.add_argument("--sump", default="x-sump", help="the queue for errors (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for a reply (default: %(default)s)")
    parser.add_argument("--patience", type=float, default=60, help="seconds for a runtime to come back (default: %(default)s)")
    arguments = parser.parse_args()
    import pika  # here, so that the functions above can be used without it

    connection = pika.BlockingConnection(pika.URLParameters(arguments.amqp))
    serve(connection.channel(), arguments)
    connection.close()


if __name__ == "__main__":
    main()
