#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing, and touches nothing else. Go is not among
# them: Debian's is too old.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

mapfile -t missing < <(./preflight.sh packages)
if [ ${#missing[@]} -eq 0 ]; then
    echo "==> no Debian package is missing"
    exit 0
fi
fail() {
    echo "error: $1: ${missing[*]}" >&2
    exit 1
}
command -v apt-get >/dev/null || fail "neither Debian nor Ubuntu, install these packages yourself"
[ "$EUID" -eq 0 ] || fail "not root, install these packages first"
echo "==> installing ${missing[*]}"
apt-get update -qq || fail "the package registry cannot be reached (apt-get update failed); needed"
# Some packages start a service; here only their programs are wanted.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get install failed"
