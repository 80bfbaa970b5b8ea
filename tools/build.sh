#!/usr/bin/env bash
# Builds in folder $1 (further arguments go to `meson setup`), quietly unless something fails.
set -eu
cd "$(dirname "$0")/.."
folder=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -f "$folder/build.ninja" ] || meson setup "$folder" "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
ninja -C "$folder" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
