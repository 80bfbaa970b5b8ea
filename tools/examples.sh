#!/usr/bin/env bash
# Runs the examples with real models through the socket, in an environment of their own (build/examples), which is kept.
set -eu
cd "$(dirname "$0")/.."
folder=build/examples
wanted=examples/handlers/requirements.txt
if ! cmp -s $wanted $folder/requirements.stamp; then
    [ -x $folder/bin/python ] || /usr/bin/python3 -m venv $folder
    $folder/bin/python -m pip install -q --disable-pip-version-check -r $wanted
    cp $wanted $folder/requirements.stamp
fi
ASYA_TEST_PYTHON=$PWD/$folder/bin/python PYTHONPATH=dist .venv/bin/python -m pytest -q -p no:cacheprovider -rs -m examples tests/examples
