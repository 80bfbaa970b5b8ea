"""What a function can reach of the runtime: no descriptor of the supervisor, no new privilege; and who can reach it."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from harness import client, processes
from harness.runtime import PYTHON

SNIPPET = "snippets:run"
FDS = """
import os
found = {}
for name in os.listdir("/proc/self/fd"):
    try:
        found[name] = os.readlink("/proc/self/fd/" + name)
    except OSError:
        pass
return {"pid": os.getpid(), "fds": found}
"""


def targets(found, pattern):
    return sorted(target for target in found.values() if re.match(pattern, target))


def seen_by_function(server):
    seen = server.result(FDS)
    found = {int(number): target for number, target in seen["fds"].items() if not target.endswith("/fd")}
    return seen["pid"], found


# -- descriptors ----------------------------------------------------------------------------------------------------------


def test_a_function_finds_none_of_the_supervisors_own_descriptors(runtime):
    with runtime(SNIPPET) as server:
        _, found = seen_by_function(server)
        supervisor = processes.descriptors(server.pid)
        assert len(targets(found, r"anon_inode:\[eventfd\]")) == 1, "its own server's, and not the one signals write to"
        assert not [target for target in found.values() if target.endswith((".lock", ".new"))]
        assert os.path.dirname(server.path) in supervisor.values() and os.path.dirname(server.path) not in found.values()
        assert len(targets(found, r"anon_inode:\[eventpoll\]")) == 1, "its own server's, and not the supervisor's"
        assert not [target for target in found.values() if "memfd" in target], "the loader's image is closed"
        assert found[0] == "/dev/null"


def test_a_function_finds_only_what_a_worker_needs(runtime):
    """Standard streams, its server's epoll and eventfd, sockets, and the pipe its stacks go through."""
    kinds = r"/dev/null$|pipe:|socket:|anon_inode:\[(eventpoll|eventfd)\]|/tmp/.*/std(out|err)$"
    with runtime(SNIPPET) as server:
        _, found = seen_by_function(server)
        assert not [target for target in found.values() if not re.match(kinds, target)]
        assert len(targets(found, "pipe:")) <= 1


CLOSE = "import os\nos.close(%d)\nreturn 1"
CHATTER = (
    "print('printed', flush=True)\nreturn 2",
    "import subprocess\nsubprocess.run(['echo', 'said'])\nreturn 2",
    "import subprocess\nsubprocess.run(['cat'], stdout=subprocess.DEVNULL, timeout=5)\nreturn 2",
    "import os\nfor number in (1, 2):\n    os.write(number, b'written')\nreturn 2",
)


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_no_connection_gets_the_number_of_a_closed_standard_stream(runtime, numbers):
    """What the function and its programs print is in no reply."""
    with runtime(SNIPPET, allow_log=["^(printed|said|written)"]) as server:
        for number in numbers:
            assert server.result(CLOSE % number) == 1
        assert [server.result(code) for code in CHATTER] == [2] * len(CHATTER)
        _, found = seen_by_function(server)
        assert not targets({number: found[number] for number in found if number < 3}, "socket:")
        assert [found[number] for number in numbers] == ["/dev/null"] * len(numbers)


def test_a_log_line_is_in_no_reply_after_the_function_has_closed_the_log(runtime):
    """An error of the function and one of a client each write one."""
    with runtime(SNIPPET) as server:
        assert server.result(CLOSE % 2) == 1
        assert server.call("raise KeyError('boom')")["type"] == "KeyError"
        with server.connect() as connection:
            connection.send(b"GET /\x01 HTTP/1.1\r\n\r\n")
            reply = connection.receive_all()
        assert reply.startswith(b"HTTP/1.1 400 ") and reply.count(b"HTTP/1.1") == 1
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"] == "msg_parsing_error"


