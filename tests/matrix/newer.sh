#!/usr/bin/env bash
# Fetches a CPython that this Debian does not have yet, once: tests/matrix/newer.sh FOLDER 3.14; FOLDER/bin/python3 is the result.
#
# Takes the packages of Debian's unstable suite, with a package list of its own. Nothing is installed: they are unpacked in
# FOLDER, with the C library they were built for. The libraries that tests ask for are put beside them, from wheels for this
# version. Needs apt, gcc and the .venv of the repository.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
version=$2
venv=$(cd "$(dirname "$0")/../.." && pwd)/.venv
[ -x "$folder/bin/python3" ] && exit 0
work=$folder/work
root=$folder/root
mkdir -p "$root" "$folder/bin"
. "$(dirname "$0")/unstable.sh"
unstable_apt "$work"
apt update
cd "$work"
apt download "python$version-minimal" "libpython$version" "libpython$version-minimal" "libpython$version-stdlib" libc6 libgcc-s1 \
    libstdc++6 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libuuid1 libzstd1 libssl3t64 libsqlite3-0
for package in *.deb; do dpkg -x "$package" "$root"; done

# The program itself is made anew, since its ELF header names the C library's loader: all of Python is in the shared library.
python=$root/usr/bin/python$version
libraries=$root/usr/lib/$(uname -m)-linux-gnu
echo 'int Py_BytesMain(int argc, char **argv); int main(int argc, char **argv) { return Py_BytesMain(argc, argv); }' >main.c
gcc -o "$python" main.c "$libraries/libpython$version.so.1.0" -Wl,--allow-shlib-undefined,--disable-new-dtags,-rpath="$libraries" \
    -Wl,--dynamic-linker="$(echo "$libraries"/ld-linux-*.so.?)"
"$python" -c "import zlib, binascii, ctypes, ssl, sqlite3, lzma, uuid"
"$python" -m compileall -qq "$root/usr/lib/python$version" || : # a package's installation does it; a few files are no Python
"$venv/bin/python" -m pip download -q --disable-pip-version-check --no-deps -d . pip # to be run by the new one
"$python" "$(echo pip-*.whl)/pip" install -q --disable-pip-version-check --root-user-action=ignore --no-compile --only-binary=:all: \
    --target "$root/usr/lib/python3/dist-packages" pydantic==2.14.4 msgspec==0.23.0 numpy==2.5.5 uvloop==0.23.0 \
    opentelemetry-sdk==1.45.2 sentry-sdk==2.75.0 pytest==9.0.2 pytest-timeout==2.4.0 hypothesis==6.115.5
cd / && rm -rf "$work"
ln -s "../root/usr/bin/python$version" "$folder/bin/python3"
