#!/usr/bin/env bash
# podman with a store of its own that has one image, localhost/asya-python:made: tests/matrix/pod.sh ARGUMENT...
#
# No image is fetched: it is the system's CPython with its libraries, 37 MB, and /pause, which waits for a SIGTERM. Containers
# have runc, and the limits of this process, since podman's own may be more than this process may set. Needs root.
set -eu
repository=$(cd "$(dirname "$0")/../.." && pwd)
store=$repository/build/cache/pod
image=localhost/asya-python:made
mkdir -p "$store"
export CONTAINERS_CONF=$store/containers.conf
cat >"$CONTAINERS_CONF" <<EOF
[containers]
default_ulimits = ["nofile=$(ulimit -Sn):$(ulimit -Hn)", "nproc=4096:4096"]
[engine]
infra_image = "$image"
EOF

podman() {
    command podman --root "$store/root" --runroot "$store/run" --storage-driver vfs --cgroup-manager cgroupfs --runtime runc "$@"
}

# Folders that volumes are mounted on are not in it: podman gives a new volume to the container's user, but one whose folder is
# in the image to that folder's owner, since it knows no fsGroup.
make_image() {
    local tree=$store/tree python version file
    python=$(realpath /usr/bin/python3)
    version=${python##*/}
    mkdir -p "$tree/usr/bin" "$tree/usr/lib" "$tree/usr/lib64" "$tree/tmp" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/etc"
    for file in bin lib lib64; do ln -sfn "usr/$file" "$tree/$file"; done
    cp "$python" "$tree/usr/bin/python3"
    tar -C / -c --exclude=__pycache__ --exclude=test --exclude=idlelib --exclude=dist-packages --exclude='config-*' "usr/lib/$version" |
        tar -C "$tree" -x
    for file in $(ldd "$python" "/usr/lib/$version/lib-dynload/"*.so | grep -o '/[^ ]*\.so\.[0-9.]*' | sort -u); do
        mkdir -p "$tree${file%/*}"
        cp -L "$file" "$tree$file"
    done
    printf '#!/usr/bin/python3 -SE\nimport signal\nsignal.sigwait([signal.SIGTERM])\n' >"$tree/pause"
    chmod +x "$tree/pause"
    tar -C "$tree" -c . | podman import --quiet --change 'ENTRYPOINT ["/pause"]' --change 'ENV PATH=/usr/bin' - "$image" >/dev/null
    rm -rf "$tree"
}

podman image exists "$image" || make_image
podman "$@"
