#!/usr/bin/env bash
# Runs a program in a place like those that containers give: tests/matrix/place.sh [--fork] PLACE PROGRAM [ARGUMENT...]
#
#   read-only      every mount is read-only, and /tmp and /dev/shm, which stay writable, are noexec
#   memfd-noexec-1, memfd-noexec-2   the kernel's vm.memfd_noexec, in a process namespace of its own
#   no-proc        nothing is mounted on /proc
#   user           an ordinary user, without capabilities
#   unknown-user   a user number without an entry in /etc/passwd, group 0: what OpenShift gives
#   process-1      process 1 of a process namespace
#   restricted     read-only, unknown user, no capability to be had again: the restricted Pod Security Standard
#
# Needs root. The folder of ASYA_SOCKET_PATH, if it lies below /tmp, and HOME are given to the user. --fork must be given for memfd-noexec-* and
# process-1, whose program is a child of this one, and only for them; all others are this process itself.
set -eu

in_mounts() {
    mount --make-rprivate /
    case $place in
    read-only | restricted)
        mount --bind /tmp /tmp
        local folder
        for folder in $(awk '$2 !~ "^/(proc|sys)" {print $2}' /proc/self/mounts | sort -u); do
            case $folder in
            /tmp | /dev/shm) mount -o remount,bind,noexec,nosuid,nodev "$folder" ;;
            *) mount -o remount,bind,ro "$folder" 2>/dev/null || : ;;
            esac
        done
        ;;
    memfd-noexec-*) echo "${place##*-}" >/proc/sys/vm/memfd_noexec ;;
    no-proc) umount -l /proc ;;
    esac
    cd "$PWD" || exit # below the mounts made just now
    case $place in
    user) become 1000 1000 "$@" ;;
    unknown-user | restricted) become 1000650000 0 "$@" ;;
    *) exec "$@" ;;
    esac
}

become() {
    local user=$1 group=$2
    shift 2
    exec setpriv --reuid "$user" --regid "$group" --clear-groups --bounding-set -all --inh-caps -all --no-new-privs "$@"
}

# What belongs to root alone must be open to the user before mounts become read-only: the socket's folder, an interpreter
# in root's home.
give_to_user() {
    case $(realpath "$HOME") in
    /tmp/asya-*) chown -R "$1" "$HOME" ;;
    *)
        echo "place.sh: HOME is given to another user, so it must be a folder that a test has made (/tmp/asya-...)" >&2
        exit 2
        ;;
    esac
    local folder=${ASYA_SOCKET_PATH:-$HOME/socket}
    until [ -d "$folder" ]; do folder=$(dirname "$folder"); done # the runtime makes what is missing
    case $(realpath "$folder") in /tmp/*) chown -R "$1" "$folder" ;; esac
    if [ -d /root/.pyenv ]; then
        mount --make-rprivate /
        mount --bind /root/.pyenv /mnt
        mount -t tmpfs -o mode=755 tmpfs /root
        mkdir /root/.pyenv
        mount --bind /mnt /root/.pyenv
        umount /mnt
    fi
}

if [ "$1" = --inside ]; then
    place=$2
    shift 2
    case $place in
    user) give_to_user 1000:1000 ;;
    unknown-user | restricted) give_to_user 1000650000:0 ;;
    esac
    in_mounts "$@"
fi
fork=()
if [ "$1" = --fork ]; then
    fork=(--pid --fork --mount-proc --kill-child)
    shift
fi
case $1 in
read-only | no-proc | user | unknown-user | restricted) [ ${#fork[@]} = 0 ] ;;
memfd-noexec-1 | memfd-noexec-2 | process-1) [ ${#fork[@]} != 0 ] ;;
*) false ;;
esac || { sed -n 's/^# \?//p' "$0" >&2; exit 2; }
exec unshare --mount "${fork[@]}" "$0" --inside "$@"
