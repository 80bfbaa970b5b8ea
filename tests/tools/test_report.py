"""bench/report.py and its sections: what they make of the figures, and where it is written. No server is started."""
import pathlib
import sys

import pytest

from harness.runtime import REPOSITORY

sys.path.insert(0, str(pathlib.Path(REPOSITORY) / "bench"))
import concurrency  # noqa: E402
import latency  # noqa: E402
import peer  # noqa: E402
import picture  # noqa: E402
import report  # noqa: E402
import starts  # noqa: E402
import throughput  # noqa: E402


def cells(table, name):
    """The cells of a server's row, without its name."""
    line = next(line for line in table.splitlines() if line.startswith("| %s |" % name))
    return [cell.strip() for cell in line[1:-1].split("|")][1:]


# ---- throughput ----------------------------------------------------------------------------------------------------------

SMALL, BARE, LARGE = ("http-kept", "93 B", 8), ("raw", "93 B", 8), ("http-kept", "10 MB string", 1)
FIGURES = {SMALL: {"runtime": [900.0, 1000.0, 1100.0], "floor": [2000.0], "uvicorn": [100.0], "uWSGI": [500.0]},
           BARE: {"runtime": [250.0]}, LARGE: {"runtime": [8.0], "uvicorn": [10.0]}}
NAMES = ["runtime", "floor", "uvicorn", "uWSGI"]


def test_a_figure_is_a_median_with_half_the_spread():
    assert cells(throughput.table(FIGURES, NAMES), "runtime") == ["1,000 (±10%)", "250 (±0%)", "8.0 (±0%)"]


def test_ratios_are_to_the_fastest_peer_also_where_the_runtime_is_slower():
    table = throughput.table(FIGURES, NAMES)
    assert cells(table, "runtime / fastest peer") == ["**2.00**", "**0.50**", "**0.80**"]
    assert cells(table, "runtime / floor") == ["**0.50**", "", ""]


def test_what_took_no_part_is_an_empty_cell():
    assert cells(throughput.table(FIGURES, NAMES), "uWSGI") == ["500 (±0%)", "", ""]


@pytest.mark.parametrize("value, shown", [(0, "0"), (0.39, "0.39"), (7.5, "7.5"), (10.4, "10"), (12345.6, "12,346")])
def test_small_numbers_keep_their_fraction(value, shown):
    assert picture.number(value) == shown


# ---- latency -------------------------------------------------------------------------------------------------------------


def line(p50, p99, p999, requests=5000, kept_up=True):
    return {"p50_us": p50, "p99_us": p99, "p999_us": p999, "requests": requests, "rate": 900.0, "kept_up": kept_up}


LATENCIES = {0.5: {"runtime": [line(10, 20, 30)], "uvicorn": [line(50, 100, 150)], "LitServe": [line(5, 6, 7, requests=400)]},
             0.9: {"runtime": [line(10, 20, 40)] * 3, "uvicorn": [line(50, 100, 20)] * 3,
                   "LitServe": [line(1, 2, 3, kept_up=False)] * 2 + [line(1, 2, 3)]},
             "same": {"runtime": [line(1, 2, 3)]}, "capacity": {"runtime": [2000.0], "uvicorn": [1000.0]}}


def test_a_latency_is_three_quantiles_and_none_from_too_few_requests():
    table = latency.load_table(LATENCIES, ["runtime", "uvicorn", "LitServe"])
    assert cells(table, "runtime") == ["2,000 (±0%)", "10 / 20 / 30", "10 / 20 / 40", "1.0 / 2.0 / 3.0"]
    assert cells(table, "LitServe")[1] == "5.0 / 6.0 / –"


def test_a_rate_that_was_not_kept_up_is_no_latency():
    assert cells(latency.load_table(LATENCIES, ["LitServe"]), "LitServe")[2] == "did not keep up"


def test_requests_without_a_reply_are_told():
    figures = {0.5: {"uvicorn": []}, "capacity": {"uvicorn": [1000.0]}}
    assert cells(latency.load_table(figures, ["uvicorn"]), "uvicorn")[1:] == ["no reply in 3 s", "", ""]
    beside = {("http", None): {"uvicorn": [line(1, 2, 3)]}, ("http", "10 MB string"): {"uvicorn": []}}
    assert cells(latency.beside_table(beside, ["uvicorn"]), "uvicorn")[:2] == ["2.0", "no reply in 3 s"]


def test_the_best_peer_is_compared_also_where_it_is_better():
    last = cells(latency.load_table(LATENCIES, ["runtime"]), "best peer's p99.9 / the runtime's")
    assert last[1:] == ["**5.0**", "**0.5**", ""]


