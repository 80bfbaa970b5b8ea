#!/usr/bin/env bash
# Builds and tests a fresh clone of HEAD in root file systems of other distributions: tools/roots.sh SUITE...
#
# SUITE is Debian's name of a release (bookworm, trixie). A root is made by debootstrap below $ASYA_ROOTS (build/roots) and
# kept for the next run, what is installed in it too. In it run, as root under chroot, with processes and mounts that vanish
# with the run, the commands of $ASYA_ROOTS_RUN. Logs are SUITE.log beside the roots. $ASYA_ROOTS_MIRROR is where the packages
# come from. Wants debootstrap, root, and some 3 GB for each.
set -eu
cd "$(dirname "$0")/.."
roots=$(realpath -m "${ASYA_ROOTS:-build/roots}")
mirror=${ASYA_ROOTS_MIRROR:-http://deb.debian.org/debian}
commands=${ASYA_ROOTS_RUN:-make && make demo && make setup-test && .venv/bin/python -m pytest -q tests/socket tests/inject tests/codec tests/cli}
shared=$(realpath -m ../shared)
[ $# -gt 0 ] || set -- bookworm trixie
command -v debootstrap >/dev/null || { echo "roots: debootstrap is not installed" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "roots: chroot needs root" >&2; exit 1; }
mkdir -p "$roots"

make_root() {
    local root=$1 suite=$2
    [ -e "$root/.complete" ] && return
    rm -rf --one-file-system "$root"
    echo "roots: $suite: making the root with debootstrap, some minutes"
    debootstrap --variant=minbase --include=ca-certificates,make,git "$suite" "$root" "$mirror" >"$root.log" 2>&1 ||
        { tail -5 "$root.log" >&2; return 1; }
    touch "$root/.complete"
}

# The clone lies as a person would have it, beside the shared files if this one does.
lay_sources() {
    local root=$1
    rm -rf "$root/src/asya"
    git -c advice.detachedHead=false clone -q --no-hardlinks . "$root/src/asya"
    [ ! -d "$shared" ] || { rm -rf "$root/src/shared" && cp -r "$shared" "$root/src/shared"; }
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt" # whom this machine trusts
}

run_in() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --propagation private --pid --fork --kill-child bash -euc '
        mount --bind "$1" "$1" # unshare --mount-proc, which tests use, wants a root that is a mount
        mount -t proc none "$1/proc"
        for folder in sys dev; do mount --rbind "/$folder" "$1/$folder"; done
        mount -t tmpfs none "$1/tmp"
        exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            PIP_CERT=/etc/ssl/certs/ca-certificates.crt chroot "$1" bash -euc "cd /src/asya; $2"' - "$1" "$2"
}

failed=0
for suite in "$@"; do
    root=$roots/$suite begin=$SECONDS
    if make_root "$root" "$suite" && lay_sources "$root" && run_in "$root" "$commands" >"$root.log" 2>&1; then
        result=passed
    else
        result=FAILED failed=1
    fi
    what=$(. "$root/etc/os-release" 2>/dev/null && echo "$PRETTY_NAME" || echo "$suite")
    echo "roots: $what: $result, $((SECONDS - begin)) s: $(tail -1 "$root.log")"
done
exit $failed
