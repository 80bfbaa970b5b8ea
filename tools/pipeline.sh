#!/usr/bin/env bash
# Runs examples/pipeline/demo.py with Debian's RabbitMQ, and pika in an environment of its own (build/pipeline), which is kept.
set -eu
cd "$(dirname "$0")/.."
folder=build/pipeline
tools/setup.sh pipeline
if ! $folder/bin/python -c "import pika" 2>/dev/null; then
    /usr/bin/python3 -m venv $folder
    $folder/bin/python -m pip install -q --disable-pip-version-check 'pika>=1.3,<2'
fi
exec $folder/bin/python examples/pipeline/demo.py "$@"
