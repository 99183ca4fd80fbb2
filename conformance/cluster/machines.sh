# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Machines made of namespaces, on one switch. Sourced by up.sh after lib.sh.

# A network namespace with nothing but a bridge. Bridged packets must not pass by its
# netfilter hooks, or they would be tracked twice.
make_switch() {
    if has_netns switch; then return 0; fi
    ip netns add "$(netns switch)"
    # shellcheck disable=SC2016
    ip netns exec "$(netns switch)" sh -c '
        for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$f" ] || echo 0 >"$f"; done
        echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
    ip -n "$(netns switch)" link add br0 type bridge
    ip -n "$(netns switch)" link set br0 up
}

# plug MACHINE IP4 IP6: its network namespace, and a cable to the switch. Forwarding, no
# reverse path filter, and multipath routes that look at ports.
plug() {
    local ns
    ns=$(netns "$1")
    if ! has_netns "$1"; then ip netns add "$ns"; fi
    if ! ip -n "$ns" link show eth0 >/dev/null 2>&1; then
        ip -n "$(netns switch)" link del "p-$1" 2>/dev/null || true
        ip -n "$(netns switch)" link add "p-$1" type veth peer name eth0 netns "$ns"
        ip -n "$(netns switch)" link set "p-$1" master br0 up
    fi
    ip netns exec "$ns" sh -c '
        cd /proc/sys/net
        echo 1 >ipv4/ip_forward
        echo 1 >ipv6/conf/all/forwarding
        echo 0 >ipv4/conf/all/rp_filter
        echo 0 >ipv4/conf/default/rp_filter
        echo 1 >ipv4/fib_multipath_hash_policy
        echo 1 >ipv6/fib_multipath_hash_policy
        echo 0 >ipv6/conf/default/accept_dad
        echo 0 >ipv6/conf/eth0/accept_ra'
    ip -n "$ns" link set lo up
    ip -n "$ns" link set eth0 up
    ip -n "$ns" addr replace "$2/24" dev eth0
    ip -n "$ns" addr replace "$3/64" dev eth0 nodad
}

# The first process of a machine: gives it a name and file systems of its own, says so in
# DIR/ready, and reaps orphans. When it dies, everything in its pid namespace dies.
#
# /sys must be mounted anew to show the new network namespace, which would lose
# /sys/fs/cgroup: it is bound away and back. Only then may mounts be shared, or unmounting the
# spare copy would unmount the good one. /etc/resolv.conf may lead into /run, empty by then.
# shellcheck disable=SC2016 # expanded by that process
INIT='
    set -e
    hostname "$1"
    mkdir -p "$2/cgroup" && mount --rbind /sys/fs/cgroup "$2/cgroup"
    mount -t sysfs sysfs /sys && mount --rbind "$2/cgroup" /sys/fs/cgroup
    umount -l "$2/cgroup"
    mount -t tmpfs tmpfs /run && mkdir -p /run/lock
    mount -t tmpfs tmpfs /var/log
    printf "127.0.0.1 localhost %s\n::1 localhost\n" "$1" >"$2/hosts"
    mount --bind "$2/hosts" /etc/hosts
    : >"$2/resolv.conf"
    resolv=$(readlink -m /etc/resolv.conf)
    mkdir -p "${resolv%/*}" && [ -e "$resolv" ] || : >"$resolv"
    mount --bind "$2/resolv.conf" "$resolv"
    mount --make-rshared /
    touch "$2/ready"
    while :; do sleep 3600 & wait $!; done'

# machine NAME IP4 IP6: made unless it is there.
machine() {
    local dir=$RUN/$1 outer
    if alive "$dir/init.pid"; then return 0; fi
    mkdir -p "$dir"
    rm -f "$dir"/*.pid "$dir/ready"
    make_switch
    plug "$1" "$2" "$3"
    setsid nsenter --net="/run/netns/$(netns "$1")" \
        unshare --pid --fork --kill-child --mount --uts --mount-proc \
        bash -c "$INIT" "$CLUSTER_NAME-init" "$1" "$dir" </dev/null >>"$LOG/$1-init.log" 2>&1 &
    outer=$!
    wait_for 10 "machine $1" "$LOG/$1-init.log" test -e "$dir/ready"
    pgrep -P "$outer" >"$dir/init.pid"
}

# routes MACHINE: to the other subnet, and to every other node's pods. The default route lets
# a host process dial a Service's address at all; it leads to the control plane's machine,
# which has none and answers "unreachable" for what is nowhere.
routes() {
    local ns i to4=$OUT4 to6=$OUT6
    ns=$(netns "$1")
    if [ "$1" = client ]; then to4=$NET4 to6=$NET6; fi
    ip -n "$ns" route replace "$to4.0/24" dev eth0
    ip -n "$ns" route replace "$to6:/64" dev eth0
    for i in $(seq "$(nodes)"); do
        if [ "$1" = "node$i" ]; then continue; fi
        ip -n "$ns" route replace "$(pods4 "$i")" via "$(node4 "$i")"
        ip -n "$ns" route replace "$(pods6 "$i")" via "$(node6 "$i")"
    done
    if [ "$1" != cp ]; then
        ip -n "$ns" route replace default via "$CP4"
        ip -n "$ns" route replace default via "$CP6"
    fi
}
