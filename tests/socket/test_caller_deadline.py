"""The caller's deadline (status.deadline_at, docs/protocol.md): the function stops before the caller gives up."""
import datetime
import time

import pytest

from harness import protocols

pytestmark = pytest.mark.supervised



def stamp(seconds, zone=datetime.timezone.utc):
    """So many seconds from now, as the sidecar writes it."""
    return (datetime.datetime.now(zone) + datetime.timedelta(seconds=seconds)).isoformat()


def ask(server, code, deadline, **members):
    """(seconds, HTTP status, body)"""
    begun = time.monotonic()
    status, body = protocols.invoke(server.path, protocols.hops(code, status={"deadline_at": deadline}, **members))
    return time.monotonic() - begun, status, body


def payload(body):
    return body["frames"][0]["payload"]


@pytest.fixture(params=["", "4"], ids=["plain", "threads"])
def server(runtime, request):
    env = {"ASYA_CONCURRENCY": request.param} if request.param else {}
    with runtime("snippets:run", env=env, allow_log=["ERROR", "WARNING"]) as server:
        yield server


def test_the_function_is_stopped_in_time_for_the_reply(server):
    seconds, status, body = ask(server, "import time\nwhile True: time.sleep(0.01)", stamp(1.5))
    assert status == 500 and body["details"]["type"] == "HandlerTimeout"
    assert "deadline_at" in body["details"]["message"]
    assert 1 < seconds < 3
    assert server.result("return 1") == 1


def test_one_that_does_not_stop_is_answered_for(server):
    """In C, where no exception gets."""
    seconds, status, body = ask(server, "import time\ntime.sleep(5)", stamp(1))
    assert status == 500 and body["details"]["type"] == "HandlerTimeout" and "deadline_at" in body["details"]["message"]
    assert seconds < 3


def test_what_has_passed_on_arrival_is_not_run(server, tmp_path):
    mark = tmp_path / "ran"
    _, status, body = ask(server, "open(%r, 'w')" % str(mark), stamp(-1))
    assert status == 500 and body["details"]["type"] == "HandlerTimeout" and "not called" in body["details"]["message"]
    assert not mark.exists()


@pytest.mark.parametrize("zone", [0, 5.5, -8], ids=["UTC", "east", "west"])
def test_the_function_sees_it(server, zone):
    deadline = stamp(100, datetime.timezone(datetime.timedelta(hours=zone)))
    before = time.monotonic()
    _, status, body = ask(server, "import asya_runtime\nreturn {'at': asya_runtime.context().deadline}", deadline)
    assert status == 200 and before + 98 < payload(body)["at"] < before + 101


@pytest.mark.parametrize("deadline", ["soon", "", "2026-13-01T00:00:00Z", 1795990563, "2026-01-01", ["x"]], ids=repr)
def test_what_is_no_time_is_ignored_with_one_warning(runtime, deadline):
    with runtime("snippets:run", expect_log=["WARNING .*deadline_at"]) as server:
        for _ in range(3):
            _, status, body = ask(server, "import asya_runtime\nreturn {'at': asya_runtime.context().deadline}", deadline)
            assert status == 200 and payload(body)["at"] is None


@pytest.mark.parametrize("limit, caller, by", [("1", 30, "ASYA_HANDLER_TIMEOUT"), ("30", 1, "deadline_at")])
def test_the_earlier_of_the_two_holds(runtime, limit, caller, by):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": limit}, allow_log=["ERROR"]) as server:
        seconds, status, body = ask(server, "import time\nwhile True: time.sleep(0.01)", stamp(caller))
        assert status == 500 and by in body["details"]["message"] and seconds < 5


def test_the_next_request_has_its_own(server):
    assert ask(server, "return 1", stamp(1))[1] == 200
    seconds, status, _ = ask(server, "import time\ntime.sleep(1.5)\nreturn 2", None)
    assert status == 200 and seconds > 1.4
