#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs upstream's network specs from the client machine, against the proxy that runs now.
#
#   conformance.sh [FOCUS [SKIP]]       a list below, or regular expressions over full names
#   conformance.sh --results [FOCUS]    where these runs left what they wrote
#
# Lists: quick      five specs that fail without a proxy
#        services   what a Service proxy answers for
#        network    every network spec that can run here, but load balancers and slow ones
#        lb         Services of type LoadBalancer
#        slow       the two slow specs about NodePorts
#        all        network, slow and lb, one after another
#
# PROCS=4 specs at a time, TIMEOUT=2h. What it wrote is in $FERRULE_CLUSTER/results/PROXY/FOCUS:
# junit*.xml, log and run.txt, for the program conformance-report.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What no machine of this kind has: policies, an ingress controller, a cloud, the internet.
LACKING='\[Feature:(NetworkPolicy|Ingress|KubeProxyNFAcct|Networking-[A-Za-z0-9]*|PerformanceDNS|SCTPConnectivity)\]|\[Provider:|Netpol'
# What disturbs others, or needs a login to the nodes.
ALONE='\[Disruptive\]|\[Serial\]'
CORE='should serve a basic endpoint from pods|should be able to create a functioning NodePort service|should be rejected when no endpoints exist|should preserve source pod IP|should have session affinity work for service with type clusterIP'
SUITES='Services|Networking Granular Checks: Services|\[Feature:IPv6DualStack\] Granular Checks: Services|Traffic Distribution|HostPort|Conntrack|EndpointSlice|Topology Hints|Connectivity Pod Lifecycle|NoSNAT|KubeProxy'

# choose LIST|REGEX [SKIP]: sets FOCUS, SKIP and NAME.
choose() {
    NAME=$1
    SKIP="$LACKING|\[Slow\]|$ALONE|\[Feature:LoadBalancer\]"
    case $1 in
        quick) FOCUS="\[sig-network\] Services ($CORE)" ;;
        services) FOCUS="\[sig-network\] ($SUITES) " ;;
        network) FOCUS='\[sig-network\]' ;;
        lb) FOCUS='\[sig-network\] LoadBalancers' SKIP="$LACKING|$ALONE|rolling update" ;;
        slow) FOCUS='\[sig-network\] Networking Granular Checks: Services should update nodePort' SKIP="$LACKING|$ALONE" ;;
        *) FOCUS=$1 ;;
    esac
    SKIP=${2:-$SKIP}
}

# run_specs DIR: by ginkgo, which needs kubectl on PATH and for the specs that exec in pods.
run_specs() {
    local arguments=(--kubeconfig="$RUN/admin.kubeconfig" --provider=local
        --kubectl-path="$BIN/kubectl" --num-nodes="$(nodes)" --report-dir="$1"
        --dump-logs-on-failure=false --disable-log-dump=true --node-schedulable-timeout=2m
        --minStartupPods=1 --dns-domain=cluster.local)
    on client env PATH="$BIN:$PATH" nice -n "$NICENESS" "$BIN/ginkgo" run \
        --procs="${PROCS:-4}" --timeout="${TIMEOUT:-2h}" --no-color \
        --focus="$FOCUS" --skip="$SKIP" "$BIN/e2e.test" -- "${arguments[@]}" >"$1/log" 2>&1
}

# describe DIR SECONDS: what ran, for the report.
describe() {
    local name mode version
    IFS=$'\t' read -r name mode version <"$RUN/proxy"
    printf '%s\n' "proxy=$name" "mode=$mode" "version=$version" \
        "kubernetes=$(<"$BIN/kubernetes.version")" "kernel=$(uname -r | cut -d- -f1)" "nodes=$(nodes)" \
        "procs=${PROCS:-4}" "focus=$NAME" "date=$(date -u +%F)" "seconds=$2" >"$1/run.txt"
}

# The lists that "all" stands for; lb is last because it is the slowest.
lists() {
    if [ "$1" = all ]; then printf '%s\n' network slow lb; else echo "$1"; fi
}

directory() {
    echo "$FERRULE_CLUSTER/results/$(cut -f 1 "$RUN/proxy")/${1//[^A-Za-z0-9_.-]/_}"
}

run() {
    local dir started=$SECONDS failed=0 seconds
    choose "$@"
    dir=$(directory "$NAME")
    rm -rf "$dir"
    mkdir -p "$dir"
    say "$NAME against $(cut -f 1 "$RUN/proxy"), ${PROCS:-4} at a time (log: $dir/log)"
    run_specs "$dir" || failed=1
    sed -n 's/^\(Ran [0-9]* of .*\)/\1/p; s/^\(.* Passed | .*\)/\1/p' "$dir/log" | tail -n 2
    seconds=$((SECONDS - started))
    describe "$dir" "$seconds"
    say "$NAME: $seconds s"
    compgen -G "$dir/junit*.xml" >/dev/null || {
        tail -n 5 "$dir/log" >&2
        die "no spec ran, see $dir/log"
    }
    return $failed
}

[ "$EUID" -eq 0 ] || die "not root"
[ -s "$RUN/proxy" ] || die "no proxy runs: make cluster-up PROXY=ferrule|kube-proxy"
NODES=$(<"$RUN/nodes")
if [ "${1:-}" = --results ]; then
    lists "${2:-network}" | while read -r list; do directory "$list"; done
    exit 0
fi
status=0
while read -r list; do
    run "$list" "${@:2}" </dev/null || status=1
done < <(lists "${1:-network}")
exit $status
