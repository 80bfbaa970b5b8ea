"""examples/kubernetes as podman plays it: two containers, a folder that they share, probes, limits, an ordinary user."""
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from harness import processes
from harness.runtime import REPOSITORY, RUNTIME

PODMAN = REPOSITORY / "tests" / "matrix" / "pod.sh"
BASE = REPOSITORY / "examples" / "kubernetes" / "base"
IMAGE = "localhost/asya-python:made"
NAME = "text-processor-pod-0-asya-"  # podman's for the containers of this Deployment
FOLDER = "/var/run/asya"
PROBE = ["python3", "-S", "-E", "/opt/asya/asya_runtime.py", "probe"]

# What the sidecar does with a message.
ASK = """
import http.client, json, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.settimeout(20)
connection.sock.connect("/var/run/asya/asya-runtime.sock")
envelope = {"id": "1", "route": {"prev": [], "curr": "text-processor", "next": ["store"]}, "payload": json.loads(sys.argv[1])}
connection.request("POST", "/invoke", json.dumps(envelope), {"Content-Type": "application/json"})
print(connection.getresponse().read().decode())
"""


def manifest():
    """What `kubectl apply -k base` and the ConfigMap of the runtime would send, with an image that is here. The host's network,
    since a network of its own wants a program that need not be installed."""
    [deployment] = yaml.safe_load_all((BASE / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    for container in pod["containers"]:
        container.update(image=IMAGE, imagePullPolicy="Never")
        if container["name"] == "asya-sidecar":
            container["command"] = ["/pause"]
    handler = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "text-processor-handler"},
               "data": {"handler.py": (BASE / "handler.py").read_text()}}
    printed = subprocess.run([sys.executable, RUNTIME, "configmap"], capture_output=True, text=True, check=True, env={}).stdout
    return "\n---\n".join([printed, yaml.safe_dump(handler), yaml.safe_dump(deployment)])


def podman(*arguments, check=True):
    ended = subprocess.run([PODMAN, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert not check or ended.returncode == 0, ended.stderr
    return ended


def inside(name, *words, check=True):
    """A program in one of the two containers."""
    return podman("exec", NAME + name, *words, check=check)


def number_of(name):
    """The process of a container, as it is called out here."""
    return int(podman("inspect", NAME + name, "--format", "{{.State.Pid}}").stdout)


def is_ready():
    return inside("runtime", *PROBE, "--readiness", check=False).returncode == 0


def ask(payload):
    return json.loads(inside("sidecar", "python3", "-S", "-c", ASK, json.dumps(payload)).stdout)


def check_served(text, words):
    [frame] = ask({"text": text})["frames"]
    assert frame["payload"] == {"text": text, "words": words}
    assert frame["route"] == {"prev": ["text-processor"], "curr": "store", "next": []}


@pytest.fixture(scope="module")
def pod(tmp_path_factory):
    """The pod, played and ready; torn down again, which must leave nothing."""
    for tool in ("podman", "runc"):
        if not shutil.which(tool):
            pytest.skip(tool + " is not installed")
    ended = podman("run", "--rm", "--network", "host", "--entrypoint", "python3", IMAGE, "-c", "", check=False)
    if ended.returncode:
        pytest.skip("podman cannot run here: " + (ended.stderr.splitlines() or ["no root"])[-1])
    file = tmp_path_factory.mktemp("pod") / "pod.yaml"
    file.write_text(manifest())
    podman("kube", "down", file, check=False)  # of a run that was killed
    podman("volume", "rm", "--all", "--force")
    podman("kube", "play", file)
    assert processes.eventually(is_ready), podman("logs", NAME + "runtime").stderr
    yield
    podman("kube", "down", file)
    assert podman("ps", "--all", "--quiet").stdout == ""


def test_it_serves_and_is_confined_as_the_manifest_says(pod):
    check_served("to be or not", 4)
    assert ask({})["error"] == "processing_error"
    [what] = json.loads(podman("inspect", NAME + "runtime").stdout)
    assert what["HostConfig"]["ReadonlyRootfs"] and what["EffectiveCaps"] in ([], None)
    assert what["Config"]["User"] == "10001:10001" and what["HostConfig"]["Memory"] == 512 << 20
    for probe in ("--startup", "--readiness", "--liveness"):
        assert inside("runtime", *PROBE, probe).returncode == 0


def test_a_killed_worker_is_replaced(pod):
    supervisor = number_of("runtime")
    [worker] = processes.children(supervisor)
    os.kill(worker, signal.SIGKILL)
    check_served("once more", 2)
    assert number_of("runtime") == supervisor
    assert processes.eventually(lambda: processes.children(supervisor) not in ([], [worker]))


def test_after_a_kill_of_the_container_the_next_one_serves(pod):
    """The folder is kept, with what the killed one has left there."""
    supervisor = number_of("runtime")
    os.kill(supervisor, signal.SIGKILL)
    assert processes.eventually(lambda: number_of("runtime") not in (0, supervisor)), "podman has not restarted it"
    assert processes.eventually(is_ready)
    check_served("and again", 2)


def test_a_stop_ends_well(pod):
    podman("stop", "--time", "30", NAME + "runtime")
    [what] = json.loads(podman("inspect", NAME + "runtime").stdout)
    assert what["State"]["ExitCode"] == 0
    left = inside("sidecar", "python3", "-S", "-c", "import os; print(os.listdir(%r))" % FOLDER).stdout
    assert "asya-runtime.sock'" not in left and "runtime-ready" not in left, left
