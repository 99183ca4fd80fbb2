#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cargo-deny over deny.toml: licences, bans and sources; with ADVISORIES=1 also advisories, whose
# database is no package. Builds cargo-deny into target/tools the first time (3 to 4 minutes on two cores).
set -eu
cd "$(dirname "$0")/.."

VERSION=0.20.2
TOOLS=${CARGO_TARGET_DIR:-target}/tools

# The build is elsewhere than ours, so that neither throws away the other's.
find_deny() {
    for candidate in "$(command -v cargo-deny || true)" "$TOOLS/bin/cargo-deny"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "==> building cargo-deny $VERSION" >&2
    cargo install --quiet --locked --version "$VERSION" --root "$TOOLS" \
        --target-dir "$TOOLS/build" cargo-deny >&2
    rm -rf "$TOOLS/build"
    echo "$TOOLS/bin/cargo-deny"
}

DENY=$(find_deny)
"$DENY" --locked --workspace check --hide-inclusion-graph bans licenses sources
if [ "${ADVISORIES:-}" = 1 ]; then
    "$DENY" --locked --workspace check --hide-inclusion-graph advisories
else
    echo "SKIP: advisories: their database is fetched from its own server; ADVISORIES=1 asks for it"
fi
