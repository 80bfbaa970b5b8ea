#!/usr/bin/env bash
# Runs a program in a container of podman's: tests/matrix/podman.sh RUNTIME PLACE PROGRAM [ARGUMENT...]; RUNTIME is crun or runc.
#
#   default      as podman makes it: its seccomp profile and capabilities, process 1 of the container
#   profile      the seccomp profile of examples/kubernetes, and no new privileges, without which the profile would have to
#                let the container's runtime change the user
#   read-only    a read-only root
#   restricted   read-only, the profile, a user number without an entry in /etc/passwd, group 0, no capability to be had again
#   memory       at most 256 MiB, where a control group can be made
#
# Needs root. No image is fetched: the container's root is an empty folder with the host's folders in it, read-only, and /tmp.
# The program's number is written to $HOME/container.pid, since it is no child of this process; $HOME, and the folder of
# ASYA_SOCKET_PATH if it lies below /tmp, are given to the user. Limits of resources stay the caller's: podman's own default
# may be more than this process may set.
set -eu

repository=$(cd "$(dirname "$0")/../.." && pwd)
if [ "$1" != --inside ]; then
    exec unshare --mount "$0" --inside "$@"
fi
runtime=$2 place=$3
shift 3
# crun refuses a host with both versions of control groups in use
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified

store=$repository/build/cache/podman
mkdir -p "$store/rootfs"
folders=()
for path in /*; do
    case $path in
    /proc | /sys | /dev | /run | /tmp) mkdir -p "$store/rootfs$path" ;;
    *) if [ -L "$path" ]; then
        ln -sfn "$(readlink "$path")" "$store/rootfs$path"
    elif [ -d "$path" ]; then
        mkdir -p "$store/rootfs$path"
        folders+=(--volume "$path:$path:ro")
    fi ;;
    esac
done

profile=(--security-opt "seccomp=$repository/examples/kubernetes/seccomp.json" --security-opt no-new-privileges)
case $place in
default) options=() ;;
profile) options=("${profile[@]}") ;;
read-only) options=(--read-only) ;;
restricted)
    options=("${profile[@]}" --read-only --user 1000650000:0 --cap-drop all)
    # Only these two, and only where a test has made them: never a folder that others use.
    folder=${ASYA_SOCKET_PATH:-$HOME/socket}
    until [ -d "$folder" ]; do folder=$(dirname "$folder"); done # the runtime makes what is missing
    for given in "$HOME" "$folder"; do
        case $(realpath "$given") in
        /tmp/asya-*) chown 1000650000:0 "$given" ;;
        *)
            echo "podman.sh: $given would be given to the user, so it must be a folder that a test has made (/tmp/asya-...)" >&2
            exit 2
            ;;
        esac
    done
    ;;
memory) options=(--memory 256m --memory-swap 256m) ;;
*) sed -n 's/^# \?//p' "$0" >&2; exit 2 ;;
esac
rm -f "$HOME/container.pid"
exec podman --root "$store/root" --runroot "$store/run" --storage-driver vfs --cgroup-manager cgroupfs --runtime "$runtime" run \
    --rm --log-driver passthrough --env-host --workdir "$PWD" --pidfile "$HOME/container.pid" --network host \
    --ulimit "nofile=$(ulimit -Sn):$(ulimit -Hn)" --ulimit nproc=4096:4096 --volume /tmp:/tmp "${folders[@]}" "${options[@]}" \
    --rootfs "$store/rootfs" "$@"
