"""The examples that need nothing but Python, through the socket, with the messages their texts show."""
import http.server
import socket
import threading
import time

import pytest

from harness import protocols
from harness.runtime import REPOSITORY

FOLDER = REPOSITORY / "examples" / "handlers"


@pytest.fixture
def example(runtime):
    """example("file:function"): a block with that example served."""
    return lambda handler, env=None, **options: runtime(handler, env={"PYTHONPATH": str(FOLDER), **(env or {})}, **options)


@pytest.mark.parametrize("handler, message, result", [
    ("single_response", {"text": "What a lovely day"}, {"text": "What a lovely day", "words": 4, "label": "positive"}),
    ("fan_out", {"id": "doc-1", "text": "First sentence. Second one."},
     [{"id": "doc-1", "part": 1, "parts": 2, "text": "First sentence."}, {"id": "doc-1", "part": 2, "parts": 2, "text": "Second one."}]),
    ("stateful_class:Model.predict", {"features": [5.1, 3.5]}, {"label": "setosa", "distance": 0.1184, "served": 1}),
    ("validation", {"prompt": " Hello "}, {"prompt": "Hello", "max_tokens": 256}),
])
def test_the_message_of_its_text_gets_the_result_of_its_text(example, handler, message, result):
    with example(handler) as server:
        assert server.result(message) == result


def test_a_refused_message_is_a_validation_error(example):
    with example("validation", expect_log=["WARNING validation_error"]) as server:
        assert server.call({"prompt": "Hello", "max_tokens": 5000}) == {
            "error": "validation_error", "message": "max_tokens must be between 1 and 4096, not 5000"}


# -- async ------------------------------------------------------------------------------------------------------------------

DELAY = 0.2


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers its own path after a while."""

    def do_GET(self):
        time.sleep(DELAY)
        body = self.path.encode()
        self.send_response(200 if self.path != "/missing" else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def slow_service():
    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield "http://127.0.0.1:%d" % server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_fan_out_takes_as_long_as_one(example, slow_service):
    urls = ["%s/%d" % (slow_service, number) for number in range(20)]
    with example("gather:fetch") as server:
        started = time.monotonic()
        answers = server.result({"urls": urls})
        assert time.monotonic() - started < 20 * DELAY / 2
    assert [(answer["url"], answer["status"], answer["body"]) for answer in answers] == [
        (url, 200, "/%d" % number) for number, url in enumerate(urls)]


def test_one_that_cannot_be_reached_does_not_fail_the_others(example, slow_service):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        dead = "http://127.0.0.1:%d/" % unused.getsockname()[1]
        with example("gather:fetch") as server:
            answers = server.result({"urls": [slow_service + "/a", dead, slow_service + "/missing"]})
    assert [answer.get("status") for answer in answers] == [200, None, 404]
    assert "ConnectionRefusedError" in answers[1]["error"]


def test_messages_overlap_while_they_wait(example, slow_service):
    results = []
    with example("gather:fetch", env={"ASYA_CONCURRENCY": "50"}) as server:
        def ask():
            results.append(server.result({"urls": [slow_service + "/x"]}))

        threads = [threading.Thread(target=ask) for _ in range(30)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 30 * DELAY / 2
    assert [answer["status"] for [answer] in results] == [200] * 30


# -- a stream ---------------------------------------------------------------------------------------------------------------


def test_tokens_go_upstream_one_by_one_and_the_text_goes_on(example):
    with example("tokens:generate") as server:
        with protocols.Stream(server.path, protocols.hops({"prompt": "the function", "max_tokens": 8, "seed": 7})) as stream:
            found = list(stream)
    tokens = [data["payload"]["token"] for name, data in found if name == "upstream"]
    assert 1 <= len(tokens) <= 8 and [name for name, _ in found] == ["upstream"] * len(tokens) + ["downstream", "done"]
    frame = found[-2][1]
    assert frame["payload"] == {"text": " ".join(["the function", *tokens]), "tokens": len(tokens)}
    assert frame["route"] == {"prev": ["x", "a"], "curr": "b", "next": ["c"]}


def test_over_bare_json_the_text_alone_is_the_reply(example):
    with example("tokens:generate") as server:
        [frame] = server.result({"prompt": "the function", "max_tokens": 8, "seed": 7})
        assert frame["text"].startswith("the function ") and frame["tokens"] == len(frame["text"].split()) - 2


def test_a_prompt_that_is_too_short_is_refused(example):
    with example("tokens:generate", expect_log=["validation_error"]) as server:
        assert server.call({"prompt": "the"})["error"] == "validation_error"
