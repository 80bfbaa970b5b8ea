# To be sourced: unstable_apt FOLDER defines apt(), for packages of Debian's unstable suite. Its package list and cache are in
# FOLDER, and nothing is installed.
unstable_apt() {
    unstable=$1
    mkdir -p "$unstable/state/lists/partial" "$unstable/cache/archives/partial" "$unstable/lists"
    # The first of this machine's sources is Debian itself; the others are its updates.
    if [ -e /etc/apt/sources.list.d/debian.sources ]; then
        sed '/^$/,$d; s/^Suites: .*/Suites: sid/' /etc/apt/sources.list.d/debian.sources >"$unstable/lists/debian.sources"
    else
        sed -n '/^deb /{s/\(:[^ ]*\) [^ ]* .*/\1 sid main/p;q}' /etc/apt/sources.list >"$unstable/lists/debian.list"
    fi
    apt() {
        apt-get -qq -o Dir::State="$unstable/state" -o Dir::Cache="$unstable/cache" -o Dir::Etc::sourceparts="$unstable/lists" \
            -o Dir::Etc::sourcelist=/dev/null -o Dir::State::status=/dev/null -o APT::Sandbox::User=root "$@"
    }
}
