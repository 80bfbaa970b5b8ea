"""The command line: help that names everything, one usage line for what is wrong."""
import re
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


@pytest.mark.parametrize("arguments", [["--port"], ["serve", "--port"], ["check", "--port"], ["-x"], ["--help", "me"], ["--version", "please"], [""], ["é"],
                                       ["probes"], ["x" * 10000]], ids=lambda arguments: " ".join(arguments)[:20])
def test_what_is_unknown_gives_one_usage_line_and_starts_nothing(arguments):
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert ended.stderr.count("\n") == 1 and "unknown argument" in ended.stderr and " ERROR " in ended.stderr
    if len(arguments[0]) < 1000:
        assert "usage: asya_runtime.py" in ended.stderr


def test_every_line_of_the_help_fits_a_terminal_and_every_command_has_an_example():
    overview = run("--help").stdout
    names = re.findall(r"^  ([a-z]+) +\w", overview, re.MULTILINE)
    assert {"serve", "check", "call", "run", "probe", "configmap", "help", "completion"} <= set(names)
    for topic in [*names, "settings", "exit-codes", "protocols", "workers", "ASYA_WORKERS", "--log-level"]:
        text = run("help", topic).stdout
        assert text and max(map(len, text.splitlines())) < 80, topic
    for name in names:
        assert "asya_runtime.py %s" % name in overview and run(name, "--help").stdout == run("help", name).stdout
    assert max(map(len, overview.splitlines())) < 80


@pytest.mark.parametrize("arguments, nearest", [
    (["serve", "--worker", "2"], "did you mean --workers?"), (["--log-levl=DEBUG"], "did you mean --log-level?"),
    (["chek"], "did you mean check?"), (["help", "wrkers"], "did you mean workers?"), (["serve", "--workers"], "needs a value"),
    (["call", "--sockt", "x"], "did you mean --socket?"), (["run", "--output-file", "x"], "unknown argument"),
    (["completion", "fish"], "completion bash"), (["serve", "a:b", "c:d"], "unknown argument 'c:d'")])
def test_a_slip_is_told_in_one_line_with_what_to_write(arguments, nearest):
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert ended.stderr.count("\n") == 1 and nearest in ended.stderr, ended.stderr


@pytest.mark.parametrize("form", [["--max-message-size", "100", "--cancel-on-disconnect"],
                                  ["--max-message-size=100", "--cancel-on-disconnect=true"]])
def test_settings_are_flags_and_win_over_variables(runtime, form):
    """A switch needs no value, and another flag may follow it."""
    with runtime(None, env={"ASYA_MAX_MESSAGE_SIZE": "1000"}, args=["serve", "answers:echo", *form, "--log-level", "DEBUG"],
                 expect_log=["WARNING message_too_large"]) as server:
        assert server.result({"a": 1}) == {"a": 1}
        assert server.call("x" * 200)["error"] == "message_too_large"


def test_a_program_read_from_standard_input_says_what_its_commands_need():
    ended = subprocess.run([PYTHON, "-", "help"], stdin=open(RUNTIME), env={}, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (78, "") and "this command needs its file" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_offers_commands_and_flags(shell):
    script = run("completion", shell).stdout
    assert "complete -o filenames -F _asya_runtime asya-runtime" in script
    for words, current, offered in ((["ca"], "ca", "call"), (["run", "--worker"], "--worker", "--workers"),
                                    (["help", "prot"], "prot", "protocols")):
        line = "COMP_WORDS=(asya-runtime %s); COMP_CWORD=%d; _asya_runtime; echo ${COMPREPLY[@]}" % (" ".join(words), len(words))
        body = "autoload() { :; }; bashcompinit() { :; }\n" + script + line
        assert subprocess.run(["bash", "-c", body], capture_output=True, text=True, check=True).stdout.split()[0] == offered
