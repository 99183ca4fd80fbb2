#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cargo-deny over deny.toml: licences, bans and sources; advisories where their database can be
# reached. Builds cargo-deny into target/tools the first time (3 to 4 minutes on two cores).
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
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet --exit-code \
    https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
    "$DENY" --locked --workspace check --hide-inclusion-graph advisories
else
    echo "SKIP: advisories: https://github.com/rustsec/advisory-db cannot be reached"
fi
