#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cargo-deny over deny.toml: licences, bans, sources and advisories. The database of advisories is
# fetched from its own server: where that cannot be reached they are skipped, which ADVISORIES=1
# makes a failure. Builds cargo-deny into target/tools the first time (3 to 4 minutes on two cores).
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

status=0
said=$(timeout 120 "$DENY" --locked --workspace check --hide-inclusion-graph advisories 2>&1) ||
    status=$?
reason=$(printf '%s\n' "$said" | grep -m 1 -o 'failed to fetch advisory database.*' || true)
# 124: it took too long.
if [ "$status" -eq 0 ] || { [ -z "$reason" ] && [ "$status" -ne 124 ]; }; then
    printf '%s\n' "$said"
elif [ "${ADVISORIES:-}" = 1 ]; then
    printf '%s\n' "$said" >&2
else
    echo "SKIP: advisories: ${reason:-fetching the advisory database took too long}" | cut -c 1-160
    status=0
fi
exit "$status"
