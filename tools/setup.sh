#!/usr/bin/env bash
# Installs what building ("build") or testing ("test") needs, if it is missing: Debian packages by apt, Python packages
# by pip into .venv. Says what to install where there is no apt or no permission.
set -eu
cd "$(dirname "$0")/.."

need_packages() {
    local missing=()
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local root=()
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: install these packages first: ${missing[*]}" >&2
            exit 1
        fi
        root=(sudo)
    fi
    echo "setup: installing ${missing[*]}"
    "${root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

need_commands() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || { echo "setup: '$command' is missing, and there is no apt to install it" >&2; exit 1; }
    done
}

case $(uname -m) in # the compiler for the other processor
aarch64) cross_packages=(gcc-x86-64-linux-gnu libc6-dev-amd64-cross) cross_gcc=x86_64-linux-gnu-gcc ;;
*) cross_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) cross_gcc=aarch64-linux-gnu-gcc ;;
esac
build_packages=(gcc libc6-dev binutils meson ninja-build libzopfli1 python3 python3-dev "${cross_packages[@]}")
test_packages=(clang clang-tidy clang-format cppcheck libclang-rt-14-dev libcmocka-dev pkg-config python3-venv valgrind
               strace git util-linux socat netcat-openbsd curl libseccomp2 nodejs qemu-user-static)

case "${1:-build}" in
build)
    if command -v dpkg-query >/dev/null; then need_packages "${build_packages[@]}"; else need_commands gcc $cross_gcc meson ninja readelf python3; fi
    ;;
test)
    if command -v dpkg-query >/dev/null; then need_packages "${test_packages[@]}"; else need_commands clang clang-tidy cppcheck; fi
    stamp=.venv/requirements.stamp
    if ! cmp -s tests/requirements.txt "$stamp"; then
        [ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv
        .venv/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
        cp tests/requirements.txt "$stamp"
    fi
    ;;
*)
    echo "usage: setup.sh build|test" >&2
    exit 2
    ;;
esac
