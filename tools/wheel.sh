#!/usr/bin/env bash
# Builds a wheel for each processor: tools/wheel.sh OUTPUT MACHINE...
set -eu
cd "$(dirname "$0")/.."
output=$1
shift
mkdir -p "$output"
rm -f "$output"/asya_runtime-*.whl
for machine in "$@"; do
    ASYA_WHEEL_MACHINE=$machine .venv/bin/python -m pip wheel -q --disable-pip-version-check --no-deps -w "$output" .
done
ls "$output"/*.whl
