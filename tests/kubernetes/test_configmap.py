"""`asya_runtime.py configmap`: the file prints itself, byte for byte, within what Kubernetes and kubectl take."""
import hashlib
import json
import platform
import re
import shutil
import subprocess

import pytest
import yaml

from harness.runtime import PYTHON, RUNTIME

ANNOTATION_LIMIT = 262144  # bytes of all annotations of one object


def configmap(*arguments, program=RUNTIME, cwd=None):
    return subprocess.run([PYTHON, str(program), "configmap", *arguments], capture_output=True, cwd=cwd, env={},
                          timeout=20, check=False)


def test_it_is_a_configmap_with_exactly_this_file():
    ended = configmap("--machine", "all")
    assert ended.returncode == 0
    document = yaml.safe_load(ended.stdout)
    assert document["data"]["asya_runtime.py"].encode() == RUNTIME.read_bytes()
    assert (document["apiVersion"], document["kind"]) == ("v1", "ConfigMap")
    assert document["metadata"]["name"] == "asya-runtime" and "namespace" not in document["metadata"]
    version = subprocess.run([PYTHON, str(RUNTIME), "--version"], capture_output=True, text=True, env={}, check=True)
    assert document["metadata"]["labels"]["app.kubernetes.io/version"] == version.stdout.split()[1]


def images_of(text):
    return {machine for machine in ("x86_64", "aarch64") if re.search('^    "%s": [(]' % machine, text, re.M)}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_one_machine_has_its_own_image_alone(machine):
    ended = configmap("--machine", machine)
    text = yaml.safe_load(ended.stdout)["data"]["asya_runtime.py"]
    whole = RUNTIME.read_text()
    if machine not in images_of(whole):
        assert ended.returncode == 1 and b"no image for " + machine.encode() in ended.stderr
        return
    assert ended.returncode == 0 and ended.stderr == b"" and images_of(text) == {machine}
    assert all(line in whole for line in text.splitlines()), "nothing but the other image and a desk's commands is taken out"


def test_for_one_machine_the_commands_of_a_desk_are_left_out(short_folder):
    """And say so where somebody calls them; those for a running runtime are there."""
    copy = short_folder / "asya_runtime.py"
    copy.write_text(yaml.safe_load(configmap("--machine", platform.machine()).stdout)["data"]["asya_runtime.py"])
    for command in "bench", "run", "completion":
        ended = subprocess.run([PYTHON, str(copy), command], capture_output=True, text=True, env={}, check=False)
        assert ended.returncode == 64 and "comes from a ConfigMap" in ended.stderr and ended.stderr.count("\n") == 1
    for command in "status", "top", "call", "help":
        ended = subprocess.run([PYTHON, str(copy), command, "--help"], capture_output=True, text=True, env={}, check=False)
        assert ended.returncode == 0 and "usage" in ended.stdout.lower(), ended.stderr


def test_without_a_choice_it_is_what_kubectl_can_keep_a_copy_of():
    ended = configmap()
    text = yaml.safe_load(ended.stdout)["data"]["asya_runtime.py"]
    assert ended.returncode == 0 and platform.machine() in images_of(text)
    assert (b"--machine all" in ended.stderr) == (text != RUNTIME.read_text()), "what was left out is said"


def test_all_images_say_how_to_apply_them():
    ended = configmap("--machine", "all")
    assert ended.returncode == 0 and images_of(ended.stdout.decode().replace("\n    ", "\n")) == images_of(RUNTIME.read_text())
    assert (b"--server-side" in ended.stderr) == (RUNTIME.stat().st_size > 256000)


def test_what_was_printed_runs(short_folder):
    """Written back from the ConfigMap, as a mounted volume holds it, it is the runtime, and prints itself again."""
    first = configmap()
    copy = short_folder / "asya_runtime.py"
    copy.write_text(yaml.safe_load(first.stdout)["data"]["asya_runtime.py"])
    assert configmap(program=copy).stdout == first.stdout
    assert configmap(program="asya_runtime.py", cwd=short_folder).stdout == first.stdout


