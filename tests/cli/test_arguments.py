"""The command line: help that names everything, one usage line for what is wrong."""
import subprocess

import pytest

from harness.runtime import PYTHON, RUNTIME


def run(*arguments):
    return subprocess.run([PYTHON, str(RUNTIME), *arguments], env={}, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_names_commands_and_settings(argument):
    ended = run(argument)
    assert ended.returncode == 0 and ended.stderr == ""
    assert ended.stdout.startswith("usage: asya_runtime.py")
    for word in ("check", "probe", "configmap", "ASYA_PROCESS_MODULE", "ASYA_ALLOWED_UIDS"):
        assert "\n  %s" % word in ended.stdout, word


@pytest.mark.parametrize("argument", ["--version", "-V"])
def test_version(argument):
    ended = run(argument)
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.startswith("asya-runtime ")


@pytest.mark.parametrize("arguments", [["serve"], ["--port"], ["-x"], ["--help", "me"], ["--version", "please"], [""], ["é"],
                                       ["probes"], ["x" * 10000]], ids=lambda arguments: " ".join(arguments)[:20])
def test_what_is_unknown_gives_one_usage_line_and_starts_nothing(arguments):
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert ended.stderr.count("\n") == 1 and "ERROR unknown argument" in ended.stderr
    if len(arguments[0]) < 1000:
        assert "usage: asya_runtime.py" in ended.stderr


@pytest.mark.parametrize("mounts, log", [("", []), ("meta:/state/meta:write=buffered", ["WARNING ASYA_STATE_PROXY_MOUNTS is set, but"])])
def test_a_start_warns_of_a_state_proxy_it_does_not_have(runtime, mounts, log):
    with runtime("answers:echo", env={"ASYA_STATE_PROXY_MOUNTS": mounts}, expect_log=log) as server:
        assert server.result(1) == 1
