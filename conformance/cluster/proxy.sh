#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a Service proxy on every node, in place of the one that runs now. Its rules and all
# connection tracking entries are removed in between.
#
#   proxy.sh ferrule [MODE] [ARGUMENT...]       the program FERRULE_BIN
#   proxy.sh kube-proxy [MODE] [ARGUMENT...]    upstream's, as built
#   proxy.sh stop                               none at all
#   proxy.sh status
#
# MODE is nftables unless given; kube-proxy knows iptables, too. Logs: nodeN-proxy.log.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# remove_rules NODE: what proxies leave behind by design.
remove_rules() {
    local family table
    for table in ferrule kube-proxy; do
        for family in ip ip6; do
            on "$1" nft delete table "$family" "$table" 2>/dev/null || true
        done
    done
    on "$1" "$BIN/kube-proxy" --cleanup >/dev/null 2>&1 || true
    on "$1" conntrack -F >/dev/null 2>&1 || true
}

halt() {
    local node
    for node in $(node_names); do
        stop "$node" proxy
        remove_rules "$node"
    done
    rm -f "$RUN/proxy"
}

# config NODE MODE: nf_conntrack_max can be written in the first network namespace only.
config() {
    cat >"$RUN/$1/proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $2
clientConnection: {kubeconfig: $RUN/proxy.kubeconfig}
clusterCIDR: $PODS4,$PODS6
conntrack: {maxPerCore: 0, min: 0}
END
}

# version PROGRAM: its own word, and the commit where it was built here.
version() {
    local version
    version=$("$1" --version | head -n 1)
    version=${version#Kubernetes }
    echo "$version${FERRULE_COMMIT:+, commit $FERRULE_COMMIT}"
}

# start NAME MODE PROGRAM [ARGUMENT...]
start() {
    local name=$1 mode=$2 program=$3 node
    shift 3
    command -v "$program" >/dev/null || die "no program $program"
    halt
    for node in $(node_names); do
        config "$node" "$mode"
        : >"$LOG/$node-proxy.log"
        daemon "$node" proxy env NODE_NAME="$node" "$program" --config "$RUN/$node/proxy.yaml" \
            --hostname-override "$node" "$@"
    done
    sleep 1
    for node in $(node_names); do
        if alive "$RUN/$node/proxy.pid"; then continue; fi
        tail -n 3 "$LOG/$node-proxy.log" >&2
        die "$name ended on $node, see $LOG/$node-proxy.log"
    done
    printf '%s\t%s\t%s\n' "$name" "$mode" "$(version "$program")" >"$RUN/proxy"
    say "$name, mode $mode, on $(nodes) nodes"
}

status() {
    local node pid
    for node in $(node_names); do
        if alive "$RUN/$node/proxy.pid"; then
            pid=$(daemon_pid "$node" proxy)
            echo "$node: $(cut -f 1,2 "$RUN/proxy"), pid $pid, $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status") kB"
        else
            echo "$node: none"
        fi
    done
}

[ "$EUID" -eq 0 ] || die "not root"
[ -s "$RUN/nodes" ] || die "no cluster is up in $FERRULE_CLUSTER: make cluster-up"
NODES=$(<"$RUN/nodes")
kind=${1:-}
mode=${2:-nftables}
case $kind in
    ferrule) start ferrule "$mode" "${FERRULE_BIN:-ferrule}" "${@:3}" ;;
    kube-proxy) FERRULE_COMMIT="" start kube-proxy "$mode" "$BIN/kube-proxy" -v "${VERBOSITY:-2}" "${@:3}" ;;
    stop)
        halt
        printf 'none\tnone\tnone\n' >"$RUN/proxy"
        ;;
    status) status ;;
    *) die "usage: proxy.sh ferrule|kube-proxy|stop|status [MODE] [ARGUMENT...], not \"$kind\"" ;;
esac
