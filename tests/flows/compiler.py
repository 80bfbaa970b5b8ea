"""Asya's flow compiler, run as its users run it: `asya init`, `asya compile`. What it makes is read from its manifests.

The compiled routers are not ours, so they are made anew in a folder of the test and never kept."""
import pathlib
import shutil
import subprocess
import sys

import yaml

PROJECT = pathlib.Path(__file__).parent / "project"
ASYA = [sys.executable, "-W", "ignore", "-c", "from asya_lab.cli import main; main()"]


class Actor:
    """What a manifest says of one actor."""

    def __init__(self, name, handler, env=None, resiliency=None):
        self.name, self.handler, self.env = name, handler, env or {}
        self._resiliency = resiliency or {}

    @classmethod
    def read(cls, manifest):
        spec = manifest["spec"]
        env = {entry["name"]: entry["value"] for entry in spec.get("env", ())}
        return cls(spec["actor"], spec["handler"], env, spec.get("resiliency"))

    def after(self, details):
        """The actors that take a message over after this error; None where no rule is about it."""
        names = {details["type"], *details["mro"]}
        policies = self._resiliency.get("policies", {})
        for rule in self._resiliency.get("rules", ()):
            if names & set(rule["errors"]):
                return policies[rule["policy"]]["thenRoute"]
        return policies.get("default", {}).get("thenRoute")


class Compiled:
    """A compiled flow: the folder with its routers.py, and its actors by the names that routes use."""

    def __init__(self, code, actors):
        self.code = code
        self.actors = {actor.name.lower(): actor for actor in actors}  # resolve() says them in small letters


class Project:
    """A copy of the flows in tests/flows/project, and what was compiled from them."""

    def __init__(self, folder):
        self.folder = folder / "project"
        shutil.copytree(PROJECT, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._asya("init")
        with open(self.folder / ".asya" / "config.yaml", "a", encoding="utf-8") as file:
            file.write('build:\n- {module: "*", image: "registry/*"}\n')
        self._compiled = {}

    def _asya(self, *words):
        ended = subprocess.run([*ASYA, *words], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, "asya %s: %s" % (" ".join(words), ended.stdout + ended.stderr)

    def compiled(self, name):
        """The flow in NAME.py, compiled once."""
        if name not in self._compiled:
            self._asya("compile", name, "-f", name + ".py")
            base = self.folder / "compiled" / name / "manifests" / "base"
            manifests = [yaml.safe_load(path.read_text()) for path in sorted(base.glob("asya-*.yaml"))]
            self._compiled[name] = Compiled(self.folder / "compiled" / name / "code", map(Actor.read, manifests))
        return self._compiled[name]
