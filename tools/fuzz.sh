#!/usr/bin/env bash
# Runs every fuzz target for $1 seconds (default 60) with AddressSanitizer and UndefinedBehaviorSanitizer, one line each;
# with further arguments, these targets alone. Seeds are fuzz/corpus/NAME, where inputs that once crashed are kept, and
# the shared conformance files where they are there. What a run finds stays in build/fuzz: corpus/NAME for the next run,
# crashes/NAME-* for whoever mends it.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
build=$PWD/build/fuzz
conformance=../shared/conformance/jsontestsuite

CC=clang tools/build.sh build/fuzz -Dfuzz=true -Dfreestanding=false

fuzz_one() {
    local target=$1
    local name=${target##*/fuzz_}
    local corpus=$build/corpus/$name
    local log=$build/$name.log
    local seeds=()
    local options=(-max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1
                   -artifact_prefix="$build/crashes/$name-")
    mkdir -p "$corpus" "$build/crashes"
    [ -d "fuzz/corpus/$name" ] && seeds+=("fuzz/corpus/$name")
    case $name in
    json_* | codec_* | wire_*)
        [ -d "$conformance" ] && seeds+=("$conformance")
        options+=(-dict=fuzz/json.dict)
        ;;
    esac
    case $name in
    codec_*) # an interpreter leaves memory behind; tests/codec looks for ours
        options+=(-detect_leaks=0)
        export ASAN_OPTIONS=detect_leaks=0
        ;;
    esac
    [ -f "fuzz/$name.dict" ] && options+=(-dict="fuzz/$name.dict")
    if ! "$target" "${options[@]}" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
        tail -40 "$log"
        echo "$name: FAILED, see build/fuzz/$name.log and build/fuzz/crashes"
        return 1
    fi
    local runs features
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    features=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -1)
    echo "$name: $runs runs in $seconds s, $features, $(find "$corpus" -type f | wc -l) inputs kept"
}
export -f fuzz_one
export seconds build conformance

if [ $# -gt 0 ]; then
    targets=("${@/#/$build/fuzz/fuzz_}")
else
    mapfile -t targets < <(find "$build/fuzz" -maxdepth 1 -type f -name 'fuzz_*' -executable | sort)
fi
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euc 'fuzz_one {}'
