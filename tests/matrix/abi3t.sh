#!/usr/bin/env bash
# Compiles the image for the stable ABI that ordinary and free-threaded builds share from CPython 3.15 on (abi3t, PEP 803):
# tests/matrix/abi3t.sh FOLDER; FOLDER/asya_runtime.py is a single file with it, for this processor.
#
# Takes the headers of Debian's unstable suite, once, with a package list of its own. No such file is shipped, and no
# free-threaded CPython could be had to load it: this keeps the sources fit for it, on an ordinary CPython 3.15.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
headers=$folder/headers/usr/include
if [ ! -d "$headers" ]; then
    work=$folder/work
    . tests/matrix/unstable.sh
    unstable_apt "$work"
    apt update
    (cd "$work" && apt download libpython3.15-dev)
    dpkg --fsys-tarfile "$work"/*.deb | tar -x -C "$work" ./usr/include
    mkdir -p "$folder/headers"
    mv "$work/usr" "$folder/headers/usr"
    rm -rf "$work"
fi
build=$folder/build
[ -f "$build/build.ninja" ] || CFLAGS="-isystem $headers/python3.15 -isystem $headers" meson setup "$build" -Dabi3t=true >/dev/null
ninja --quiet -C "$build" asya_runtime.py >/dev/null
cp "$build/asya_runtime.py" "$folder/"
