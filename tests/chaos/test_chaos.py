"""The chaos run and the run of kills in short: `make chaos` and `make faults` are the whole of them."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent

pytestmark = pytest.mark.supervised


def figures_of(script, *words):
    """What it prints last, as JSON; it must have ended well."""
    run = subprocess.run([sys.executable, str(HERE / script), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=300, check=False)
    print(run.stdout)
    assert run.returncode == 0
    return json.loads(run.stdout[run.stdout.index("{"):run.stdout.rindex("}") + 1])


def test_every_request_has_its_one_reply_while_workers_die():
    seed = os.environ.get("ASYA_TEST_SEED")
    figures = figures_of("run.py", "--short", "--requests", "12000", *(["--seed", seed] if seed else []))
    assert figures["deaths"] >= 50, "the killer must have been at work"


def test_kills_in_a_row_lose_no_reply_and_each_comes_at_once():
    """The bounds hold for half of them: other work on the machine may hold up the rest (`make faults`: 1,000 in a row)."""
    figures = figures_of("latency.py", "--rounds", "200")
    assert figures["rounds"] == 200
    assert figures["reply"]["p50_ms"] < 100 and figures["next_reply"]["p50_ms"] < 300
