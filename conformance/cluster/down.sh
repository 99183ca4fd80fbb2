#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Takes the cluster down: every process, mount, namespace and cgroup it made. Programs,
# images, logs and results stay in $FERRULE_CLUSTER.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$EUID" -eq 0 ] || die "not root"

# A machine's first process takes everything in its pid namespace along. After a reboot the
# number may be another's.
end_machine() {
    local pid i
    pid=$(<"$1")
    grep -qz "^$CLUSTER_NAME-init\$" "/proc/$pid/cmdline" 2>/dev/null || return 0
    kill -9 "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
}

for file in "$RUN"/*/init.pid; do
    if [ -s "$file" ]; then end_machine "$file"; fi
done
for machine in cp client switch $(seq -f node%g "$MAX_NODES"); do
    if has_netns "$machine"; then ip netns del "$(netns "$machine")"; fi
done
# Version 1 has a directory for each controller, version 2 one for all.
for group in /sys/fs/cgroup/"$CLUSTER_NAME"-node[1-9] /sys/fs/cgroup/*/"$CLUSTER_NAME"-node[1-9]; do
    if [ -d "$group" ]; then find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
done
rm -rf "$RUN"
say "down; programs, images, logs and results stay in $FERRULE_CLUSTER"
