"""Hatchling's hook: compiles the image, and names the wheel for what it runs on.

The image links against nothing and needs the stable ABI of CPython 3.7, so one wheel a processor serves every CPython from
3.7, glibc (2.17 is the oldest whose names tools/image_symbols.txt allows) and musl. ASYA_WHEEL_MACHINE names a processor
other than this one, for which it is cross-built.
"""
import os
import shutil
import subprocess
import sys

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TAG = "cp37-abi3-manylinux_2_17_{0}.manylinux2014_{0}.musllinux_1_1_{0}"
HAS_HEADERS = "import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path('include') + '/Python.h'))"


def python_with_headers():
    """An interpreter that has its headers: Debian's, as for the single file, else the one that runs this."""
    for python in ("/usr/bin/python3", sys.executable):
        if os.path.exists(python) and subprocess.run([python, "-c", HAS_HEADERS], check=False).returncode == 0:
            return python
    raise SystemExit("needs the headers of CPython: install python3-dev")


class ImageHook(BuildHookInterface):
    """Adds asya_runtime/_asya.abi3.so to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version, build_data):
        machine = os.environ.get("ASYA_WHEEL_MACHINE") or os.uname().machine
        folder = os.path.join(self.root, "build", "wheel-" + machine)
        shutil.rmtree(folder, ignore_errors=True)  # the Meson of an earlier build may have been another version
        command = [os.path.join(self.root, "tools", "build.sh"), folder, "-Dbuild_python=" + python_with_headers()]
        if machine != os.uname().machine:
            command += ["--cross-file", os.path.join(self.root, "cross", machine + ".ini")]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit("the image does not compile, see above")
        build_data["force_include"][os.path.join(folder, "src", "_asya.abi3.so")] = "asya_runtime/_asya.abi3.so"
        build_data["pure_python"] = False
        build_data["tag"] = TAG.format(machine)
