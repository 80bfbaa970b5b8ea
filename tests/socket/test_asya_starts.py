"""The start commands, variables and requests that Asya's own documents give for its runtime, unchanged but for the folder that
stands for the container's root. They are in the repository deliveryhero/asya: the README of its runtime, and in its reference
core-runtime, env-vars and sidecar-runtime."""
import shutil
import stat
import subprocess

import pytest

from harness.protocols import HttpConnection, invoke
from harness.runtime import RUNTIME

# The function's file, what it holds, and the settings; {root} is the container's.
FUNCTION = "def %s(payload):\n    return {'by': __name__, **payload}\n"
CLASS = "class MyClass:\n    def __init__(self, by='MyClass'):\n        self.by = by\n" \
        "    async def process(self, payload: dict) -> dict:\n        return {'by': self.by, **payload}\n"
STARTS = {
    "a package": ("app/my_package/handler.py", FUNCTION % "process", "my_package.handler.process", "{root}/app",
                  "my_package.handler"),
    "a script": ("foo/bar/script.py", FUNCTION % "predict", "script.predict", "{root}/foo/bar", "script"),
    "several folders": ("opt/models/my_module/inference.py", FUNCTION % "run", "my_module.inference.run",
                        "{root}/app:{root}/opt/models", "my_module.inference"),
    "a class": ("app/my_module.py", CLASS, "my_module.MyClass.process", "{root}/app", "MyClass"),
    "beside the runtime, without PYTHONPATH": ("opt/asya/handler.py", FUNCTION % "process", "handler.process", None, "handler"),
}


@pytest.fixture
def container(runtime, short_folder):
    """container("app/handler.py", code): a block with the runtime started as `python3 /opt/asya/asya_runtime.py` is there."""
    def start(file, code, env, **options):
        program, path = short_folder / "opt" / "asya" / "asya_runtime.py", short_folder / file
        for folder in (program.parent, path.parent, short_folder / "work"):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(RUNTIME, program)
        path.write_text(code)
        shared = short_folder / "var" / "run" / "asya"
        shared.mkdir(parents=True)
        settings = {"ASYA_SOCKET_PATH": None, "ASYA_SOCKET_DIR": str(shared), "PYTHONPATH": None, **env}
        return runtime(program=program, path=shared / (env.get("ASYA_SOCKET_NAME") or "asya-runtime.sock"), env=settings,
                       **{"cwd": short_folder / "work", "worker_descriptors": True, **options})

    return start


def is_ready(server):
    """Asya's readiness probe."""
    folder = server.env["ASYA_SOCKET_DIR"]
    return subprocess.run(["sh", "-c", "test -S %s/asya-runtime.sock && test -f %s/runtime-ready" % (folder, folder)],
                          check=False).returncode == 0


def health(path):
    connection = HttpConnection(path)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def debug_message(payload):
    """The message of the documented curl command."""
    return {"id": "dbg-1", "route": {"prev": [], "curr": "my-actor", "next": []}, "payload": payload}


def debug_answer(payload):
    return 200, {"frames": [{"payload": payload, "route": {"prev": ["my-actor"], "curr": "", "next": []}}]}


@pytest.mark.parametrize("file, code, handler, path, by", STARTS.values(), ids=STARTS)
def test_a_documented_start(container, short_folder, file, code, handler, path, by):
    env = {"ASYA_HANDLER": handler, "PYTHONPATH": path and path.format(root=short_folder)}
    with container(file, code, env) as server:
        assert is_ready(server)
        assert health(server.path) == (200, b'{"status":"ready"}')
        assert invoke(server.path, debug_message({"x": 1})) == debug_answer({"by": by, "x": 1})
    assert not is_ready(server)


def test_the_quick_start(container, short_folder):
    """`python asya_runtime.py` where my_app is."""
    with container("work/my_app/handler.py", FUNCTION % "predict", {"ASYA_HANDLER": "my_app.handler.predict"}) as server:
        assert invoke(server.path, debug_message({"x": 1})) == debug_answer({"by": "my_app.handler", "x": 1})


