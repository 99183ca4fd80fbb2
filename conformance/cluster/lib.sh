# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Settings and helpers of the other scripts, which source it. All settings in capitals can be
# given in the environment.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Where programs, images, state, logs and results are. Not below the source tree: paths of
# unix sockets, which end at 108 characters, begin with it.
FERRULE_CLUSTER=${FERRULE_CLUSTER:-/var/tmp/ferrule-cluster}
# Begins the names of network namespaces and cgroups. Two clusters side by side need two
# names and two values of FERRULE_CLUSTER.
CLUSTER_NAME=${CLUSTER_NAME:-ferrule}
NICENESS=${NICENESS:-5}
BIN=$FERRULE_CLUSTER/bin
IMAGES=$FERRULE_CLUSTER/images
RUN=$FERRULE_CLUSTER/run
LOG=$FERRULE_CLUSTER/log
MAX_NODES=9

say() { printf '==> %s %s\n' "$(date +%T)" "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# NODES as given, else as the cluster has that is up, else three.
nodes() {
    local n=${NODES:-}
    if [ -z "$n" ] && [ -s "$RUN/nodes" ]; then n=$(<"$RUN/nodes"); fi
    n=${n:-3}
    [[ $n =~ ^[1-9]$ ]] || die "NODES must be a number from 1 to $MAX_NODES, not \"$n\""
    echo "$n"
}
node_names() { seq -f node%g "$(nodes)"; }

# Addresses. Each machine is a set of namespaces of its own, so they collide with nothing.
# The switch carries two subnets: the nodes', and one for the client outside. Upstream's specs
# take every address in a node's IPv4 /16 or IPv6 /64 for a node's own.
NET4=172.30.0 NET6=fd00:172:30:
OUT4=192.168.30 OUT6=fd00:192:30:
CP4=$NET4.2 CP6=$NET6:2
CLIENT4=$OUT4.100 CLIENT6=$OUT6:100
SERVICES4=10.96.0.0/16 SERVICES6=fd00:10:96::/112
PODS4=10.244.0.0/16 PODS6=fd00:10:244::/48
LB4=172.31.0. LB6=fd00:172:31::
KUBERNETES4=10.96.0.1 KUBERNETES6=fd00:10:96::1
DNS4=10.96.0.10
API=https://$CP4:6443
node4() { echo "$NET4.$((10 + $1))"; }
node6() { printf '%s:%x\n' "$NET6" $((16 + $1)); }
pods4() { echo "10.244.$1.0/24"; }
pods6() { echo "fd00:10:244:$1::/64"; }

netns() { echo "$CLUSTER_NAME-$1"; }
has_netns() { [ -e "/run/netns/$(netns "$1")" ]; }
alive() { [ -s "$1" ] && kill -0 "$(<"$1")" 2>/dev/null; }

# The first process of a machine (cp, client, nodeN), which holds its namespaces.
init_pid() {
    alive "$RUN/$1/init.pid" || die "no machine $1: is the cluster up (make cluster-up)?"
    echo "$(<"$RUN/$1/init.pid")"
}

# on MACHINE COMMAND...: in its network, mount, pid and host name namespaces.
on() {
    local pid
    pid=$(init_pid "$1") || exit 1
    shift
    nsenter -t "$pid" -n -m -p -u -- "$@"
}

# daemon MACHINE NAME COMMAND...: in the background, once; output to $LOG/MACHINE-NAME.log.
daemon() {
    local machine=$1 name=$2 pid
    shift 2
    if alive "$RUN/$machine/$name.pid"; then return 0; fi
    pid=$(init_pid "$machine") || exit 1
    (
        exec </dev/null >>"$LOG/$machine-$name.log" 2>&1
        setsid nsenter -t "$pid" -n -m -p -u -- nice -n "$NICENESS" "$@" &
        echo $! >"$RUN/$machine/$name.pid"
    )
}

# The daemon's own process: nsenter stays in front of it and passes no signals on.
daemon_pid() { pgrep -P "$(<"$RUN/$1/$2.pid")"; }

# stop MACHINE NAME: ends a daemon, by force after five seconds.
stop() {
    local file=$RUN/$1/$2.pid outer inner i
    if alive "$file"; then
        outer=$(<"$file")
        inner=$(daemon_pid "$1" "$2" || true)
        if [ -n "$inner" ]; then kill "$inner" 2>/dev/null || true; fi
        for ((i = 0; i < 50; i++)); do
            kill -0 "$outer" 2>/dev/null || break
            sleep 0.1
        done
        if kill -0 "$outer" 2>/dev/null; then kill -9 ${inner:+"$inner"} "$outer" || true; fi
    fi
    rm -f "$file"
}

# wait_for SECONDS WHAT LOGFILE COMMAND...: until the command succeeds.
wait_for() {
    local seconds=$1 what=$2 log=$3 end
    shift 3
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$end" ]; then
            if [ -s "$log" ]; then tail -n 5 "$log" >&2; fi
            die "$what did not come up in $seconds s, see $log"
        fi
        sleep 0.5
    done
}

# kubectl as the cluster's administrator.
kube() {
    local pid
    pid=$(init_pid cp) || exit 1
    nsenter -t "$pid" -n -- "$BIN/kubectl" --kubeconfig "$RUN/admin.kubeconfig" "$@"
}
