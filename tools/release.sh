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
    folder=$build options=()
    [ "$machine" = "$(uname -m)" ] || folder=$build-$machine options=(--cross-file "cross/$machine.ini")
    echo "release: compiling for $machine in $folder"
    tools/build.sh "$folder" "${options[@]}"
    images+=(--image "$machine=$folder/src/_asya.abi3.so")
done
version=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" meson.build)
mkdir -p "$output"
tools/bundle.py --template inject/bootstrap.py --version "$version" "${images[@]}" --output "$output/asya_runtime.py"
cd "$output" && sha256sum asya_runtime.py >asya_runtime.py.sha256
