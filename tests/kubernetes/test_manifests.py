"""examples/kubernetes: valid for Kubernetes, true to the runtime, and serving when run as they say.

kubectl builds the overlays, kubernetes-validate (the published JSON schemas of Kubernetes) checks them.
"""
import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from harness import client, processes
from harness.runtime import PYTHON, REPOSITORY, RUNTIME

FOLDER = REPOSITORY / "examples" / "kubernetes"
BUILDS = ["base", "overlays/development", "overlays/production", "overlays/hardened"]
VERSIONS = ["1.25", "1.28", "1.31", "1.34", "1.37"]
SECCOMP = pathlib.Path(__file__).parent / "seccomp.py"


def build(name):
    """The documents that `kubectl apply -k` would send."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    ended = subprocess.run(["kubectl", "kustomize", str(FOLDER / name)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return list(yaml.safe_load_all(ended.stdout))


def deployment(name):
    [document] = [document for document in build(name) if document["kind"] == "Deployment"]
    return document


def pod(name):
    return deployment(name)["spec"]["template"]["spec"]


def container(spec, name="asya-runtime"):
    [found] = [entry for entry in spec["containers"] if entry["name"] == name]
    return found


def environment(entry):
    return {variable["name"]: variable["value"] for variable in entry["env"]}


def runtime_help():
    return subprocess.run([PYTHON, str(RUNTIME), "--help"], capture_output=True, text=True, check=True, env={}).stdout


# -- valid for Kubernetes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", BUILDS)
def test_every_document_is_valid(name, version):
    for document in build(name):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_runtimes_own_configmap_is_valid(version):
    printed = subprocess.run([PYTHON, str(RUNTIME), "configmap", "--namespace", "asya"], capture_output=True, check=True, env={})
    kubernetes_validate.validate(yaml.safe_load(printed.stdout), version, strict=True)


@pytest.mark.parametrize("wrong", [
    lambda spec: spec["containers"][0].update(volumeMount=[]), lambda spec: spec["containers"][0].pop("name"),
    lambda spec: spec["containers"][0]["livenessProbe"].update(periodSeconds="10"),
    lambda spec: spec.update(terminationGracePeriodSeconds="30s")],
    ids=["an unknown field", "no name", "a number as text", "a time with its unit"])
def test_the_validator_finds_what_is_wrong(wrong):
    document = deployment("base")
    wrong(document["spec"]["template"]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[0], strict=True)


def test_kubectl_takes_the_plain_manifests():
    """What needs no server of kubectl: the ConfigMap of the handler is made from its file as the text says."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    made = subprocess.run(["kubectl", "create", "configmap", "text-processor-handler", "--dry-run=client", "--output=json",
                           "--from-file=%s" % (FOLDER / "base" / "handler.py")], capture_output=True, check=True)
    assert json.loads(made.stdout)["data"]["handler.py"] == (FOLDER / "base" / "handler.py").read_text()