def test_how_many_times_slower_beside_large_messages():
    figures = {("http", None): {"uvicorn": [line(1, 200, 3)]}, ("http", "10 MB string"): {"uvicorn": [line(1, 500, 3)]}}
    assert cells(latency.beside_table(figures, ["uvicorn"]), "uvicorn")[:2] == ["200", "500 (2.5)"]


# ---- concurrency, starts -------------------------------------------------------------------------------------------------


def test_the_better_of_the_runtimes_is_compared_with_the_best_peer():
    by_name = {"runtime, threads": [100.0], "runtime, tasks": [300.0], "uvicorn": [400.0], "granian ASGI": [200.0]}
    table = concurrency.waiting_table({("10 ms", 8): by_name}, list(by_name))
    assert cells(table, "the runtime's better / fastest peer") == ["**0.75**"]


class Stream:
    """A server whose reply comes in pieces of `size` bytes."""

    name = "uvicorn"

    def __init__(self, reply, size):
        self.pieces = [reply[at : at + size] for at in range(0, len(reply), size)]

    def send(self, body):
        return self

    def recv(self, size):
        return self.pieces.pop(0) if self.pieces else b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("size", [1, 5, 7, 8, 1000])
def test_events_are_counted_across_the_borders_of_reads(monkeypatch, size):
    monkeypatch.setattr(concurrency, "EVENTS", 3)
    reply = b"HTTP/1.1 200 OK\r\n\r\n" + b"1d\r\nevent: downstream\ndata: {}\n\n\r\n" * 3 + b"0\r\n\r\n"
    assert concurrency.events_per_second(Stream(reply, size), b"") > 0


def test_a_stream_with_an_event_too_few_counts_for_nothing(monkeypatch, capsys):
    monkeypatch.setattr(concurrency, "EVENTS", 3)
    assert concurrency.events_per_second(Stream(b"\ndata: {}" * 2 + b"\r\n0\r\n\r\n", 100), b"") is None
    assert "2 events instead of 3" in capsys.readouterr().err


def test_recovery_says_what_the_client_got_and_who_dies():
    kills = [{"pending": 2.0, "answer": "500 X", "next": 20.0}, {"pending": 4.0, "answer": "500 X", "next": 30.0}]
    dead = [{"pending": None, "next": None}]
    figures = {"runtime": {"start": [20.0], "kills": kills, "memory": {"idle": 10240, "after": 20480, "messages": 1000}},
               "mosec": {"start": [900.0], "kills": dead, "memory": {"idle": 10240, "after": 20480, "messages": 12}}}
    table = starts.table(figures)
    assert cells(table, "runtime")[1:] == ["500 X, 3.0", "25", "10.0", "20.0"]
    assert cells(table, "mosec")[1:] == ["none in 5 s", "dies", "10.0", "20.0 (12 messages)"]


# ---- the page, the commands ----------------------------------------------------------------------------------------------


def test_only_what_stands_between_the_marks_of_the_page_changes(tmp_path):
    page = tmp_path / "page.md"
    begin, end = report.marks("latency")
    rest = "".join(report.marks("starts")) + "after\n"
    page.write_text("before\n" + begin + "old\n" + end + rest)
    report.write_page(page, "latency", "new\n")
    assert page.read_text() == "before\n" + begin + "new\n" + end + rest


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n")
    with pytest.raises(SystemExit, match="no marks for latency"):
        report.write_page(page, "latency", "new\n")


def test_the_page_has_a_place_for_each_section():
    text = (pathlib.Path(REPOSITORY) / "docs" / "performance.md").read_text(encoding="utf-8")
    for section in [*report.SECTIONS, "commands"]:
        begin, end = report.marks(section)
        assert begin in text and end in text.partition(begin)[2]


ALL_COMMANDS = {**{name: words for name, (_, words) in peer.PEERS.items()}, **concurrency.WAITING,
                **{name + ", streaming": words for name, words in concurrency.STREAMING.items()}}


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_each_command_says_where_to_listen(name):
    command = " ".join(peer.fill(ALL_COMMANDS[name], "/programs", 1234))
    assert ("SOCKET" in command) != ("1234" in command)
    assert not any(word in command for word in ("BIN", "PEERS", "WORKERS", "THREADS"))


def test_streams_are_served_by_functions_that_stream():
    assert all("_events" in words for words in concurrency.STREAMING.values())
    assert all("THREADS" in words for name, words in concurrency.WAITING.items() if "threads" in name)
