#!/usr/bin/env bash
# Builds the file that carries an image for each processor: tools/release.sh BUILD OUTPUT [MACHINE...]
#
# BUILD is the folder of this machine's own build; the other processor's lies beside it (BUILD-aarch64) and is cross-built
# with cross/MACHINE.ini. OUTPUT gets asya_runtime.py and its sha256. The same sources give the same bytes, wherever they lie.
set -eu
cd "$(dirname "$0")/.."
build=$1 output=$2
shift 2
[ $# -gt 0 ] || set -- x86_64 aarch64

images=()
for machine in "$@"; do
    if [ "$machine" = "$(uname -m)" ]; then
        folder=$build
        tools/build.sh "$folder"
    else
        folder=$build-$machine
        tools/build.sh "$folder" --cross-file "cross/$machine.ini"
    fi
    images+=(--image "$machine=$folder/src/_asya.abi3.so")
done
version=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" meson.build)
mkdir -p "$output"
tools/bundle.py --template inject/bootstrap.py --version "$version" "${images[@]}" --output "$output/asya_runtime.py"
cd "$output" && sha256sum asya_runtime.py >asya_runtime.py.sha256
