#!/usr/bin/env bash
# Builds gVisor's runsc with Go, once: tests/matrix/gvisor.sh FOLDER; FOLDER/inside PROGRAM [ARGUMENT...] runs a program in it.
#
# The module of this version is gVisor's branch `go`, which needs no Bazel. Needs Go 1.26.3 or newer; 3 minutes on two idle
# cores, 0.7 GB in FOLDER while it builds. Debian's package will not do: that of its unstable
# suite (20240729) was compiled by a newer Go than it knows, and panics when a file is read.
#
# Inside, the files are the host's, with what is written to them. Needs root. INSIDE_FLAGS has further flags of runsc's.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
version=v0.0.0-20260905035102-160fafc42237
[ -x "$folder/inside" ] && exit 0
command -v go >/dev/null || {
    echo "gvisor.sh: Go is not installed" >&2
    exit 1
}
export GOPATH=$folder/work GOCACHE=$folder/work/cache GOBIN=$folder GOFLAGS="-buildvcs=false -modcacherw" CGO_ENABLED=0
go install -ldflags="-s -w" "gvisor.dev/gvisor/runsc@$version"
rm -rf "$folder/work"
cat >"$folder/inside.new" <<EOF
#!/bin/sh
exec "$folder/runsc" --network=host --ignore-cgroups --overlay2=none \${INSIDE_FLAGS:-} do --force-overlay=false -- "\$@"
EOF
chmod +x "$folder/inside.new"
mv "$folder/inside.new" "$folder/inside"
