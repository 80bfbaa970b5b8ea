"""ASYA_PROCESS_MODULE in all its forms, where modules are found, and what the function sees around it."""
import unicodedata

import pytest

from harness.runtime import EXIT_NO_MODULE, EXIT_USAGE

FORMS = {
    "a module and a name": ("shop.orders:price", 1, ["price", 1]),
    "a module alone means its process": ("shop.orders", 1, ["process", 1]),
    "a module without package": ("answers:echo", 1, 1),
    "a class and a method": ("shop.orders:Till.take", 5, ["EUR", 5]),
    "a class method": ("shop.orders:Till.title", 5, ["Till", 5]),
    "a static method": ("shop.orders:Till.plain", 5, ["plain", 5]),
    "a callable object": ("shop.orders:called", 1, ["called", 1]),
    "a partial function": ("shop.orders:halved", 1, 0.5),
    "a function of the standard library": ("operator:neg", 5, -5),
}


@pytest.mark.parametrize("form, payload, result", FORMS.values(), ids=FORMS)
def test_form(runtime, form, payload, result):
    with runtime(form) as server:
        assert server.result(payload) == result


def test_a_class_is_made_once_and_keeps_its_state(runtime):
    with runtime("shop.orders:Till.take") as server:
        assert [server.result(n) for n in (1, 2, 3)] == [["EUR", 1], ["EUR", 3], ["EUR", 6]]


def test_without_a_module_it_echoes_with_one_warning(runtime):
    with runtime(None, expect_log=["WARNING .*echo"]) as server:
        assert server.result({"a": [1]}) == {"a": [1]}
        assert len([line for line in server.logs() if line.level == "WARNING"]) == 1


def test_the_current_directory_is_importable(runtime, tmp_path):
    (tmp_path / "local_handler.py").write_text("def process(payload):\n    return ['local', payload]\n")
    with runtime("local_handler", cwd=tmp_path, env={"PYTHONPATH": None}) as server:
        assert server.result(1) == ["local", 1]


def test_pythonpath_is_importable(runtime, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "remote_handler.py").write_text("def process(payload):\n    return ['remote', payload]\n")
    with runtime("remote_handler", env={"PYTHONPATH": str(tmp_path / "elsewhere")}) as server:
        assert server.result(1) == ["remote", 1]


def test_the_function_sees_the_directory_the_environment_and_the_umask_it_was_started_with(runtime, tmp_path):
    secrets = {"DATABASE_URL": "postgres://user:hunter2@db/x", "EMPTY": "", "UMLAUT": "\u00fc"}
    with runtime("shop.orders:where", cwd=tmp_path, env=secrets, umask=0o027) as server:
        seen = server.result(None)
        assert seen["directory"] == str(tmp_path)
        assert seen["umask"] == 0o027
        assert {name: seen["environment"].get(name) for name in server.env} == server.env


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_the_environment_is_never_logged_nor_told(runtime, level):
    env = {"API_KEY": "s3cr3t-t0k3n-4711", "ASYA_LOG_LEVEL": level}
    with runtime("snippets:run", env=env, allow_log=["WARNING", "ERROR"]) as server:
        replies = [server.call(m) for m in (b"{", b"", b"\xff", "1/0", "raise ValueError(1)", "return object()")]
        assert "s3cr3t" not in repr(replies)
        assert "s3cr3t" not in server.log_text()