def test_standard_streams_closed_before_the_start_are_null(runtime):
    close = (sys.executable, "-c", "import os, sys\nos.closerange(0, 3)\nos.execv(sys.argv[1], sys.argv[1:])")
    with runtime(SNIPPET, wrapper=close) as server:
        _, found = seen_by_function(server)
        assert [found[number] for number in range(3)] == ["/dev/null"] * 3
        supervisor = processes.descriptors(server.pid)
        assert [supervisor[number] for number in range(3)] == ["/dev/null"] * 3
        assert server.result("print('x')\nreturn 3") == 3


def test_workers_share_what_they_take_connections_from_and_nothing_else(runtime):
    """The listening socket, and the queue of connections that waited for a free worker. All ends of a pair have inodes of
    their own, so a socket that two processes name alike is held by both."""
    with runtime(SNIPPET, env={"ASYA_WORKERS": "2"}) as server:
        held = [set(targets(processes.descriptors(pid), "socket:|pipe:")) for pid in server.worker_pids()]
        assert len(held) == 2 and all(held)
        common = {re.findall(r"\d+", target)[0] for target in held[0] & held[1]}
        with open("/proc/net/unix") as file:
            found = [line.split() for line in file if line.split()[6:7] and line.split()[6] in common]
        assert len(common) == len(found) == 2
        assert sorted(line[3] for line in found) == ["00000000", "00010000"], "one of them listens"
        assert server.path + ".new" in [line[7] for line in found if len(line) > 7]


def test_what_a_function_starts_inherits_no_descriptor(runtime):
    code = """
import subprocess
script = "import os, sys; sys.stdout.write(' '.join(sorted(os.listdir('/proc/self/fd'), key=int)))"
return subprocess.run([%r, "-c", script], close_fds=False, stdout=subprocess.PIPE, check=True).stdout.decode()
""" % sys.executable
    with runtime(SNIPPET) as server:
        assert server.result(code) == "0 1 2 3", "3 is the listing's own"


# -- privileges -------------------------------------------------------------------------------------------------------------


def test_a_function_and_what_it_starts_get_no_new_privileges(runtime):
    code = """
import subprocess
own = [line for line in open("/proc/self/status") if line.startswith("NoNewPrivs")]
child = subprocess.run(["grep", "NoNewPrivs", "/proc/self/status"], stdout=subprocess.PIPE, check=True).stdout.decode()
return [own[0].split()[1], child.split()[1]]
"""
    with runtime(SNIPPET) as server:
        assert server.result(code) == ["1", "1"]


def test_a_module_that_is_imported_has_none_either(runtime, short_folder):
    (short_folder / "early.py").write_text(
        "FOUND = [line.split()[1] for line in open('/proc/self/status') if line.startswith('NoNewPrivs')]\n"
        "def process(payload):\n    return FOUND\n")
    with runtime("early", env={"PYTHONPATH": str(short_folder)}) as server:
        assert server.result(1) == ["1"]


# -- who may connect ---------------------------------------------------------------------------------------------------------

STRANGER = 12345
ASK = "import socket, sys; c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); c.sendall(b'1'); c.shutdown(1); " \
      "sys.stdout.buffer.write(c.makefile('rb').read())"


def ask_as(uid, path):
    """What a process of this user gets for the message 1; "" when it is turned away."""
    ended = subprocess.run(["setpriv", "--reuid", str(uid), "--regid", "0", "--clear-groups", "/usr/bin/python3", "-c", ASK, path],
                           capture_output=True, text=True, check=False)
    refused = ("ConnectionResetError", "BrokenPipeError")
    assert ended.returncode == 0 or any(name in ended.stderr for name in refused), ended.stderr
    return ended.stdout


@pytest.fixture
def strangers():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("connecting as another user needs root and setpriv")


@pytest.fixture
def open_folder(short_folder):
    """Everybody may look into it, so that the socket's mode and the list alone decide."""
    short_folder.chmod(0o755)
    (short_folder / "run").mkdir(mode=0o755)
    (short_folder / "run").chmod(0o755)
    return short_folder / "run"


