#!/usr/bin/env bash
# Runs the tests: all of them, or `unit` (C, with sanitizers) or `pytest` (socket, codec, faults, single file) alone, or
# `wheel`, which is not among all. Skips are listed at the end; with CI=true one that tests/expected_skips.txt does not
# name is a failure (tests/conftest.py).
set -eu
cd "$(dirname "$0")/.."
what=${1:-all}
python=$PWD/.venv/bin/python
sanitizers="address,undefined"

sanitized() {
    tools/build.sh build/sanitize -Dfreestanding=false -Db_sanitize=$sanitizers -Doptimization=1 -Ddebug=true
}

unit() {
    sanitized
    echo "== C unit tests, AddressSanitizer and UndefinedBehaviorSanitizer"
    # Half of them wait rather than compute, so two a processor.
    meson test -C build/sanitize --print-errorlogs --no-rebuild --num-processes $((2 * $(nproc)))
}

codec_sanitized() {
    sanitized
    echo "== codec tests against the sanitized extension"
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
        ASYA_EXTENSION=$PWD/build/sanitize/src/_asya.abi3.so PYTHONPATH=tests/sanitize \
        "$python" -m pytest -q -p no:cacheprovider tests/codec
}

pytest_all() {
    echo "== pytest against dist/asya_runtime.py"
    PYTHONPATH=dist "$python" -m pytest -q -p no:cacheprovider -rs tests
}

wheel() {
    echo "== the wheels in dist: in venvs, a prefix of its own, uv, types"
    local stamp=.venv/requirements-wheel.stamp
    if ! cmp -s tests/requirements-wheel.txt $stamp; then
        "$python" -m pip install -q --disable-pip-version-check -r tests/requirements-wheel.txt
        cp tests/requirements-wheel.txt $stamp
    fi
    ASYA_TEST_WHEELS=dist "$python" -m pytest -q -p no:cacheprovider -rs tests/wheel
}

case $what in
unit) unit ;;
wheel) wheel ;;
pytest) pytest_all ;;
all)
    tools/lint.sh
    unit
    codec_sanitized
    pytest_all
    ;;
*)
    echo "usage: test.sh [unit|pytest|wheel]" >&2
    exit 2
    ;;
esac
