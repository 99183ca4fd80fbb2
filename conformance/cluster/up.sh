#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Brings the cluster up: a control plane, NODES=3 nodes in three zones, a client outside.
# Safe to run again: starts only what does not run, and a larger NODES makes it grow. The
# Service proxy is started apart, by proxy.sh.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=machines.sh
. "$HERE/machines.sh"
# shellcheck source=control-plane.sh
. "$HERE/control-plane.sh"
# shellcheck source=node.sh
. "$HERE/node.sh"

"$HERE/preflight.sh" up || exit 1
if [ ! -s "$BIN/stamp" ] || [ ! -s "$IMAGES/stamp" ]; then
    die "nothing built in $FERRULE_CLUSTER: make cluster-build"
fi
count=$(nodes)
if [ -s "$RUN/nodes" ] && [ "$count" -lt "$(<"$RUN/nodes")" ]; then
    die "the cluster has $(<"$RUN/nodes") nodes and cannot shrink to $count: make cluster-down first"
fi
if has_netns switch && [ ! -e "$RUN/nodes" ]; then
    die "network namespaces $CLUSTER_NAME-* are there, but not made by the cluster in $FERRULE_CLUSTER: take that one down, or set CLUSTER_NAME"
fi
mkdir -p "$RUN" "$LOG"
echo "$count" >"$RUN/nodes"

say "machines (logs: $LOG)"
machine cp "$CP4" "$CP6"
machine client "$CLIENT4" "$CLIENT6"
for i in $(seq "$count"); do machine "node$i" "$(node4 "$i")" "$(node6 "$i")"; done
for name in cp client $(node_names); do routes "$name"; done
keys
control_plane
for i in $(seq "$count"); do start_node "$i"; done
for i in $(seq "$count"); do finish_node "$i"; done
say "waiting for the nodes"
kube wait --for=condition=Ready node --all --timeout=120s >>"$LOG/up.log" 2>&1 ||
    die "a node is not ready, see $LOG/up.log and $LOG/nodeN-kubelet.log"
kube apply -f "$HERE/manifests" >/dev/null
say "up: $count nodes"
