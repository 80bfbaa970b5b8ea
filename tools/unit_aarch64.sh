#!/usr/bin/env bash
# Builds the unit tests of the JSON library for aarch64 and runs them under qemu-user: the NEON code on a machine without
# NEON. Wants the packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static; cmocka for aarch64 is
# fetched by apt into build/aarch64, beside what is installed. Arguments are the tests to run (default: all of json_*).
set -eu
cd "$(dirname "$0")/.."
build=$PWD/build/aarch64
root=$build/root
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)

for command in aarch64-linux-gnu-gcc apt-get dpkg; do
    command -v $command >/dev/null || { echo "unit_aarch64: '$command' is missing" >&2; exit 1; }
done
[ -n "$qemu" ] || { echo "unit_aarch64: no qemu-aarch64: apt-get install qemu-user-static" >&2; exit 1; }

fetch_cmocka() {
    local state=$build/apt
    mkdir -p "$root" "$state/lists/partial" "$state/cache/archives/partial"
    : >"$state/status"
    local options=(-q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root -o Dir::State="$state"
                   -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache")
    apt-get "${options[@]}" update >"$state/log" 2>&1
    (cd "$state" && apt-get "${options[@]}" download libcmocka0 libcmocka-dev >>"$state/log" 2>&1)
    for package in "$state"/*.deb; do
        dpkg -x "$package" "$root"
    done
}

[ -f "$root/usr/include/cmocka.h" ] || fetch_cmocka
cat >"$build/emulated.ini" <<EOF
[binaries]
exe_wrapper = ['$qemu', '-L', '/usr/aarch64-linux-gnu', '-E', 'LD_LIBRARY_PATH=$root/usr/lib/aarch64-linux-gnu']
pkgconfig = 'pkg-config'
[properties]
sys_root = '$root'
pkg_config_libdir = '$root/usr/lib/aarch64-linux-gnu/pkgconfig'
EOF
if [ ! -f "$build/tree/build.ninja" ]; then
    meson setup "$build/tree" --cross-file cross/aarch64.ini --cross-file "$build/emulated.ini" -Dfreestanding=false >"$build/log" 2>&1 ||
        { cat "$build/log" >&2; exit 1; }
fi
if [ $# -eq 0 ]; then
    mapfile -t names < <(meson test -C "$build/tree" --list 2>/dev/null | sed -n 's/.*\b\(json_[a-z0-9_]*\)$/\1/p')
    set -- "${names[@]}"
fi
ninja -C "$build/tree" "${@/#/tests/unit/test_}" >"$build/log" 2>&1 || { cat "$build/log" >&2; exit 1; }
meson test -C "$build/tree" --no-rebuild --print-errorlogs --timeout-multiplier 10 "$@"
