#!/usr/bin/env bash
# Installs what building ("build"), testing ("test") or the demo with a broker ("pipeline") needs and does not find: packages
# of Debian or Ubuntu by apt, Python packages by pip into .venv. Says each step before it does it. Where there is no apt or no
# permission, says what is missing.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs a command in silence: `step WHAT COMMAND...`. What it prints is shown if it fails.
step() {
    local what=$1 begin=$SECONDS
    shift
    echo "setup: $what ..."
    "$@" >"$log" 2>&1 || { cat "$log" >&2; echo "setup: failed: $*" >&2; exit 1; }
    [ $((SECONDS - begin)) -lt 2 ] || echo "setup: ... took $((SECONDS - begin)) s"
}

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
is_known() { LC_ALL=C apt-cache policy "$1" | grep -q 'Candidate: [^(]'; }

# `need_packages PURPOSE PACKAGE...`. A package that the distribution does not have is left out where a test can do without.
need_packages() {
    local purpose=$1 package missing=() wanted=() root=()
    shift
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "setup: all packages for $purpose are there"
        return
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: for $purpose, install these packages first: ${missing[*]}" >&2
            exit 1
        fi
        root=(sudo)
    fi
    step "reading the lists of packages (apt-get update)" "${root[@]}" apt-get update
    for package in "${missing[@]}"; do
        if is_known "$package"; then
            wanted+=("$package")
        elif [ "$purpose" = building ]; then
            echo "setup: building needs $package, which this distribution does not have" >&2
            exit 1
        else
            echo "setup: this distribution has no $package; tests that use it are left out"
        fi
    done
    [ ${#wanted[@]} -eq 0 ] || step "installing for $purpose, which may take minutes: ${wanted[*]}" \
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${wanted[@]}"
}

need_commands() {
    local purpose=$1 command
    shift
    for command in "$@"; do
        command -v "$command" >/dev/null || { echo "setup: $purpose needs '$command', and there is no apt to install it" >&2; exit 1; }
    done
    echo "setup: all commands for $purpose are there"
}

# The sanitizers' and libFuzzer's libraries are a package of clang's version, or come with clang.
need_clang_runtime() {
    local version
    compgen -G "$(clang -print-resource-dir)/lib/*/libclang_rt.fuzzer*" >/dev/null && return
    version=$(clang -dumpversion)
    need_packages "fuzzing with clang" "libclang-rt-${version%%.*}-dev"
}

need_python_packages() {
    local stamp=.venv/requirements.stamp
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then # none yet, or one that uv made
        step "making the virtual environment .venv with the system's Python" /usr/bin/python3 -m venv --clear .venv
    fi
    if cmp -s tests/requirements.txt $stamp; then
        echo "setup: all Python packages of tests/requirements.txt are in .venv"
        return
    fi
    step "installing the Python packages of tests/requirements.txt into .venv" \
        .venv/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
    cp tests/requirements.txt $stamp
}

case $(uname -m) in # the compiler for the other processor
aarch64) cross_packages=(gcc-x86-64-linux-gnu libc6-dev-amd64-cross) cross_gcc=x86_64-linux-gnu-gcc ;;
*) cross_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) cross_gcc=aarch64-linux-gnu-gcc ;;
esac
build_packages=(gcc libc6-dev binutils meson ninja-build libzopfli1 python3 python3-dev "${cross_packages[@]}")
test_packages=(clang clang-tidy cppcheck libcmocka-dev pkg-config python3-venv valgrind strace git util-linux socat
               netcat-openbsd curl libseccomp2 nodejs qemu-user-static)

case "${1:-build}" in
build)
    if command -v dpkg-query >/dev/null; then
        need_packages building "${build_packages[@]}"
    else
        need_commands building gcc $cross_gcc meson ninja readelf python3
    fi
    ;;
test)
    if command -v dpkg-query >/dev/null; then
        need_packages testing "${test_packages[@]}"
        need_clang_runtime
    else
        need_commands testing clang clang-tidy cppcheck
    fi
    need_python_packages
    ;;
pipeline)
    if command -v dpkg-query >/dev/null; then
        need_packages "the pipeline" rabbitmq-server python3-venv
    else
        need_commands "the pipeline" rabbitmqctl
    fi
    ;;
*)
    echo "usage: setup.sh build|test|pipeline" >&2
    exit 2
    ;;
esac