NO_EFFECT = "WARNING .*is not a setting of this runtime, and has no effect"
# The variables of the runtime and of what shares its pod, with the values that the documents show, and what is logged for them.
ENVIRONMENT = {
    "the defaults, spelt out": ({"ASYA_SOCKET_NAME": "asya-runtime.sock", "ASYA_SOCKET_CHMOD": "0o666", "ASYA_LOG_LEVEL": "INFO",
                                 "ASYA_ENABLE_VALIDATION": "true", "ASYA_PYTHONEXECUTABLE": "python3"}, []),
    "of older runtimes": ({"ASYA_HANDLER_MODE": "payload", "ASYA_CHUNK_SIZE": "65536", "ASYA_MSG_ROOT": "/proc/asya/msg"}, []),
    "levels in any case": ({"ASYA_LOG_LEVEL": "debug"}, []),
    "WARN, as logging has it": ({"ASYA_LOG_LEVEL": "WARN"}, []),
    "no validation": ({"ASYA_ENABLE_VALIDATION": "False"}, []),
    "empty ones": ({"ASYA_SOCKET_CHMOD": "", "ASYA_LOG_LEVEL": "", "ASYA_STATE_PROXY_MOUNTS": "", "ASYA_ENABLE_VALIDATION": ""}, []),
    "the sidecar's": ({"ASYA_ACTOR_NAME": "my-actor", "ASYA_NAMESPACE": "default", "ASYA_TRANSPORT": "sqs",
                       "ASYA_SOCKET_MESH_DIR": "/var/run/asya/mesh", "ASYA_ACTOR_SINK": "x-sink", "ASYA_ACTOR_SUMP": "x-sump",
                       "ASYA_IS_END_ACTOR": "false", "ASYA_RESILIENCY_ACTOR_TIMEOUT": "5m", "ASYA_RESILIENCY_POLICIES": "{}",
                       "ASYA_RESILIENCY_RULES": "[]", "ASYA_GATEWAY_URL": "", "ASYA_RUNTIME_READY_TIMEOUT": "60s",
                       "ASYA_METRICS_ENABLED": "true", "ASYA_CUSTOM_METRICS": "", "ASYA_RABBITMQ_PREFETCH": "1",
                       "ASYA_QUEUE_RETRY_BACKOFF": "1s", "ASYA_AWS_REGION": "us-east-1", "ASYA_PUBSUB_PROJECT_ID": "p"}, []),
    "the crew's": ({"ASYA_PERSISTENCE_MOUNT": "/state", "ASYA_SINK_HOOKS": "checkpoint-s3", "ASYA_SINK_FANOUT_HOOKS": "false",
                    "ASYA_PAUSE_METADATA": "{}", "ASYA_RESUME_MERGE_MODE": "shallow", "ASYA_S3_BUCKET": "b",
                    "ASYA_CHECKPOINT_MOUNT": "/state"}, []),
    "a router's": ({"ASYA_HANDLER_ACTOR_CLEAN": "actors.clean", "ASYA_HANDLER_FANIN_A": "routers.fanin_a"}, []),
    "the state proxy": ({"ASYA_STATE_PROXY_MOUNTS": "media:/state/media:write=passthrough"}, []),
    "decorators to leave out": ({"ASYA_IGNORE_DECORATORS": "tenacity.retry"}, [NO_EFFECT]),
    "where parameters are": ({"ASYA_PARAMS_AT": ".", "ASYA_RESULT_AT": ".", "ASYA_RESULT_MERGE": "shallow"}, [NO_EFFECT]),
}


@pytest.mark.parametrize("env, log", ENVIRONMENT.values(), ids=ENVIRONMENT)
def test_a_documented_environment(container, env, log):
    settings = {"ASYA_HANDLER": "handler.process", **env}
    with container("opt/asya/handler.py", FUNCTION % "process", settings, expect_log=log) as server:
        assert health(server.path) == (200, b'{"status":"ready"}')
        assert invoke(server.path, debug_message({"x": 1})) == debug_answer({"by": "handler", "x": 1})


def test_the_socket_is_for_everybody_in_the_pod(container, short_folder):
    with container("opt/asya/handler.py", FUNCTION % "process", {"ASYA_HANDLER": "handler.process"}) as server:
        assert stat.S_IMODE((short_folder / "var/run/asya/asya-runtime.sock").stat().st_mode) == 0o666
        assert invoke(server.path, debug_message({}))[0] == 200
