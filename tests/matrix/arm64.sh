#!/usr/bin/env bash
# Fetches Debian's CPython for arm64, once: tests/matrix/arm64.sh FOLDER; FOLDER/python3 runs it under qemu-user.
#
# Needs apt and qemu-aarch64-static (package qemu-user-static). Nothing is installed: the packages are unpacked in FOLDER,
# from a package list of their own.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ -x "$folder/python3" ] && exit 0
work=$folder/work
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$folder/root"

apt() {
    apt-get -qq -o Dir::State="$work/state" -o Dir::Cache="$work/cache" -o Dir::State::status=/dev/null \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)" "$@"
}

apt update
cd "$work"
version=$(apt-cache -o Dir::State="$work/state" -o Dir::Cache="$work/cache" -o Dir::State::status=/dev/null \
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 depends python3-minimal | sed -n 's/.*Depends: python\(3\.[0-9]*\)-minimal/\1/p')
apt download "python$version-minimal" "libpython$version-minimal" "libpython$version-stdlib" \
    libc6 libgcc-s1 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libuuid1
for package in *.deb; do dpkg -x "$package" "$folder/root"; done
cat >"$work/python3" <<EOF
#!/bin/sh
exec qemu-aarch64-static -L "$folder/root" "$folder/root/usr/bin/python$version" "\$@"
EOF
chmod +x "$work/python3"
"$work/python3" -c "import zlib, binascii, ctypes, os; assert os.uname().machine == 'aarch64'"
mv "$work/python3" "$folder/python3"
rm -rf "$work"
