#!/usr/bin/env bash
# Runs the tests: all of them, or `unit` (C, with sanitizers) or `pytest` (socket, codec, faults, single file) alone, or
# `wheel`, which is not among all. Ends with one line for each part, one for each tool that is missing here, and the totals.
# With CI=true a skip that tests/expected_skips.txt does not name is a failure (tests/conftest.py).
set -eu
cd "$(dirname "$0")/.."
what=${1:-all}
python=$PWD/.venv/bin/python
log=$(mktemp)
trap 'rm -f "$log"' EXIT
summary=() left_out=()
passed=0 failed=0 skipped=0

sanitized() {
    echo "== building with AddressSanitizer and UndefinedBehaviorSanitizer"
    tools/build.sh build/sanitize -Dfreestanding=false -Db_sanitize=address,undefined -Doptimization=1 -Ddebug=true
}

unit() {
    sanitized
    echo "== C unit tests, sanitized"
    if ! ls build/sanitize/tests/unit/test_* >/dev/null 2>&1; then
        echo "left out: the C unit tests: cmocka is not installed"
        [ "${CI:-}" != true ]
        return
    fi
    # Half of them wait rather than compute, so two a processor.
    meson test -C build/sanitize --print-errorlogs --no-rebuild --num-processes $((2 * $(nproc)))
}

codec_sanitized() {
    sanitized
    echo "== codec tests against the sanitized extension"
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
        ASYA_EXTENSION=$PWD/build/sanitize/src/_asya.abi3.so PYTHONPATH=tests/sanitize \
        "$python" -m pytest -q -p no:cacheprovider -n "$(nproc)" tests/codec
}

pytest_all() {
    echo "== pytest against dist/asya_runtime.py"
    # Most of them wait rather than compute, so two a processor; each file's in one process.
    "$python" -m pytest -q -p no:cacheprovider -rs -n $((2 * $(nproc))) --dist loadfile tests
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

# What the runner's closing lines in $log say, Meson's or pytest's, as words of "N passed", "N failed", "N skipped".
closing() {
    sed -nE 's/^Ok: +([0-9]+).*/\1 passed/p; s/^(Fail|Timeout): +([1-9][0-9]*).*/\2 failed/p
             s/^Skipped: +([1-9][0-9]*).*/\1 skipped/p' "$log"
    tail -1 "$log" | grep -E ' in [0-9.]+s' | grep -oE '[0-9]+ (passed|failed|errors?|skipped)' | sed -E 's/errors?/failed/' || true
}

# Runs one part, `part NAME FUNCTION`, and notes how it ended. The first that fails is the last.
part() {
    local name=$1 begin=$SECONDS code words
    set +e
    (set -e; "$2") 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    set -e
    words=$(closing)
    while read -r number word; do
        case $word in
        passed) passed=$((passed + number)) ;;
        failed) failed=$((failed + number)) ;;
        skipped) skipped=$((skipped + number)) ;;
        esac
    done <<<"$words"
    mapfile -t -O ${#left_out[@]} left_out < <(grep '^left out: ' "$log")
    [ -n "$words" ] || words=$([ "$code" = 0 ] && echo clean || echo failed)
    summary+=("$(printf '%-18s %-40s %4d s' "$name" "$(paste -sd, <<<"$words" | sed 's/,/, /g')" $((SECONDS - begin)))")
    [ "$code" = 0 ] || finish "$code"
}

# The last line is one that a reader of logs looks for.
finish() {
    printf '%s\n' "== summary" "${summary[@]}" "${left_out[@]}" "$passed passed, $failed failed, $skipped skipped"
    exit "$1"
}

case $what in
unit) part "C unit tests" unit ;;
wheel) part "wheels" wheel ;;
pytest) part "pytest" pytest_all ;;
all)
    part "lint" tools/lint.sh
    part "C unit tests" unit
    part "codec, sanitized" codec_sanitized
    part "pytest" pytest_all
    ;;
*)
    echo "usage: test.sh [unit|pytest|wheel]" >&2
    exit 2
    ;;
esac
finish 0
