#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unpacks the nft of a Debian release, with the libraries that it needs, beside the system's own,
# and prints the path of a wrapper that runs it. Nothing is installed.
# Usage: scripts/fetch-nft.sh bookworm|trixie DIRECTORY
# Exit code 3: it cannot be had here (no apt, no network); the reason is on stderr.
set -eu

SUITE=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd)/$SUITE
WRAPPER=$DIR/nft
# Debian's stable release keys 4D64FEC119C2029067D6E791F8D2585B8783D481 (12) and
# 41587F7DB8C774BCCF131416762F67A0B2C39DE4 (13): older Ubuntu does not know them.
KEYRING=$(cd "$(dirname "$0")" && pwd)/debian-stable.asc

unavailable() { printf '%s\n' "nft of Debian $SUITE: $*" >&2; exit 3; }

# apt's first complaint: the later ones only say that something has failed.
complaint() { grep -m 1 -E '^[EW]:' "$DIR/log" || tail -n 1 "$DIR/log"; }

works() { [ -x "$WRAPPER" ] && "$WRAPPER" --version >/dev/null 2>&1; }

# The mirror that the machine is set up for, or Debian's own.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null |
        grep -E '/debian/?$' | head -n 1 | grep . || echo http://deb.debian.org/debian
}

# apt-get with a world of its own: no list, cache, state or lock of the system is used.
private_apt() {
    apt-get -qq -y \
        -o Dir::Etc::SourceList="$DIR/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State="$DIR/state" -o Dir::State::status="$DIR/state/status" \
        -o Dir::Cache="$DIR/cache" -o Debug::NoLocking=true -o APT::Sandbox::User=root \
        -o APT::Architectures="$(dpkg --print-architecture)" -o Acquire::Languages=none \
        -o APT::Install-Recommends=false -o Acquire::Retries=3 -o Acquire::http::Timeout=30 "$@"
}

download() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || unavailable "no apt here"
    rm -rf "$DIR"
    mkdir -p "$DIR/state/lists/partial" "$DIR/cache/archives/partial" "$DIR/root"
    : >"$DIR/state/status"
    echo "deb [signed-by=$KEYRING] $(mirror) $SUITE main" >"$DIR/sources.list"
    private_apt -o APT::Update::Error-Mode=any update >"$DIR/log" 2>&1 ||
        unavailable "$(complaint)"
    # An empty dpkg status makes apt fetch every dependency, libc too.
    private_apt --download-only install nftables >>"$DIR/log" 2>&1 ||
        unavailable "$(complaint)"
}

unpack() {
    for package in "$DIR"/cache/archives/*.deb; do
        dpkg -x "$package" "$DIR/root"
    done
    rm -rf "$DIR/cache" "$DIR/state/lists"
    loader=$(find "$DIR/root" -name 'ld-linux*.so.*' | head -n 1)
    libraries=$(dirname "$(find "$DIR/root" -name 'libnftables.so.1' | head -n 1)")
    libc=$(dirname "$(find "$DIR/root" -name 'libc.so.6' | head -n 1)")
    {
        echo '#!/bin/sh'
        echo "exec '$loader' --library-path '$libraries:$libc' '$DIR/root/usr/sbin/nft' \"\$@\""
    } >"$WRAPPER"
    chmod +x "$WRAPPER"
}

if ! works; then
    download
    unpack
    works || unavailable "does not run: $("$WRAPPER" --version 2>&1 | tail -n 1)"
fi
echo "$WRAPPER"