def test_a_set_user_id_program_stays_the_functions_user(runtime, strangers, open_folder):
    """The effect, and not only the flag: a set-user-id copy of id(1), run by the function of an unprivileged worker."""
    program = open_folder.parent / "id"
    shutil.copy(shutil.which("id"), program)
    program.chmod(0o4755)
    as_user = ["setpriv", "--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
    plain = subprocess.run([*as_user, str(program), "-u"], capture_output=True, text=True, check=True)
    if plain.stdout != "0\n":
        pytest.skip("/tmp is mounted nosuid: the program would not change its user anyway")
    if subprocess.run([*as_user, PYTHON, "-c", "pass"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("an unprivileged user may not run %s" % PYTHON)
    os.chown(open_folder, STRANGER, STRANGER)
    code = "import subprocess; return subprocess.run([%r, '-u'], stdout=subprocess.PIPE, check=True).stdout.decode()"
    with runtime(SNIPPET, path=open_folder / "s", wrapper=as_user) as server:
        assert server.result(code % str(program)) == "%d\n" % STRANGER


# (ASYA_ALLOWED_UIDS, ASYA_SOCKET_CHMOD, whether a stranger is answered)
LISTS = [("", "0o666", True), ("12345", "0o666", True), ("1,2,12345", "0o666", True), ("1,2", "0o666", False),
         ("123456,1234", "0o666", False)]


@pytest.mark.parametrize("allowed, mode, answered", LISTS, ids=[row[0] or "no list" for row in LISTS])
def test_only_users_on_the_list_are_answered(runtime, strangers, open_folder, allowed, mode, answered):
    log = [] if answered else ["WARNING .*connections of user id 12345 are refused"]
    env = {"ASYA_ALLOWED_UIDS": allowed, "ASYA_SOCKET_CHMOD": mode}
    with runtime("answers:echo", path=open_folder / "s", env=env, expect_log=log) as server:
        reply = ask_as(STRANGER, server.path)
        assert json.loads(reply)["result"] == 1 if answered else reply == ""
        assert server.result(1) == 1, "its own user is always served"


def test_the_functions_are_never_called_for_a_refused_user(runtime, strangers, open_folder):
    code = "KEPT.setdefault('calls', []).append(1)\nreturn len(KEPT['calls'])"
    env = {"ASYA_ALLOWED_UIDS": "7", "ASYA_SOCKET_CHMOD": "0o666"}
    with runtime(SNIPPET, path=open_folder / "s", env=env, allow_log=["are refused"]) as server:
        assert server.result(code) == 1
        for _ in range(5):
            assert ask_as(STRANGER, server.path) == ""
        assert server.result(code) == 2
        assert len([line for line in server.logs() if "are refused" in line.text]) == 1


def test_a_refused_user_gets_nothing_while_every_worker_is_busy_or_at_the_stop(runtime, strangers, open_folder):
    """The supervisor accepts at these times; it must look at the list too."""
    env = {"ASYA_ALLOWED_UIDS": "7", "ASYA_SOCKET_CHMOD": "0o666"}
    with runtime("answers:nap", path=open_folder / "s", env=env, allow_log=["are refused"]) as server:
        with server.connect() as connection:
            connection.send(b"1")
            connection.half_close()
            assert ask_as(STRANGER, server.path) == ""
            assert connection.reply()["result"] == 1


def test_the_sockets_mode_decides_before_the_list_does(runtime, strangers, open_folder):
    env = {"ASYA_ALLOWED_UIDS": "12345", "ASYA_SOCKET_CHMOD": "0o600"}
    with runtime("answers:echo", path=open_folder / "s", env=env) as server:
        ended = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "/usr/bin/python3", "-c",
                                ASK, server.path], capture_output=True, text=True, check=False)
        assert "PermissionError" in ended.stderr
        assert client.call(server.path, 1)["result"] == 1
