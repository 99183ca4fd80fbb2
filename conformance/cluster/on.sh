#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A look around in the cluster:
#
#   on.sh node1 nft list ruleset     a command on a machine: cp, client, node1 ...
#   on.sh kubectl get pods -A        kubectl as the administrator
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$EUID" -eq 0 ] || die "not root"
[ $# -ge 2 ] || die "usage: on.sh cp|client|nodeN|kubectl ARGUMENT..."
if [ "$1" = kubectl ]; then kube "${@:2}"; else on "$@"; fi