# -- sound ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDS)
def test_no_container_has_more_rights_than_it_needs(name):
    spec = pod(name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for entry in spec["containers"]:
        rights = entry["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False and rights["readOnlyRootFilesystem"] is True
        assert rights["capabilities"] == {"drop": ["ALL"]} and "privileged" not in rights
        assert entry["resources"]["requests"].keys() == {"cpu", "memory"} and "memory" in entry["resources"]["limits"]


@pytest.mark.parametrize("name", BUILDS)
def test_both_containers_share_the_sockets_folder_and_every_mount_has_its_volume(name):
    spec = pod(name)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for entry in spec["containers"]:
        for mount in entry["volumeMounts"]:
            assert mount["name"] in volumes
            assert mount.get("readOnly", False) == ("emptyDir" not in volumes[mount["name"]])
    shared = [{mount["mountPath"] for mount in entry["volumeMounts"] if "emptyDir" in volumes[mount["name"]]}
              for entry in spec["containers"]]
    assert shared == [{"/var/run/asya"}] * 2
    maps = {document["metadata"]["name"] for document in build(name) if document["kind"] == "ConfigMap"}
    for volume in volumes.values():
        if "configMap" in volume:
            assert volume["configMap"]["name"] in maps | {"asya-runtime"}


@pytest.mark.parametrize("name", BUILDS)
def test_the_pod_lives_longer_than_the_grace_period(name):
    spec = pod(name)
    grace = float(environment(container(spec)).get("ASYA_GRACE_PERIOD", 25))
    assert spec["terminationGracePeriodSeconds"] >= grace + 5


@pytest.mark.parametrize("name", BUILDS)
def test_probes_give_up_before_the_kubelet_does(name):
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container(pod(name))[kind]
        command = probe["exec"]["command"]
        assert float(command[command.index("--timeout") + 1]) < probe["timeoutSeconds"]
        assert command[command.index("probe") + 1] == "--" + kind.replace("Probe", "")


@pytest.mark.parametrize("name", BUILDS)
def test_the_startup_probe_is_more_patient_than_the_startup_timeout(name):
    entry = container(pod(name))
    patience = entry["startupProbe"]["periodSeconds"] * entry["startupProbe"]["failureThreshold"]
    assert patience > float(environment(entry).get("ASYA_STARTUP_TIMEOUT", 0))


def test_the_workers_fit_into_the_memory():
    """Together they may not reach the limit, at which the kernel ends the container."""
    settings = environment(container(pod("overlays/production")))
    share = int(settings["ASYA_MEMORY_LIMIT"].rstrip("%"))
    assert share * int(settings["ASYA_WORKERS"]) < 100 and int(settings["ASYA_MAX_RSS"].rstrip("%")) < share


@pytest.mark.parametrize("name", [*BUILDS, "asyncactor.yaml"])
def test_every_variable_is_one_of_the_runtimes(name):
    if name.endswith(".yaml"):
        settings = environment(yaml.safe_load((FOLDER / name).read_text())["spec"])
    else:
        settings = environment(container(pod(name)))
    for variable in settings:
        if variable.startswith("ASYA_"):
            assert re.search(r"^  %s, --" % variable, runtime_help(), re.MULTILINE), variable


# What Asya's published definition of the resource demands (asya.sh/v1alpha1), as far as the example uses it.
ASYNC_ACTOR = {
    "actor": lambda value: re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", value) and len(value) <= 63,
    "image": lambda value: isinstance(value, str) and value,
    "handler": lambda value: isinstance(value, str) and value,
    "env": lambda value: all(set(entry) in ({"name", "value"}, {"name", "valueFrom"}) for entry in value),
    "volumes": lambda value: all("name" in entry for entry in value),
    "volumeMounts": lambda value: all("name" in entry and entry["mountPath"].startswith("/") for entry in value),
    "resources": lambda value: set(value) <= {"requests", "limits"},
    "resiliency": lambda value: set(value) <= {"retry", "nonRetryableErrors", "actorTimeout"},
    "scaling": lambda value: set(value) <= {"enabled", "minReplicaCount", "maxReplicaCount", "pollingInterval",
                                            "cooldownPeriod", "queueLength"},
}


def test_the_async_actor_is_one():
    document = yaml.safe_load((FOLDER / "asyncactor.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("asya.sh/v1alpha1", "AsyncActor")
    assert {"actor", "image", "handler"} <= set(document["spec"]) <= set(ASYNC_ACTOR)
    for key, value in document["spec"].items():
        assert ASYNC_ACTOR[key](value), key
    timeout = float(environment(document["spec"])["ASYA_HANDLER_TIMEOUT"])
    assert timeout < 300, "below actorTimeout, at which the sidecar ends the pod"
    assert document["spec"]["resiliency"]["actorTimeout"] == "5m"


# -- run as they say ------------------------------------------------------------------------------------------------------

# The pod's view in a mount namespace: read-only root, the three volumes, the pod's user without any right.
POD = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir /opt/asya /opt/handler
cp "$FILE" /opt/asya/asya_runtime.py
cp "$HANDLER" /opt/handler/handler.py
mount -t tmpfs -o mode=755 tmpfs /var/run
mkdir -m 2770 /var/run/asya
chown 0:$GROUP /var/run/asya
mount --bind "$SHARED" /var/run/asya
chown 0:$GROUP /var/run/asya
chmod 2770 /var/run/asya
mount -o remount,ro /opt
mount -o remount,bind,ro /
exec setpriv --reuid "$USER_ID" --regid "$GROUP" --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


def in_pod(spec, command, shared, extra=(), wrapper=()):
    """Starts `command` of the runtime's container where the pod would have it; the socket's folder is `shared`."""
    settings = environment(container(spec))
    settings["PYTHONPATH"] = settings["PYTHONPATH"].replace("/app", "/opt/handler")
    variables = {
        "FILE": str(RUNTIME), "HANDLER": str(FOLDER / "base" / "handler.py"), "SHARED": str(shared),
        "USER_ID": str(spec["securityContext"]["runAsUser"]), "GROUP": str(spec["securityContext"]["runAsGroup"]),
        "PATH": "/usr/bin:/bin", **settings, **dict(extra)}
    return subprocess.Popen(["unshare", "--mount", "--propagation=unchanged", "sh", "-c", POD, "sh", *wrapper, *command],
                            env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def needs_root():
    if os.geteuid() != 0:
        pytest.skip("mount namespaces need root")
    for tool in ("unshare", "setpriv"):
        if not shutil.which(tool):
            pytest.skip("%s is not installed" % tool)


@pytest.mark.parametrize("name", BUILDS)
def test_the_pod_serves_as_its_manifest_says(name, short_folder):
    needs_root()
    spec = pod(name)
    entry = container(spec)
    wrapper = []
    if "seccompProfile" in entry["securityContext"]:
        needs_libseccomp()
        (short_folder / "profile").write_text((FOLDER / "seccomp.json").read_text())
        (short_folder / "seccomp.py").write_text(SECCOMP.read_text())
        wrapper = ["/usr/bin/python3", str(short_folder / "seccomp.py"), str(short_folder / "profile")]
    short_folder.chmod(0o755)
    shared = short_folder / "run"
    shared.mkdir()
    running = in_pod(spec, entry["command"], shared, wrapper=wrapper)
    try:
        path = str(shared / "asya-runtime.sock")
        assert processes.eventually(lambda: running.poll() is not None or (shared / "runtime-ready").exists(), 20)
        assert running.poll() is None, running.communicate()
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = in_pod(spec, entry[kind]["exec"]["command"], shared)
            out, err = probe.communicate(timeout=20)
            assert probe.returncode == 0, (kind, out, err)
        # the sidecar of the pod is the pod's user too
        user, group = spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]
        asked = subprocess.run(
            ["setpriv", "--reuid", str(user), "--regid", str(group), "--clear-groups", "/usr/bin/python3", "-c", SIDECAR, path],
            capture_output=True, text=True, check=False)
        short_folder.chmod(0o755)
        assert asked.returncode == 0, asked.stderr
        assert client.check_reply(asked.stdout.encode())["result"] == {"text": "hello from a pod", "words": 4}
        running.terminate()
        _, log = running.communicate(timeout=20)
        assert running.returncode == 0, log
        assert not list(shared.iterdir())
        assert "Traceback" not in log and "ERROR" not in log, log
    finally:
        running.kill()
        running.communicate()


SIDECAR = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(b'{"text": "hello from a pod"}')
    print(client.makefile().read(), end="")
"""


# -- the seccomp profile ----------------------------------------------------------------------------------------------------


def under_profile(code):
    return subprocess.run([sys.executable, str(SECCOMP), str(FOLDER / "seccomp.json"), sys.executable, "-c", code],
                          capture_output=True, text=True, check=False)


def needs_libseccomp():
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp2 is not installed")


# (what is tried, code that prints what came of it)
REFUSED = [
    ("a new user namespace", "c.unshare(0x10000000)"),
    ("mounting", "c.mount(b'x', b'/mnt', b'tmpfs', 0, None)"),
    ("looking into another process", "c.ptrace(16, os.getppid(), None, None)"),
    ("a packet socket", "c.socket(17, 3, 0)"),
    ("reading another process's memory", "c.syscall({'x86_64': 310, 'aarch64': 270}[os.uname().machine], os.getppid(), None, 0, None, 0, 0)"),
    ("io_uring", "c.syscall(425, 1, None)"),
    ("the kernel's keyring", "c.syscall({'x86_64': 250, 'aarch64': 219}[os.uname().machine], 0, 0, 0, 0, 0)"),
]


def test_the_seccomp_profile_is_of_the_form_that_container_runtimes_read():
    """The OCI runtime specification's linux.seccomp: what has another name is ignored, and the profile is another one."""
    profile = json.loads((FOLDER / "seccomp.json").read_text())
    assert set(profile) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert set(profile["architectures"]) == {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"}
    for rule in profile["syscalls"]:
        assert {"names", "action"} <= set(rule) <= {"names", "action", "errnoRet", "args", "comment"}
        assert rule["names"] == sorted(set(rule["names"]))
        for argument in rule.get("args", []):
            assert {"index", "value", "op"} <= set(argument) <= {"index", "value", "valueTwo", "op"}


@pytest.mark.parametrize("call", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_the_seccomp_profile_refuses(call):
    needs_libseccomp()
    ended = under_profile("import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\nprint(%s, ctypes.get_errno())" % call)
    assert ended.stdout == "-1 1\n", ended


def test_the_seccomp_profile_allows_threads_processes_and_sockets():
    needs_libseccomp()
    ended = under_profile(
        "import asyncio, socket, subprocess, tempfile, threading\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "print(subprocess.run(['echo', 'process'], stdout=subprocess.PIPE, check=True).stdout.decode(), end='')\n"
        "a, b = socket.socketpair(); a.sendall(b'x'); print(b.recv(1))\n"
        "with socket.create_server(('127.0.0.1', 0)) as server: print(socket.create_connection(server.getsockname()).fileno() > 0)\n"
        "print(asyncio.run(asyncio.sleep(0, 'loop')))\n")
    assert ended.stdout == "thread\nprocess\nb'x'\nTrue\nloop\n", ended
