#!/usr/bin/env bash
# Runs C unit tests of server/ and supervisor/ under memcheck. Left out are those that make an fdholder, since valgrind knows no
# clone() that shares descriptors alone, and those that lower the limit of descriptors, of which it keeps some for itself.
set -eu
cd "$(dirname "$0")/.."
tests=(server_conn server_control server_peek server_listener server_outlet server_fdstore
    supervisor_cause supervisor_cgroup supervisor_readyfile supervisor_recover supervisor_deadline)
[ -f build/valgrind/build.ninja ] ||
    meson setup build/valgrind -Dfreestanding=false -Doptimization=1 -Ddebug=true >/dev/null
for name in "${tests[@]}"; do
    ninja -C build/valgrind "tests/unit/test_$name" >/dev/null
    valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --trace-children=no \
        "build/valgrind/tests/unit/test_$name" >build/valgrind/log 2>&1 || { cat build/valgrind/log >&2; exit 1; }
    echo "valgrind: $name clean"
done
