#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs no cluster: format, lints, unit, property, layer and packet tests, and
# ferrule against the recorded answers of kube-proxy.
# Run as root by `make test`, after scripts/setup.sh. Extra arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

export REQUIRE_ROOT=1
LOG=${CARGO_TARGET_DIR:-target}/test.log
STARTED=$SECONDS

say() { printf '==> [%d s] %s\n' "$((SECONDS - STARTED))" "$*"; }

# older A B: whether version A is older than B.
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# The listing tests run the system's nft and each program of FERRULE_NFT_ALSO (colons between):
# together they cover 1.0.6 (Debian 12) and 1.1.3 (Debian 13), whatever the system has.
find_nft() {
    local own suites=() suite path status=0
    own=$(nft --version | sed -n 's/.*v\([0-9.]*\).*/\1/p')
    if older "$own" 1.1; then suites+=(trixie); fi
    if older "$own" 1.0.6 || ! older "$own" 1.1; then suites+=(bookworm); fi
    FERRULE_NFT_ALSO=
    for suite in "${suites[@]}"; do
        path=$(scripts/fetch-nft.sh "$suite" "${CARGO_TARGET_DIR:-target}/tools/nft" 2>"$LOG") || status=$?
        if [ "$status" -eq 0 ]; then
            FERRULE_NFT_ALSO=${FERRULE_NFT_ALSO:+$FERRULE_NFT_ALSO:}$path
        elif [ "$status" -eq 3 ] && [ "${CI:-}" != true ]; then
            echo "SKIP: listing by $(cat "$LOG")"
            SKIPPED_NFT=$((SKIPPED_NFT + 1))
        else
            echo "error: $(cat "$LOG") (outside CI this would be skipped)" >&2
            exit 1
        fi
    done
    export FERRULE_NFT_ALSO
    say "nft $own${FERRULE_NFT_ALSO:+, and $FERRULE_NFT_ALSO}"
}

# Hides what passed tests printed, except for why they skipped something.
show() {
    awk '/^successes:$/ { quiet = 1; next }
         /^(failures:$|test result:)/ { quiet = 0 }
         !quiet || /SKIP:/ { print; fflush() }'
}

# One line over all test programs, in the words of cargo test.
summary() {
    awk -v more="$SKIPPED_NFT" -v status="$1" '
        /^test result:/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^failed/) failed += $(i - 1)
                if ($i ~ /^ignored/) ignored += $(i - 1)
            }
        }
        /SKIP:/ { skipped++ }
        # A test program may end before it has counted.
        END { if (status && !failed) failed = 1
              printf "%d passed, %d failed, %d ignored, %d skipped\n",
                     passed, failed, ignored, skipped + more }' "$LOG"
}

SKIPPED_NFT=0
say "formatting"
cargo fmt --all --check
say "lints"
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
say "release build of ferrule"
cargo build --release --locked --workspace --bin ferrule
mkdir -p "$(dirname "$LOG")"
find_nft
FERRULE_BIN=${FERRULE_BIN:-$(realpath "${CARGO_TARGET_DIR:-target}")/release/ferrule}
export FERRULE_BIN
say "tests"
status=0
cargo test --workspace --locked --no-fail-fast "$@" -- --show-output 2>&1 | tee "$LOG" | show || status=$?
say "done"
summary "$status"
exit "$status"