@pytest.mark.parametrize("name", ["x", "asya-runtime-2", "a.b-c.d", "0", "1e3", "null", "true", "a" * 253])
def test_names_that_kubernetes_takes_stay_text(name):
    document = yaml.safe_load(configmap("--name", name, "--namespace", name[:63].replace(".", "-")).stdout)
    assert document["metadata"]["name"] == name
    assert document["metadata"]["namespace"] == name[:63].replace(".", "-")


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a..b", ".a", "a.", "a-.b", "a.-b", 'a"', "a\nb", "é", "a" * 254])
def test_names_that_kubernetes_refuses_are_refused(name):
    ended = configmap("--name", name)
    assert ended.returncode == 64 and ended.stdout == b""
    assert b"usage: asya_runtime.py configmap" in ended.stderr and ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [["--namespace", "a.b"], ["--namespace", "a" * 64], ["--name"], ["--bogus", "x"], ["x"],
                                       ["--machine"], ["--machine", "riscv64"]])
def test_a_wrong_argument_gives_a_usage_line(arguments):
    ended = configmap(*arguments)
    assert ended.returncode == 64 and ended.stdout == b"" and b"usage: asya_runtime.py configmap" in ended.stderr


def altered(data):
    return {"with a line of Windows": data.replace(b"\n", b"\r\n", 1), "without its last newline": data[:-1],
            "with one more newline": data + b"\n", "with a tab": data.replace(b" [--help]", b"\t[--help]", 1),
            "with a first line of its own": b"# mine\n" + data}


@pytest.mark.parametrize("how", altered(b""))
def test_a_file_that_was_altered_is_not_printed(short_folder, how):
    copy = short_folder / "asya_runtime.py"
    copy.write_bytes(altered(RUNTIME.read_bytes())[how])
    assert copy.read_bytes() != RUNTIME.read_bytes()
    ended = configmap(program=copy)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"not the single file" in ended.stderr and ended.stderr.count(b"\n") == 1


def test_without_a_file_of_its_own_it_says_so():
    """Started from standard input, as the other commands in Python say it: they lie in that file."""
    ended = subprocess.run([PYTHON, "-", "configmap"], input=RUNTIME.read_bytes(), capture_output=True, env={}, check=False)
    assert (ended.returncode, ended.stdout) == (78, b"") and b"needs its file, which was read from standard input" in ended.stderr


def test_a_full_disk_is_no_success():
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([PYTHON, str(RUNTIME), "configmap"], stdout=full, stderr=subprocess.PIPE, env={}, check=False)
    assert ended.returncode == 1 and b"No space left" in ended.stderr


# -- what kubectl does with it ------------------------------------------------------------------------------------------


def annotation(document):
    """What `kubectl apply` keeps of an object in an annotation: JSON as Go writes it, without HTML's characters."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def test_kubectl_apply_can_keep_it_in_an_annotation():
    document = yaml.safe_load(configmap("--namespace", "n" * 63, "--name", "m" * 253).stdout)
    size = len("kubectl.kubernetes.io/last-applied-configuration") + len(annotation(document).encode())
    assert size < ANNOTATION_LIMIT, size


def test_kubectl_itself_keeps_it_in_an_annotation(short_folder):
    """With the annotation written by kubectl, and not as we think it would be."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    chosen = short_folder / "asya_runtime.py"
    chosen.write_text(yaml.safe_load(configmap().stdout)["data"]["asya_runtime.py"])
    ended = subprocess.run(["kubectl", "create", "configmap", "asya-runtime", "--from-file=asya_runtime.py=%s" % chosen,
                            "--dry-run=client", "--save-config", "--output=json"], capture_output=True, check=True)
    document = json.loads(ended.stdout)
    kept = document["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    digest = hashlib.sha256(json.loads(kept)["data"]["asya_runtime.py"].encode()).hexdigest()
    assert digest == hashlib.sha256(chosen.read_bytes()).hexdigest()
    assert sum(len(key) + len(value.encode()) for key, value in document["metadata"]["annotations"].items()) < ANNOTATION_LIMIT
