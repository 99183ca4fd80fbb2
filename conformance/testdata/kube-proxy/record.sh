#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Records the rules that the real kube-proxy writes for the takeover scenarios' Services
# (conformance/src/scenario/takeover/showcase.rs), as node-1 of the packet tables' topology, and
# what its own --cleanup leaves of them. Needs root, etcd, openssl, jq, nft and iptables-nft. Everything runs in a network namespace that goes with the script.
#
#   BIN=DIR conformance/testdata/kube-proxy/record.sh     DIR: kube-apiserver, kubectl, kube-proxy
set -euo pipefail
BIN=$(cd "${BIN:?a directory with kube-apiserver, kubectl and kube-proxy}" && pwd)
OUT=$(cd "$(dirname "$0")" && pwd)
OBJECTS=$(cd "$OUT" && cargo run -q -p ferrule-conformance --example takeover_objects)

WORK=$(mktemp -d)
NS=ferrule-rec-$$
pids=()
finish() {
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  ip netns del "$NS"
  rm -rf "$WORK"
}
trap finish EXIT
ip netns add "$NS"
on() { ip netns exec "$NS" "$@"; }
on ip link set lo up
on ip link add eth0 type veth peer name peer
on ip link set eth0 up
on ip link set peer up
on ip addr add 172.30.0.11/16 dev eth0
on ip addr add fd00:172:30::11/48 dev eth0 nodad
on ip route add default via 172.30.0.1

openssl genrsa -out "$WORK/sa.key" 2048 2>/dev/null
openssl rsa -in "$WORK/sa.key" -pubout -out "$WORK/sa.pub" 2>/dev/null
echo "recorder,recorder,recorder,system:masters" >"$WORK/tokens.csv"
cat >"$WORK/kubeconfig" <<Y
apiVersion: v1
kind: Config
current-context: rec
clusters: [{name: rec, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: rec, user: {token: recorder}}]
contexts: [{name: rec, context: {cluster: rec, user: rec}}]
Y
# Not by `on`: $! must be the program, not a shell that waits for it.
IN="ip netns exec $NS"
$IN "${ETCD:-etcd}" --data-dir "$WORK/etcd" --unsafe-no-fsync >"$WORK/etcd.log" 2>&1 &
pids+=($!)
$IN "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 \
  --secure-port=6443 --advertise-address=172.30.0.11 --authorization-mode=AlwaysAllow \
  --service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112 --token-auth-file="$WORK/tokens.csv" \
  --service-account-issuer=https://rec --service-account-key-file="$WORK/sa.pub" \
  --service-account-signing-key-file="$WORK/sa.key" --cert-dir="$WORK/certs" \
  >"$WORK/apiserver.log" 2>&1 &
pids+=($!)
kube() { on "$BIN/kubectl" --kubeconfig "$WORK/kubeconfig" --cache-dir "$WORK/cache" "$@"; }
for _ in $(seq 120); do
  kube get --raw /readyz >/dev/null 2>&1 && break
  sleep 0.5
done
kube create namespace scenario
echo "$OBJECTS" >"$WORK/objects.json"
kube create -f "$WORK/objects.json"
kube apply --server-side --force-conflicts --subresource=status -f <(
  jq '.items |= map(select(.kind == "Service"))' "$WORK/objects.json")

# What a kubelet has made before (pkg/kubelet/kubelet_network_linux.go, pkg/util/iptables Monitor).
kubelet() { # kubelet iptables|ip6tables
  local t=$1 table
  on "$t" -t mangle -N KUBE-IPTABLES-HINT
  if [ "$t" = iptables ]; then
    on "$t" -N KUBE-FIREWALL
    on "$t" -I OUTPUT -j KUBE-FIREWALL
    on "$t" -I INPUT -j KUBE-FIREWALL
    on "$t" -A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" \
      --dst 127.0.0.0/8 ! --src 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
  fi
  for table in mangle nat filter; do on "$t" -t $table -N KUBE-KUBELET-CANARY; done
}
# Counters and dates say nothing.
tidy() { sed -E 's/\[[0-9]+:[0-9]+\]/[0:0]/; /^#/d'; }
save() { # save NAME
  on iptables-save | tidy >"$OUT/$1.iptables-save"
  on ip6tables-save | tidy >"$OUT/$1.ip6tables-save"
}
run() { # run MODE: kube-proxy, until its rules are there
  $IN "$BIN/kube-proxy" --kubeconfig "$WORK/kubeconfig" --proxy-mode "$1" --hostname-override node-1 \
    --cluster-cidr 10.244.0.0/16,fd00:10:244::/48 --conntrack-max-per-core 0 \
    --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0 \
    >"$WORK/proxy.log" 2>&1 &
  local proxy=$!
  sleep 8
  kill $proxy
  wait $proxy || true
}

mkdir -p "$WORK/path"
for f in iptables ip6tables; do
  for suffix in "" -save -restore; do
    ln -sf "$(command -v $f-nft$suffix)" "$WORK/path/$f$suffix"
  done
done
PATH=$WORK/path:$PATH
kubelet iptables
kubelet ip6tables
run iptables
save iptables
on "$BIN/kube-proxy" --cleanup >"$WORK/cleanup.log" 2>&1 || true
save iptables-cleaned
on nft flush ruleset

run nftables
{ on nft list table ip kube-proxy; on nft list table ip6 kube-proxy; } >"$OUT/nftables.nft"
wc -l "$OUT"/*
if [ -n "${KEEP_LOGS:-}" ]; then cp "$WORK"/*.log "$KEEP_LOGS"; fi
