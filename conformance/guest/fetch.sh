#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unpacks what the guest is made of (a stock Debian kernel with its modules, busybox, ipvsadm, ipset
# and iptables) and prints the directory: DIRECTORY/bookworm, with `vmlinuz`, `version`, `modules/`
# and `root/`. Nothing is installed. What is there already is used as it is.
# Usage: conformance/guest/fetch.sh DIRECTORY
# Exit code 3: it cannot be had here (no apt, no network); the reason is on stderr.
set -eu

SUITE=bookworm
HERE=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
DIR=$(cd "$1" && pwd)/$SUITE
# The release key of Debian 12; older Ubuntu does not know it.
KEYRING=$HERE/../../scripts/debian-stable.asc
# What runs in the guest. The last ones are what kube-proxy's IPVS mode starts.
PACKAGES='busybox-static ipvsadm ipset iptables'
# Beside these, the guest gets whatever they depend on.
DIRECTORIES='net/netfilter net/ipv4 net/ipv6 net/bridge net/sctp net/sched'
MODULES='dummy veth macvlan ifb crc32c_generic crc32c-intel'

unavailable() { printf '%s\n' "Debian $SUITE for the guest: $*" >&2; exit 3; }

# apt's first complaint: the later ones only say that something has failed.
complaint() { grep -m 1 -E '^[EW]:' "$DIR/log" || tail -n 1 "$DIR/log"; }

# The mirror that the machine is set up for, or Debian's own.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null |
        grep -E '/debian/?$' | head -n 1 | grep . || echo http://deb.debian.org/debian
}

# An apt tool with a world of its own: no list, cache, state or lock of the system is used.
private() {
    tool=$1
    shift
    "$tool" -qq \
        -o Dir::Etc::SourceList="$DIR/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State="$DIR/state" -o Dir::State::status="$DIR/state/status" \
        -o Dir::Cache="$DIR/cache" -o Debug::NoLocking=true -o APT::Sandbox::User=root \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none \
        -o APT::Install-Recommends=false -o Acquire::Retries=3 -o Acquire::http::Timeout=30 "$@"
}

download() {
    for tool in apt-get apt-cache dpkg; do
        command -v "$tool" >/dev/null || unavailable "no $tool here"
    done
    rm -rf "$DIR"
    mkdir -p "$DIR/state/lists/partial" "$DIR/cache/archives/partial" "$DIR/root" "$DIR/kernel"
    : >"$DIR/state/status"
    echo "deb [signed-by=$KEYRING] $(mirror) $SUITE main" >"$DIR/sources.list"
    private apt-get -o APT::Update::Error-Mode=any update >"$DIR/log" 2>&1 ||
        unavailable "$(complaint)"
    # An empty dpkg status makes apt fetch every dependency, libc too.
    # shellcheck disable=SC2086 # a list of words
    private apt-get -y --download-only install $PACKAGES >>"$DIR/log" 2>&1 ||
        unavailable "$(complaint)"
    image=$(private apt-cache depends linux-image-amd64 |
        sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$image" ] || unavailable "no kernel package"
    (cd "$DIR/kernel" && private apt-get download "$image") >>"$DIR/log" 2>&1 ||
        unavailable "$(complaint)"
}

unpack() {
    for package in "$DIR"/cache/archives/*.deb; do
        dpkg -x "$package" "$DIR/root"
    done
    dpkg -x "$DIR"/kernel/*.deb "$DIR/kernel"
    rm -rf "$DIR/cache" "$DIR/state" "$DIR"/kernel/*.deb
    mv "$DIR"/kernel/boot/vmlinuz-* "$DIR/vmlinuz"
    version=$(ls "$DIR/kernel/lib/modules")
    choose_modules "$DIR/kernel/lib/modules/$version" "$DIR/modules"
    rm -rf "$DIR/kernel"
    echo "$PACKAGES" >"$DIR/packages"
    # Last: it tells that all the rest is there.
    echo "$version" >"$DIR/version"
}

# choose_modules FROM TO: copies the wanted modules and those that they need.
choose_modules() {
    "$DIR/root/bin/busybox" depmod -b "$DIR/kernel" "$version"
    for directory in $DIRECTORIES; do
        grep -E "^kernel/$directory/" "$1/modules.dep"
    done >"$DIR/wanted"
    for module in $MODULES; do
        grep -E "/$module\.ko:" "$1/modules.dep" >>"$DIR/wanted" ||
            unavailable "kernel $version has no module $module"
    done
    tr -d : <"$DIR/wanted" | tr ' ' '\n' | grep . | sort -u | while read -r file; do
        mkdir -p "$2/$(dirname "$file")"
        cp "$1/$file" "$2/$file"
    done
    cp "$1/modules.builtin" "$1/modules.order" "$2/"
}

if ! [ -s "$DIR/version" ] || [ "$(cat "$DIR/packages" 2>/dev/null)" != "$PACKAGES" ]; then
    download
    unpack
fi
echo "$DIR"
