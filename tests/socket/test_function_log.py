"""What a function logs with `logging` is in the runtime's log, unless the function configures logging itself."""
import json

import pytest

from harness.protocols import actors, framed, hops, invoke, raw_invoke

LOGS = '''
import logging
log = logging.getLogger("shop")

def process(payload):
    if payload == "raise":
        raise RuntimeError("boom")
    if payload == "refuse":
        raise ValueError("not for sale")
    log.debug("in detail")
    log.info("first line\\nsecond \\x1b[31mline")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("caught")
    return payload
'''

CONFIGURED = LOGS + '''
logging.basicConfig(format="MINE %(levelname)s %(message)s")
'''

PLAIN = '''
import logging
logging.info("loaded")

def process(payload):
    logging.info("hello")
    logging.getLogger("shop").warning("there")
    logging.basicConfig()
    return payload

def chosen(payload):
    logging.basicConfig(format="MINE %(message)s")
    return process(payload)
'''

LATE = '''
def process(payload):
    import logging
    logging.getLogger("late").info("hello")
    return payload
'''

TRACKED = LOGS + '''
class Tracker(logging.Handler):
    events = []
    def emit(self, record):
        if record.exc_info:
            self.events.append([record.name, record.levelname, type(record.exc_info[1]).__name__])

logging.getLogger().addHandler(Tracker())

def events(payload):
    return Tracker.events if payload == "events" else process(payload)
'''


REPORTED = LOGS + '''
import asya_runtime

class Tracker(logging.Handler):
    def emit(self, record):
        if record.exc_info:
            context = asya_runtime.context()
            print("tracked:", context and context.id, flush=True)

logging.getLogger().addHandler(Tracker())

def generator(payload):
    yield 1
    raise RuntimeError("boom")

async def later(payload):
    raise RuntimeError("boom")
'''


READ = """
import dataclasses
import logging
import asya_runtime

@dataclasses.dataclass
class Order:
    x: int

    def __post_init__(self):
        logging.getLogger("shop").warning("read for %s", asya_runtime.context().id)

def plain(order: Order):
    return order

async def later(order: Order):
    return order
"""

SPOILT = TRACKED + """
class Spoilt:
    def tolist(self):
        return {}["missing"]

class Unknown:
    pass

def hook(value):
    raise LookupError("no such price")

results = {"spoilt": Spoilt(), "unknown": Unknown(), "number": float("nan")}

def result(payload):
    return Tracker.events if payload == "events" else {"a": [results[payload]]}

async def stream(payload):
    yield 1
    yield result(payload)

result.default = stream.default = hook
"""


@pytest.fixture
def logging_in(runtime, short_folder):
    def start(code, handler="function:process", **settings):
        (short_folder / "function.py").write_text(code)
        return runtime(handler, env={"PYTHONPATH": str(short_folder), **settings}, allow_log=[""])

    return start


@pytest.mark.parametrize("level, seen", [("DEBUG", {"DEBUG", "INFO", "ERROR"}), ("INFO", {"INFO", "ERROR"}), ("ERROR", {"ERROR"})])
def test_records_have_time_level_request_and_logger(logging_in, level, seen):
    with logging_in(LOGS, ASYA_LOG_LEVEL=level) as server:
        assert invoke(server.path, {**hops(1), "id": "order-7"})[0] == 200
        server.wait_for_log(r"caught")
        lines = [line for line in server.logs() if "shop: " in line.text]
        assert {line.level for line in lines} == seen
        assert all("[order-7] shop: " in line.text for line in lines)


def test_further_lines_of_a_record_are_no_lines_of_the_log(logging_in):
    with logging_in(LOGS) as server:
        server.result(1)
        server.wait_for_log("ZeroDivisionError: division")
        text = server.log_text()
        assert "shop: first line\n    second \\x1b[31mline\n" in text, "indented, and no control character is raw"
        assert "\n    ZeroDivisionError: division by zero\n" in text


def test_in_a_json_log_a_record_is_an_object(logging_in):
    with logging_in(LOGS, ASYA_LOG_FORMAT="json") as server:
        assert invoke(server.path, {**hops(1), "id": "order-7"})[0] == 200
        server.wait_for_log("caught")
        records = [json.loads(line) for line in server.log_text().splitlines()]
        [info] = [record for record in records if record["message"].startswith("first line")]
        assert (info["level"], info["logger"], info["request_id"]) == ("INFO", "shop", "order-7")
        [caught] = [record for record in records if record["message"] == "caught"]
        assert caught["stack"].endswith("ZeroDivisionError: division by zero")


