"""Every call runs in a context of its own: no message sees what another has set (contextvars, decimal)."""
import concurrent.futures

import pytest

FRESH = ["nothing", "by the module", 28, "0.3333333333333333333333333333"]
THREE = [{}, {"ASYA_CONCURRENCY": "3"}]


@pytest.mark.parametrize("env", THREE, ids=["in the main thread", "in threads"])
@pytest.mark.parametrize("handler, expected", [
    ("scopes:process", FRESH), ("scopes:later", FRESH + ["mine"]), ("scopes:returns_coroutine", FRESH + ["mine"]),
    ("scopes:steps", [FRESH, ["mine", "mine", 3, "0.334"]]), ("scopes:later_steps", [FRESH, ["mine", "mine", 3, "0.334"]]),
], ids=["a function", "a coroutine", "a function that returns one", "a generator", "an asynchronous one"])
def test_no_message_sees_what_another_has_set_in(runtime, handler, expected, env):
    with runtime(handler, env=env, worker_descriptors=True) as server:
        for _ in range(8):
            assert server.result("mine") == expected
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            assert list(pool.map(lambda _: server.result("mine"), range(40))) == [expected] * 40


@pytest.mark.parametrize("env", THREE, ids=["in the main thread", "in threads"])
@pytest.mark.parametrize("handler", ["precise", "precise:later"])
def test_every_message_begins_with_the_precision_the_module_has_set(runtime, handler, env):
    with runtime(handler, env=env) as server:
        for _ in range(8):
            assert server.result(1) == [5, "0.33333"]
