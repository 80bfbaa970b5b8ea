#!/usr/bin/env bash
# Fetches the debug build of this Debian's CPython, once: tests/matrix/debug.sh FOLDER; FOLDER/bin/python3 is the result.
#
# The runtime must refuse it. Nothing is installed: the program is taken out of its package, and uses the system's library.
set -eu
mkdir -p "$1/bin" "$1/work"
folder=$(cd "$1" && pwd)
[ -x "$folder/bin/python3" ] && exit 0
version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
cd "$folder/work"
apt-get -qq -o APT::Sandbox::User=root download "python$version-dbg"
dpkg -x "python$version-dbg"_*.deb root
"root/usr/bin/python${version}d" -S -c 'import sys; sys.gettotalrefcount()'
mv "root/usr/bin/python${version}d" "$folder/bin/"
cd / && rm -rf "$folder/work"
ln -s "python${version}d" "$folder/bin/python3"
