"""The chaos run in short: `make chaos` is the whole of it."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent

pytestmark = pytest.mark.supervised


def test_every_request_has_its_one_reply_while_workers_die():
    seed = os.environ.get("ASYA_TEST_SEED")
    command = [sys.executable, str(HERE / "run.py"), "--requests", "15000", *(["--seed", seed] if seed else [])]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    print(run.stdout)
    assert run.returncode == 0
    figures = json.loads(run.stdout[run.stdout.index("{"):run.stdout.rindex("}") + 1])
    assert figures["deaths"] >= 50, "the killer must have been at work"
