#!/usr/bin/env bash
# Builds a CPython against musl from Debian's sources, once: tests/matrix/musl.sh FOLDER; FOLDER/bin/python3 is the result.
#
# Takes musl-gcc (package musl-tools), and zlib, libffi and python3.11 from `apt-get source` with a package list of its own.
# Some minutes. Left out are the modules that want further libraries (ssl, sqlite3 ...).
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ -x "$folder/bin/python3" ] && exit 0
work=$folder/work
mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/lists" "$work/bin"

apt() {
    apt-get -qq -o Dir::State="$work/apt/state" -o Dir::Cache="$work/apt/cache" -o Dir::Etc::sourceparts="$work/apt/lists" \
        -o Dir::Etc::sourcelist=/dev/null -o Dir::State::status=/dev/null -o APT::Sandbox::User=root "$@"
}

sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$work/apt/lists/debian.sources" 2>/dev/null ||
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/apt/lists/debian.list"
apt update
cd "$work"
apt source --download-only --tar-only zlib libffi python3.11
for archive in zlib_*.orig.tar.* libffi_*.orig.tar.* python3.11_*.orig.tar.*; do tar xf "$archive"; done

# CPython's configure asks for Debian's folders, whose headers and libraries are glibc's.
cat >"$work/bin/cc" <<'EOF'
#!/usr/bin/env bash
kept=()
for word in "$@"; do
    case $word in
    --print-multiarch) exit 0 ;;
    -I/usr/include/* | -L/usr/lib/*) ;;
    *) kept+=("$word") ;;
    esac
done
exec musl-gcc "${kept[@]}"
EOF
chmod +x "$work/bin/cc"
export CC=$work/bin/cc

cd "$work"/zlib-*/
CFLAGS="-O2 -fPIC" ./configure --static --prefix="$work/zlib" >/dev/null
make -s install >make.log 2>&1 || { tail -20 make.log >&2; exit 1; }

cd "$work"/libffi-*/
CFLAGS="-O2 -fPIC" ./configure --quiet --disable-shared --disable-docs --disable-multi-os-directory --disable-exec-static-tramp --prefix="$work/ffi" >/dev/null
make -s install >make.log 2>&1 || { tail -20 make.log >&2; exit 1; }

cd "$work"/Python-*/
export PKG_CONFIG_LIBDIR=$work/ffi/lib/pkgconfig ZLIB_CFLAGS="-I$work/zlib/include" ZLIB_LIBS="-L$work/zlib/lib -lz"
export CPPFLAGS="-I$work/zlib/include -I$work/ffi/include" LDFLAGS="-L$work/zlib/lib -L$work/ffi/lib"
./configure --quiet --prefix="$folder" --without-ensurepip --without-static-libpython ac_cv_working_openssl_hashlib=no
make -s -j "$(nproc)" >build.log 2>&1 || { tail -40 build.log >&2; exit 1; }
make -s install >>build.log 2>&1 || { tail -40 build.log >&2; exit 1; }
"$folder/bin/python3" -c "import binascii, zlib, socket, select, array, ctypes"
cd / && rm -rf "$work" "$folder/lib/python3.11/test"
