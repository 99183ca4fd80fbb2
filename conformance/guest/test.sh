#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests that need a kernel with IPVS and SCTP, in the guest (run.sh). `make test-ipvs` runs
#   conformance/guest/test.sh units           the IPVS backend, with ipvsadm as second opinion
#   conformance/guest/test.sh packets [WORD]  the packet table, with the kernel's own SCTP sockets;
#                                             WORD chooses profiles, cases and scenarios
#   conformance/guest/test.sh bench [ARGUMENT]  IPVS mode measured, beside kube-proxy's if
#                                             FERRULE_CLUSTER_BIN has it (make bench-sync MODE=ipvs)
#   conformance/guest/test.sh record          what kube-proxy's IPVS mode leaves behind, to
#                                             conformance/testdata/kube-proxy
# MODE=nftables|ipvs is the mode that the packet table judges. Each row runs in one of its six
# combinations of family and protocol, the next row in the next; with ALL=1 in all of them.
# FERRULE_BIN names the program that the packet table tests, else the release build is used.
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# executable NAME ARGUMENT...: builds a test program and prints its path.
executable() {
    local name=$1
    shift
    cargo test --workspace --locked --no-run --message-format=json-render-diagnostics "$@" |
        grep "\"name\":\"$name\"" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

# in_guest ARGUMENT...: as run.sh, but a guest that cannot be had is no failure outside CI.
in_guest() {
    local status=0
    conformance/guest/run.sh "$@" || status=$?
    if [ "$status" -eq 3 ] && [ "${CI:-}" != true ]; then
        echo "SKIP: no guest here, see above"
        status=0
    fi
    return "$status"
}

units() {
    local program takeover
    program=${GUEST_UNITS:-$(executable ferrule --lib)}
    in_guest --timeout 600 --with ip --env REQUIRE_ROOT=1 --env REQUIRE_IPVS=1 -- \
        "$program" --test-threads 1 --include-ignored backend::ipvs backend::leftovers::ipvs \
        reload::process run::mode sync::tests::servers
    takeover=${GUEST_TAKEOVER:-$(executable takeover_ipvs --test takeover_ipvs)}
    in_guest --timeout 300 --with ip --with nft --with "$(dirname "$takeover")/../ferrule" \
        --env REQUIRE_ROOT=1 --env REQUIRE_IPVS=1 -- \
        "$takeover" --include-ignored
    # The same without the module: a clear message, and a skipped test.
    in_guest --timeout 600 --without ip_vs --env REQUIRE_ROOT=1 -- \
        "$program" --test-threads 1 --include-ignored --show-output backend::ipvs::tests | tee "$TARGET/guest/without.log"
    grep -q -e "SKIP: the kernel lacks IPVS (CONFIG_IP_VS; module ip_vs)" -e "SKIP: no guest" \
        "$TARGET/guest/without.log"
}

# Emulated, everything takes ten to thirty times as long: conformance/src/pace.rs.
patience() {
    local one_in=6
    [ "${ALL:-}" != 1 ] || one_in=1
    printf '%s\n' \
        "PACKET_SILENCE_MS=${PACKET_SILENCE_MS:-3000}" "PACKET_ANSWER_MS=${PACKET_ANSWER_MS:-30000}" \
        "PACKET_AT_ONCE_MS=${PACKET_AT_ONCE_MS:-2000}" "PACKET_THREADS=${PACKET_THREADS:-4}" \
        "PACKET_MANY=${PACKET_MANY:-150}" "PACKET_ONE_IN=${PACKET_ONE_IN:-$one_in}"
}

packets() {
    local program variable variables=() binary=${FERRULE_BIN:-$TARGET/release/ferrule}
    program=${GUEST_PACKETS:-$(executable netns --test netns)}
    [ -x "$binary" ] || cargo build --release --locked --workspace --bin ferrule
    for variable in $(patience) REQUIRE_ROOT=1 REAL_SCTP=1 "MODE=${MODE:-nftables}" "FERRULE_BIN=$binary"; do
        variables+=(--env "$variable")
    done
    in_guest --timeout "${GUEST_TIMEOUT:-3600}" --memory 3072 \
        --with ip --with nft --with setpriv --with nsenter --with conntrack --with stdbuf \
        --with "$(libstdbuf)" --with "$binary" --with "$PWD/conformance/testdata" \
        "${variables[@]}" -- "$program" "$@"
}

# beside PROGRAM ARGUMENT...: the benchmark with what kube-proxy starts.
beside() {
    in_guest --timeout "${GUEST_TIMEOUT:-3600}" --memory 3072 --with ip --with nft --with setpriv \
        --with nsenter --with conntrack --with "$1" --with "${FERRULE_BIN:-$TARGET/release/ferrule}" -- \
        "$TARGET/release/ferrule-bench-ipvs" "${@:2}"
}

bench() {
    local proxies=${FERRULE_BIN:-$TARGET/release/ferrule} theirs=${FERRULE_CLUSTER_BIN:-}/kube-proxy
    if [ -x "$theirs" ]; then
        proxies=$proxies,$theirs
    else
        echo "SKIP: kube-proxy: set FERRULE_CLUSTER_BIN to the directory that has it"
        theirs=true
    fi
    beside "$theirs" bench --proxies "$proxies" "$@"
}

record() {
    local theirs=${FERRULE_CLUSTER_BIN:?a directory with kube-proxy}/kube-proxy
    beside "$theirs" record --kube-proxy "$theirs" | awk -v to=conformance/testdata/kube-proxy/ '
        /^==> / { file = to $2; printf "" >file; next }
        file && NF && !/^#/ { sub(/\[[0-9]+:[0-9]+\]/, "[0:0]"); print >>file }'
}

# stdbuf has its library preloaded, so that no loader names it.
libstdbuf() { find /usr/lib* -name libstdbuf.so -path '*coreutils*' | head -n 1; }

what=${1:-}
[ $# -eq 0 ] || shift
case $what in
    units) units ;;
    packets) packets "$@" ;;
    bench) bench "$@" ;;
    record) record ;;
    *) echo "usage: $0 units | packets [WORD...] | bench [ARGUMENT...] | record" >&2; exit 2 ;;
esac