BAD_NAMES = {
    "a semicolon": "os;x", "a path": "../x", "two colons": "a:b:c", "no module": ":f", "no name": "a:", "two dots": "a..b",
    "a leading dot": ".a:b", "a trailing dot": "a.:b", "a dot after the colon": "a:b.", "a leading digit": "1a:b",
    "a digit after a dot": "a.1b", "a space": "a b:c", "a leading space": " answers:echo", "a newline": "answers:echo\n",
    "a hyphen": "my-module:f", "a slash": "answers/echo", "a call": "answers:echo()", "bytes that are not UTF-8": "\udcffnswers:echo",
    "three levels": "shop.orders:Till.take.x", "a dash": "-c", "brackets": "a[0]:b",
    "a long name": "a" * 100_000, "a long dotted name": "a." * 50_000 + "b", "an escape character": "a\x1b[31m:b",
    "an empty name": "",
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_bad_module_name_is_refused_with_one_line(refuse, name):
    refusal = refuse(name)
    assert refusal.code == EXIT_USAGE
    assert "ASYA_PROCESS_MODULE" in refusal.cause
    assert len(refusal.lines) == 1
    assert len(refusal.cause) < 5000


OTHER_LETTERS = {
    "Cyrillic": ("\u043c\u043e\u0434\u0435\u043b\u044c", "\u043c\u043e\u0434\u0435\u043b\u044c:\u043c\u0435\u0442\u043e\u0434"),
    "with accents": ("m\u00f3dulo", "m\u00f3dulo:funci\u00f3n"),
    "with accents as characters of their own": ("m\u00f3dulo", "mo\u0301dulo:funcio\u0301n"),
    "a ligature, which Python reads as two letters": ("fit", "\ufb01t:\ufb01t"),
}


@pytest.mark.parametrize("variable", ["ASYA_PROCESS_MODULE", "ASYA_HANDLER"])
@pytest.mark.parametrize("module, name", OTHER_LETTERS.values(), ids=OTHER_LETTERS)
def test_a_name_in_other_letters(runtime, tmp_path, module, name, variable):
    """What Python takes for the same name is the same: their NFKC is compared."""
    function = unicodedata.normalize("NFKC", name.split(":")[1])
    (tmp_path / (module + ".py")).write_text("def %s(payload):\n    return [payload]\n" % function, encoding="utf-8")
    setting = name.replace(":", ".") if variable == "ASYA_HANDLER" else name
    with runtime(env={variable: setting, "LC_ALL": "C.UTF-8"}, cwd=tmp_path) as server:
        assert server.result(1) == [1]


def test_a_module_in_other_letters_that_is_not_there(refuse):
    refusal = refuse("\u0430nswers:echo")
    assert refusal.code == EXIT_NO_MODULE
    assert "'\u0430nswers'" in refusal.cause


@pytest.mark.parametrize("handler, lines", [("answers.other", ["WARNING ASYA_HANDLER is not used"]), ("answers:echo", [])])
def test_of_two_functions_the_one_that_is_not_used_is_named(runtime, handler, lines):
    with runtime("answers:echo", env={"ASYA_HANDLER": handler}, expect_log=lines) as server:
        assert server.result(5) == 5


BAD_VALUES = {
    "a log level": {"ASYA_LOG_LEVEL": "LOUD"}, "a log format": {"ASYA_LOG_FORMAT": "xml"},
    "a mode that is not octal": {"ASYA_SOCKET_CHMOD": "0o9"}, "a mode in words": {"ASYA_SOCKET_CHMOD": "rw"},
    "a mode too wide": {"ASYA_SOCKET_CHMOD": "17777"}, "a time in words": {"ASYA_READ_TIMEOUT": "soon"},
    "a negative time": {"ASYA_WRITE_TIMEOUT": "-1"}, "a time that is no number": {"ASYA_GRACE_PERIOD": "nan"},
    "no workers": {"ASYA_WORKERS": "0"}, "a fraction of a worker": {"ASYA_WORKERS": "1.5"},
}


@pytest.mark.parametrize("env", BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_value_is_refused_with_one_line_that_names_the_variable(refuse, env):
    refusal = refuse("answers:echo", env=env)
    assert refusal.code == EXIT_USAGE
    assert next(iter(env)) in refusal.cause
    assert len(refusal.lines) == 1


def test_an_unknown_option_is_refused(refuse):
    refusal = refuse("answers:echo", args=["--no-such-option"])
    assert refusal.code == EXIT_USAGE
    assert any("--no-such-option" in line.text for line in refusal.lines)
