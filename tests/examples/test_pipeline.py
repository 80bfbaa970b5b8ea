"""The demonstration sidecar of examples/pipeline against the runtime, with a channel that only takes notes in the place of
RabbitMQ's. The whole of it, with a broker, is `make pipeline-demo`."""
import argparse
import importlib.util
import json
import os
import signal
import threading
import types

import pytest

from harness.runtime import REPOSITORY

FOLDER = REPOSITORY / "examples" / "pipeline"
ROUTE = {"prev": [], "curr": "split", "next": ["measure"]}


def load_sidecar():
    spec = importlib.util.spec_from_file_location("pipeline_sidecar", str(FOLDER / "sidecar.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sidecar = load_sidecar()


class Channel:
    """Gives the messages, then sends this process SIGTERM, as a broker without messages lets the sidecar see it."""

    def __init__(self, messages):
        self.messages, self.published, self.done, self.open = messages, [], [], []

    def consume(self, queue, inactivity_timeout):
        for number, message in enumerate(self.messages):
            yield types.SimpleNamespace(delivery_tag=number), None, json.dumps(message).encode()
        os.kill(os.getpid(), signal.SIGTERM)
        yield None, None, None

    def basic_publish(self, exchange, queue, body):
        self.open.append((queue, json.loads(body)))

    def basic_ack(self, tag):
        self.open.append(tag)

    def tx_commit(self):
        assert self.open[-1] == len(self.done), "each message is acknowledged with what follows from it"
        self.done.append(self.open.pop())
        self.published += self.open
        self.open = []

    queue_declare = basic_qos = tx_select = lambda self, *_, **__: None


@pytest.fixture
def serve():
    """serve(server, *messages): what the sidecar publishes for them."""
    before = signal.getsignal(signal.SIGTERM)

    def run(server, *messages):
        channel = Channel(list(messages))
        sidecar.serve(channel, argparse.Namespace(queue="split", socket=str(server.path), timeout=20, patience=10, sink="sink",
                                                  sump="sump"))
        assert channel.done == list(range(len(messages))) and not channel.open
        return channel.published

    yield run
    signal.signal(signal.SIGTERM, before)


def message(payload):
    return {"id": "7", "route": ROUTE, "payload": payload}


@pytest.fixture
def actor(runtime):
    return lambda handler, **options: runtime(handler, env={"PYTHONPATH": str(FOLDER)}, **options)


def test_a_stream_gives_a_message_for_each_frame(actor, serve):
    with actor("split") as server:
        published = serve(server, message({"number": 1, "text": "one two"}))
    route = {"prev": ["split"], "curr": "measure", "next": []}
    assert published == [
        ("measure", {"id": "7.0", "parent_id": "7", "route": route, "payload": {"number": 1, "place": 0, "word": "one"}}),
        ("measure", {"id": "7.1", "parent_id": "7", "route": route, "payload": {"number": 1, "place": 1, "word": "two"}})]


def test_a_result_at_the_end_of_its_route_goes_to_the_sink(actor, serve):
    with actor("measure") as server:
        [(queue, sent)] = serve(server, {**message({"word": "four"}), "route": {"prev": [], "curr": "measure", "next": []}})
    assert (queue, sent["id"], sent["payload"]) == ("sink", "7", {"word": "four", "length": 4})


def test_an_error_goes_to_the_sump_with_its_message(actor, serve):
    with actor("split", expect_log=["(WARNING|ERROR) .*text is empty"]) as server:
        [(queue, sent)] = serve(server, message({"number": 1, "text": ""}))
    assert queue == "sump" and sent["payload"] == {"number": 1, "text": ""}
    assert sent["error"]["details"]["type"] == "ValueError"


def test_no_reply_is_no_message(runtime, serve):
    with runtime("snippets:run", allow_log=["WARNING .*None"]) as server:
        assert serve(server, message("return None")) == []


def test_a_worker_that_dies_is_tried_again(runtime, serve, tmp_path):
    mark = str(tmp_path / "mark")
    code = ("import os\nif not os.path.exists(%r):\n    open(%r, 'w').close()\n    os.kill(os.getpid(), 9)\nreturn 'second'" %
            (mark, mark))
    with runtime("snippets:run", allow_log=["."]) as server:
        [(queue, sent)] = serve(server, message(code))
    assert (queue, sent["payload"]) == ("measure", "second")


def test_a_runtime_that_is_away_is_waited_for(runtime, serve):
    with runtime("snippets:run", allow_log=["."]) as server:
        server.stop()
        threading.Timer(0.3, server.launch).start()
        [(queue, sent)] = serve(server, message("return 1"))
        assert (queue, sent["payload"]) == ("measure", 1)


def test_patience_ends(tmp_path):
    frames, error = sidecar.process(str(tmp_path / "nobody"), message(1), 1, 0.1)
    assert frames == [] and (error["error"], error["details"]["type"]) == ("connection_error", "FileNotFoundError")
