"""Coroutine functions: awaited, not returned."""
import pytest

pytestmark = pytest.mark.concurrency


def test_a_coroutine_function_is_awaited(runtime):
    with runtime("answers:soon") as server:
        for number in range(20):
            assert server.result(number) == number


def test_an_exception_in_a_coroutine_has_its_category(runtime):
    told = ["WARNING .*validation_error", "ERROR .*processing_error"]
    with runtime("snippets:run_async", expect_log=told) as server:
        assert server.call("raise ValueError('v')") == {"error": "validation_error", "message": "v"}
        assert server.call("1/0")["type"] == "ZeroDivisionError"
        assert server.result("import asyncio\nawait asyncio.sleep(0.01)\nreturn 1") == 1


def test_coroutines_run_on_one_loop(runtime):
    """What one request makes on the loop another can use."""
    with runtime("snippets:run_async") as server:
        assert server.result("import asyncio\nKEPT['loop'] = asyncio.get_running_loop()\nreturn 1") == 1
        assert server.result("import asyncio\nreturn KEPT['loop'] is asyncio.get_running_loop()") is True
