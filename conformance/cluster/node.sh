# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What a node runs: containerd with the images, and a kubelet. Sourced by up.sh after lib.sh.
CNI_BIN=${CNI_BIN:-/usr/lib/cni}
CTR=("$BIN/ctr" --address /run/containerd/containerd.sock)

# A cgroup for everything below a node's kubelet. Version 1 has a hierarchy for each set of
# controllers, where a new cpuset is empty; in version 2 controllers are handed down.
cgroups() {
    local hierarchy name=$CLUSTER_NAME-$1 controller
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        mkdir -p "/sys/fs/cgroup/$name"
        for controller in cpu cpuset memory pids io hugetlb; do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
            echo "+$controller" >"/sys/fs/cgroup/$name/cgroup.subtree_control" || true
        done 2>/dev/null
        return 0
    fi
    for hierarchy in /sys/fs/cgroup/*/; do
        if [ ! -e "$hierarchy/cgroup.procs" ]; then continue; fi
        mkdir -p "$hierarchy/$name"
        if [ -e "$hierarchy/$name/cpuset.cpus" ]; then
            cat "$hierarchy/cpuset.cpus" >"$hierarchy/$name/cpuset.cpus"
            cat "$hierarchy/cpuset.mems" >"$hierarchy/$name/cpuset.mems"
        fi
    done
}

# restrict_oom_score_adj: where root lacks CAP_SYS_RESOURCE, runc may not lower the score and
# would die without a word. AppArmor's profiles are the host's.
containerd_config() {
    cat <<END
version = 3
root = "$1/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "$("$BIN/images" names | sed -n 's/^pause=//p')"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$CNI_BIN"]
    conf_dir = "$1/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "$(command -v runc)"
      SystemdCgroup = false
END
}

# Routed, no masquerade: source addresses stay what they are.
cni_config() {
    cat <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam",
    "ranges": [[{"subnet": "$(pods4 "$1")"}], [{"subnet": "$(pods6 "$1")"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
END
}

# Local storage isolation stays on: a spec about evicted pods needs it.
kubelet_config() {
    cat <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$CLUSTER_NAME-$1
cgroupsPerQOS: true
enforceNodeAllocatable: [none]
failCgroupV1: false
failSwapOn: false
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 24h
clusterDNS: ["$DNS4"]
clusterDomain: cluster.local
resolvConf: $2/resolv.conf
podLogsDir: /var/log/pods
volumePluginDir: $2/volumeplugins
registerWithTaints: []
maxPods: 110
END
}

import_images() {
    local node=$1 archive
    if [ "$(cat "$RUN/$node/images.stamp" 2>/dev/null)" = "$(<"$IMAGES/stamp")" ]; then return 0; fi
    for archive in "$IMAGES"/*.tar; do
        on "$node" "${CTR[@]}" -n k8s.io images import --local "$archive" \
            >>"$LOG/$node-images.log" 2>&1 || die "$node: no import of $archive, see $LOG/$node-images.log"
    done
    cp "$IMAGES/stamp" "$RUN/$node/images.stamp"
}

# start_node N
start_node() {
    local node=node$1 dir=$RUN/node$1 zone=$((($1 - 1) % 3 + 1))
    say "$node"
    mkdir -p "$dir/cni" "$dir/containerd" "$dir/kubelet"
    cgroups "$node"
    containerd_config "$dir" >"$dir/containerd.toml"
    cni_config "$1" >"$dir/cni/10-pods.conflist"
    kubelet_config "$node" "$dir" >"$dir/kubelet.yaml"
    daemon "$node" containerd env PATH="$CNI_BIN:$BIN:$PATH" "$BIN/containerd" \
        --config "$dir/containerd.toml"
    wait_for 60 "containerd on $node" "$LOG/$node-containerd.log" on "$node" "${CTR[@]}" version
    import_images "$node"
    daemon "$node" kubelet "$BIN/kubelet" --config "$dir/kubelet.yaml" \
        --root-dir "$dir/kubelet" --cert-dir "$dir/kubelet/pki" \
        --kubeconfig "$RUN/$node.kubeconfig" --hostname-override "$node" \
        --node-ip "$(node4 "$1"),$(node6 "$1")" \
        --node-labels "topology.kubernetes.io/zone=zone-$zone,topology.kubernetes.io/region=here"
}

# finish_node N: waits for its Node, and gives it the pod ranges that the routes know.
finish_node() {
    local ranges
    wait_for 90 "node$1" "$LOG/node$1-kubelet.log" kube get node "node$1"
    if [ -z "$(kube get node "node$1" -o 'jsonpath={.spec.podCIDR}')" ]; then
        ranges="{\"podCIDR\":\"$(pods4 "$1")\",\"podCIDRs\":[\"$(pods4 "$1")\",\"$(pods6 "$1")\"]}"
        kube patch node "node$1" -p "{\"spec\":$ranges}" >/dev/null
    fi
}