def test_what_the_function_configures_itself_counts(logging_in):
    with logging_in(CONFIGURED) as server:
        server.result(1)
        server.wait_for_log("^MINE ERROR caught")
        assert "shop: " not in server.log_text()


def test_the_functions_of_the_root_logger_configure_nothing(logging_in):
    """logging.info() calls basicConfig() if there is no handler: at import, and in a request."""
    with logging_in(PLAIN) as server:
        assert invoke(server.path, hops(1, id="order-7"))[0] == 200
        texts = [line.text.partition(" ")[2] for line in server.wait_for_log("root: |shop: ", count=3)]
        assert texts == ["INFO root: loaded", "INFO [order-7] root: hello", "WARNING [order-7] shop: there"]


def test_settings_given_to_basic_config_count_at_any_time(logging_in):
    with logging_in(PLAIN, handler="function:chosen") as server:
        assert server.result(1) == 1
        assert [line.text for line in server.wait_for_log("^MINE", count=2)] == ["MINE hello", "MINE there"]


def test_logging_that_is_first_imported_in_a_request_counts(logging_in):
    with logging_in(LATE) as server:
        server.result(1)
        [line] = server.wait_for_log("late: hello")
        assert line.level == "INFO"


def test_an_exception_is_a_record_once_and_a_line_once(logging_in):
    with logging_in(TRACKED, "function:events") as server:
        server.call("raise")
        server.call("refuse")
        assert server.result("events") == [["asya_runtime", "ERROR", "RuntimeError"], ["asya_runtime", "WARNING", "ValueError"]]
        assert server.log_text().count("processing_error: RuntimeError: boom") == 1


def test_what_the_results_own_code_raises_is_told_as_the_functions_is(logging_in):
    with logging_in(SPOILT, "function:result") as server:
        assert server.call("spoilt") == {"error": "processing_error", "message": "result.a[0]: KeyError: 'missing'", "type": "KeyError"}
        assert server.call("unknown")["message"] == "result.a[0]: no such price"
        assert server.call("number")["message"] == "result.a[0]: NaN is not a JSON number"
        assert server.result("events") == [["asya_runtime", "ERROR", "KeyError"], ["asya_runtime", "ERROR", "LookupError"]]
        text = server.log_text()
        assert text.count('return {}["missing"]') == text.count('raise LookupError("no such price")') == 1
        assert "asya_runtime results" not in text
        status, reply = invoke(server.path, hops("spoilt"))
        details = reply["details"]
        assert status == 500 and details["mro"] == ["LookupError", "Exception"] and 'return {}["missing"]' in details["traceback"]


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("name", ["plain", "later"])
def test_what_reads_the_payload_is_part_of_the_request(logging_in, name, concurrency):
    with logging_in(READ, "function:" + name, ASYA_CONCURRENCY=concurrency) as server:
        for number in range(2):
            assert invoke(server.path, hops({"x": 1}, id="order-%d" % number))[0] == 200
            [line] = server.wait_for_log("shop: read for order-%d$" % number)
            assert "WARNING [order-%d] shop: " % number in line.text


@pytest.mark.parametrize("concurrency", [1, 2])
def test_the_same_within_a_stream(logging_in, concurrency):
    with logging_in(SPOILT, "function:stream", ASYA_CONCURRENCY=concurrency) as server:
        for _ in range(3):
            assert b"frame[1].a[0]: KeyError: 'missing'" in raw_invoke(server.path, hops("spoilt"))
        assert server.log_text().count('return {}["missing"]') == 3


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("name", ["process", "generator", "later"])
def test_who_reports_an_exception_can_ask_for_its_request(logging_in, name, concurrency):
    with logging_in(REPORTED, "function:" + name, ASYA_CONCURRENCY=concurrency) as server:
        for number in range(2):
            framed(server.path, actors("raise", id="order-%d" % number))
        server.wait_for_log("boom", count=2)
        assert server.out_file.read_text().split("\n")[:2] == ["tracked: order-0", "tracked: order-1"]


def test_without_logging_nothing_of_it_is_imported(logging_in):
    with logging_in("import sys\ndef process(payload): return 'logging' in sys.modules\n") as server:
        assert server.result(1) is False
