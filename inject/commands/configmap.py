"""`configmap`: prints this file as a Kubernetes ConfigMap, whole or for one kind of processor."""
import os
import re

from . import EXTENSION, FAILED, START, Refusal, say

# `kubectl apply` keeps a copy of the object in an annotation, and Kubernetes limits the size of all annotations to this. A
# quotation mark or backslash of the file takes two bytes in it.
ANNOTATION, RESERVE = 262144, 6144
LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"  # RFC 1123; a subdomain is labels separated by dots
TAKES = {"--name": r"(?=.{1,253}\Z)%s([.]%s)*\Z" % (LABEL, LABEL), "--namespace": r"(?=.{1,63}\Z)%s\Z" % LABEL,
         "--machine": r"(x86_64|aarch64|all)\Z"}
USAGE = "usage: asya_runtime.py configmap [--name NAME] [--namespace NAMESPACE] [--machine x86_64|aarch64|all]"


def options_of(arguments):
    chosen, left = {"--name": "asya-runtime"}, list(arguments)
    while left:
        words, left = left[:2], left[2:]
        if len(words) < 2 or words[0] not in TAKES or not re.match(TAKES[words[0]], words[1]):
            raise Refusal("bad argument %s; %s" % (" ".join(map(ascii, words)), USAGE))
        chosen[words[0]] = words[1]
    return chosen


def own_text():
    """The single file, if it is as it was built."""
    path, text = START[-1], ""
    if len(START) == 2:  # and not -m, as from the wheel
        with open(path, "rb") as file:
            text = file.read().decode("latin-1")
    begin = '#!/usr/bin/env python3\n"""Asya runtime %s:' % EXTENSION.__version__
    if not text.startswith(begin) or not re.match(r"[ -~\n]*[ -~]\n\Z", text):
        raise Refusal("'%s' is not the single file asya_runtime.py as it was built; run that one" % path, FAILED)
    return text


def choose(text, machine):
    """Without what was not asked for. By default all stays if kubectl can keep a copy of that, otherwise only this machine's
    image. With one image the commands of a desk go, too: a pod has no use for them, and kubectl's copy no room."""
    head, mark, rest = text.partition("\n_IMAGES = {\n")
    *images, tail = rest.split('\n"""),\n')
    fits = len(text) + RESERVE <= ANNOTATION
    if machine is None and not fits and len(images) > 1:
        machine = os.uname().machine
        say("asya_runtime configmap: with the image for %s alone, so that `kubectl apply` can keep a copy; for a cluster with both "
            "kinds of processors: --machine all, and `kubectl apply --server-side`" % machine)
    elif machine == "all" and not fits:
        say("asya_runtime configmap: too large for the copy that `kubectl apply` keeps: use `kubectl apply --server-side`")
    if machine == "all" or machine is None and fits:
        return text
    kept = [image + '\n"""),\n' for image in images if machine is None or image.startswith('    "%s"' % machine)]
    if not kept:
        raise Refusal("this file has no image for %s" % machine, FAILED)
    lines = [line for line in tail.split("\n") if not line.startswith('#"')]
    return head + mark + "".join(kept) + "\n".join(lines)


def run(arguments):
    options = options_of(arguments)
    text = choose(own_text(), options.get("--machine"))
    space = '  namespace: "%s"\n' % options["--namespace"] if "--namespace" in options else ""
    out = memoryview(
        ('apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: "%s"\n%s  labels:\n    app.kubernetes.io/name: asya-runtime\n'
         '    app.kubernetes.io/version: "%s"\ndata:\n  asya_runtime.py: |\n%s'
         % (options["--name"], space, EXTENSION.__version__, re.sub("(?m)^(?=.)", "    ", text))).encode())
    while out:
        out = out[os.write(1, out):]
