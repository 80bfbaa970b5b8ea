#!/usr/bin/env bash
# Runs the C unit tests that have threads under ThreadSanitizer: a server in a thread of its own, clients and a supervisor
# beside it. gcc's knows no atomic_thread_fence(); those of the scoreboard are for other processes, which it does not see.
set -eu
cd "$(dirname "$0")/.."
tests=(base_backlog server_conn server_exchange server_http server_outlet server_server)
tools/build.sh build/tsan -Dfreestanding=false -Db_sanitize=thread -Doptimization=1 -Ddebug=true -Dc_args=-Wno-tsan
ninja -C build/tsan "${tests[@]/#/tests/unit/test_}" >build/tsan/log || { cat build/tsan/log >&2; exit 1; }
for name in "${tests[@]}"; do
    TSAN_OPTIONS=exitcode=66 "build/tsan/tests/unit/test_$name" >build/tsan/log 2>&1 || { cat build/tsan/log >&2; exit 1; }
    echo "tsan: $name clean"
done
