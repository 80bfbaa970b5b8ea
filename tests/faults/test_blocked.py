"""Nothing runs, and still the worker does not come back to its loop: what the function has left behind blocks it."""
import time

import pytest

from harness import client, protocols

pytestmark = pytest.mark.supervised

MODULES = {
    "a task of the loop": """
import asyncio, time
async def later():
    await asyncio.sleep(0.2)
    time.sleep(1000)
async def process(payload):
    if payload == "block":
        process.task = asyncio.ensure_future(later())
    return payload
""",
    "a signal handler": """
import signal, time
def process(payload):
    if payload == "block":
        signal.signal(signal.SIGALRM, lambda *_: time.sleep(1000))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
    return payload
""",
    "a health check": """
import time
blocks = False
def process(payload):
    global blocks
    blocks = payload == "block"
    return payload
def healthcheck():
    if blocks:
        time.sleep(1000)
process.healthcheck = healthcheck
""",
}
ENV = {"ASYA_GRACE_PERIOD": "1", "ASYA_HEALTHCHECK_INTERVAL": "0.2", "ASYA_HEALTHCHECK_TIMEOUT": "0.5"}
LIMITED = {**ENV, "ASYA_HANDLER_TIMEOUT": "0.5", "ASYA_HANDLER_GRACE": "0.3"}


@pytest.fixture(params=MODULES.values(), ids=MODULES)
def module(request, tmp_path):
    (tmp_path / "blocked.py").write_text(request.param)
    return {"PYTHONPATH": str(tmp_path)}


def test_health_is_answered(runtime, module):
    with runtime("blocked", env={**ENV, **module}, allow_log=["ERROR .*health check", "WARNING .*grace"]) as server:
        assert server.result("block") == "block"
        time.sleep(0.5)
        for _ in range(3):
            connection = protocols.HttpConnection(server.path)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status in (200, 503)
            connection.close()


def test_requests_are_answered_by_the_next_worker(runtime, module):
    with runtime("blocked", env={**LIMITED, **module}, allow_log=["ERROR "]) as server:
        kept = protocols.HttpConnection(server.path)
        message = client.encode(protocols.hops("x"))
        headers = {"Content-Type": "application/json"}
        kept.request("POST", "/invoke", message, headers)
        assert kept.getresponse().read()
        begun = server.connect()
        begun.send(b'{"begun":')
        assert server.result("block") == "block"
        time.sleep(0.5)
        kept.request("POST", "/invoke", message, headers)
        assert server.result("new") == "new"
        response = kept.getresponse()
        assert response.status == 200 and response.read()
        kept.close()
        assert server.wait_for_log("ERROR worker 0, pid [0-9]+, has been blocked between requests for .*it is ended")
        assert begun.reply()["error"] == "server_error"
        begun.close()


def test_a_worker_at_rest_is_not_taken_for_blocked(runtime):
    with runtime("answers:echo", env={"ASYA_HANDLER_TIMEOUT": "0.5", "ASYA_HANDLER_GRACE": "0.3"}) as server:
        [pid] = server.worker_pids()
        idle, begun = server.connect(), server.connect()
        begun.send(b'["begun"')
        time.sleep(2.5)
        begun.send(b"]")
        begun.half_close()
        assert begun.reply() == {"status": "ok", "result": ["begun"]}
        idle.close()
        begun.close()
        assert server.worker_pids() == [pid]
