// SPDX-License-Identifier: Apache-2.0
//! Every field of KubeProxyConfiguration: what it does, and what a change of it asks for. The code,
//! docs/configuration.md and the tests use this one table.

/// What a change of a field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is applied while the proxy runs.
    Live,
    /// The process starts anew; the rules stay.
    Restart,
    /// Nothing: the field decides nothing.
    Nothing,
}

/// A field of KubeProxyConfiguration.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its path.
    pub path: &'static str,
    /// The flag that says the same, with its dashes; empty if there is none.
    pub flag: &'static str,
    /// What a change asks for.
    pub effect: Effect,
    /// What it decides, or why nothing; for the documentation.
    pub meaning: &'static str,
}

/// Every field, in the order of the documentation.
pub const FIELDS: &[Field] = &[
    restart(
        "featureGates",
        "--feature-gates",
        "ComponentFlagz, ComponentStatusz, AllowServiceExternalIPs, LoggingAlphaOptions, LoggingBetaOptions, AllAlpha and AllBeta have kube-proxy's meaning; gates that are locked in v1.36 cannot be changed; other gates cost one line in the log",
    ),
    restart(
        "clientConnection.kubeconfig",
        "--kubeconfig",
        "how to reach the API server; empty: the pod's service account",
    ),
    nothing(
        "clientConnection.acceptContentTypes",
        "",
        "ferrule asks for JSON",
    ),
    nothing(
        "clientConnection.contentType",
        "--kube-api-content-type",
        "ferrule asks for JSON",
    ),
    nothing(
        "clientConnection.qps",
        "--kube-api-qps",
        "ferrule lists once and watches; there is nothing to slow down",
    ),
    nothing(
        "clientConnection.burst",
        "--kube-api-burst",
        "as qps; must not be negative",
    ),
    restart("logging.format", "--logging-format", "text or json"),
    live(
        "logging.verbosity",
        "--v",
        "4 and more adds debugging, 6 and more tracing; the flag goes before the file",
    ),
    nothing(
        "logging.flushFrequency",
        "--log-flush-frequency",
        "the log is not buffered",
    ),
    nothing(
        "logging.vmodule",
        "--vmodule",
        "names source files of kube-proxy",
    ),
    nothing(
        "logging.options.text.splitStream",
        "--log-text-split-stream",
        "the log goes to standard error",
    ),
    nothing(
        "logging.options.text.infoBufferSize",
        "--log-text-info-buffer-size",
        "the log is not buffered",
    ),
    nothing(
        "logging.options.json.splitStream",
        "--log-json-split-stream",
        "the log goes to standard error",
    ),
    nothing(
        "logging.options.json.infoBufferSize",
        "--log-json-info-buffer-size",
        "the log is not buffered",
    ),
    restart(
        "hostnameOverride",
        "--hostname-override",
        "name of the own Node; the flag goes before the file",
    ),
    restart(
        "bindAddress",
        "--bind-address",
        "the node's own address, where it is not the Node object's first; nothing is bound to it",
    ),
    restart(
        "healthzBindAddress",
        "--healthz-bind-address",
        "where /healthz and /livez are served; [::] if bindAddress is IPv6; an empty flag: nowhere",
    ),
    restart(
        "metricsBindAddress",
        "--metrics-bind-address",
        "where /metrics, /healthz and /proxyMode are served; [::1] if bindAddress is IPv6; an empty flag: nowhere",
    ),
    restart(
        "bindAddressHardFail",
        "--bind-address-hard-fail",
        "end if one of the two cannot be bound, instead of trying again",
    ),
    live(
        "enableProfiling",
        "--profiling",
        "serve /debug/flags/v and /debug/pprof where metrics are served",
    ),
    nothing(
        "showHiddenMetricsForVersion",
        "--show-hidden-metrics-for-version",
        "ferrule hides no metrics; must be empty or 1.35, as for kube-proxy v1.36",
    ),
    live(
        "mode",
        "--proxy-mode",
        "nftables or ipvs, or a list as `ipvs,nftables`, of which the first counts that the kernel has; iptables means nftables, with NodePorts on all addresses and the settings of the section iptables. From or to ipvs takes a restart",
    ),
    nothing(
        "iptables.masqueradeBit",
        "--iptables-masquerade-bit",
        "no packet mark is used; must be 0 to 31",
    ),
    live(
        "iptables.masqueradeAll",
        "--masquerade-all",
        "with mode iptables: masquerade everything that goes to a ClusterIP",
    ),
    restart(
        "iptables.localhostNodePorts",
        "--iptables-localhost-nodeports",
        "with mode iptables: TCP NodePorts are on loopback too if this is set to true; kube-proxy's default is not enough (nodeports.md)",
    ),
    live(
        "iptables.syncPeriod",
        "--iptables-sync-period",
        "with mode iptables: twice this time without a successful update is unhealthy",
    ),
    nothing(
        "iptables.minSyncPeriod",
        "--iptables-min-sync-period",
        "changes are committed at once; must not be more than syncPeriod",
    ),
    live(
        "ipvs.syncPeriod",
        "--ipvs-sync-period",
        "with mode ipvs: twice this time without a successful update is unhealthy",
    ),
    nothing(
        "ipvs.minSyncPeriod",
        "--ipvs-min-sync-period",
        "changes are committed at once; must not be more than syncPeriod",
    ),
    live(
        "ipvs.scheduler",
        "--ipvs-scheduler",
        "with mode ipvs: the scheduler of Services that choose none; empty: rr",
    ),
    live(
        "ipvs.excludeCIDRs",
        "--ipvs-exclude-cidrs",
        "virtual servers at addresses in these prefixes are not removed, whoever made them",
    ),
    live(
        "ipvs.strictARP",
        "--ipvs-strict-arp",
        "with mode ipvs: net.ipv4.conf.all.arp_ignore is set to 1 and arp_announce to 2; false: left as they are",
    ),
    live(
        "ipvs.tcpTimeout",
        "--ipvs-tcp-timeout",
        "with mode ipvs: how long IPVS keeps an idle TCP connection; 0: left as it is",
    ),
    live(
        "ipvs.tcpFinTimeout",
        "--ipvs-tcpfin-timeout",
        "with mode ipvs: the same after a FIN",
    ),
    live(
        "ipvs.udpTimeout",
        "--ipvs-udp-timeout",
        "with mode ipvs: the same for UDP",
    ),
    nothing(
        "nftables.masqueradeBit",
        "",
        "no packet mark is used; must be 0 to 31",
    ),
    live(
        "nftables.masqueradeAll",
        "--masquerade-all",
        "with mode nftables: masquerade everything that goes to a ClusterIP",
    ),
    live(
        "nftables.syncPeriod",
        "--iptables-sync-period",
        "with mode nftables: twice this time without a successful update is unhealthy",
    ),
    nothing(
        "nftables.minSyncPeriod",
        "--iptables-min-sync-period",
        "changes are committed at once; must not be more than syncPeriod",
    ),
    nothing("winkernel.networkName", "", "Windows only"),
    nothing("winkernel.sourceVip", "", "Windows only"),
    nothing("winkernel.enableDSR", "", "Windows only"),
    nothing("winkernel.rootHnsEndpointName", "", "Windows only"),
    nothing("winkernel.forwardHealthCheckVip", "", "Windows only"),
    live(
        "detectLocalMode",
        "--detect-local-mode",
        "how a pod's traffic is told from others': ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix",
    ),
    live(
        "detectLocal.bridgeInterface",
        "--pod-bridge-interface",
        "for BridgeInterface; 1 to 15 bytes",
    ),
    live(
        "detectLocal.interfaceNamePrefix",
        "--pod-interface-name-prefix",
        "for InterfaceNamePrefix; 1 to 15 bytes",
    ),
    live(
        "clusterCIDR",
        "--cluster-cidr",
        "for ClusterCIDR: a prefix, or one of each family",
    ),
    live(
        "nodePortAddresses",
        "--nodeport-addresses",
        "node addresses that serve NodePorts: prefixes, or the word primary; empty: primary with mode nftables, else all",
    ),
    live(
        "oomScoreAdj",
        "--oom-score-adj",
        "written to /proc/self/oom_score_adj; where that is not allowed, one line in the log",
    ),
    live(
        "conntrack.maxPerCore",
        "--conntrack-max-per-core",
        "nf_conntrack_max is at least this for each processor; 0: left as it is",
    ),
    live(
        "conntrack.min",
        "--conntrack-min",
        "nf_conntrack_max is at least this, unless maxPerCore is 0",
    ),
    live(
        "conntrack.tcpEstablishedTimeout",
        "--conntrack-tcp-timeout-established",
        "nf_conntrack_tcp_timeout_established; 0: left as it is",
    ),
    live(
        "conntrack.tcpCloseWaitTimeout",
        "--conntrack-tcp-timeout-close-wait",
        "nf_conntrack_tcp_timeout_close_wait; 0: left as it is",
    ),
    live(
        "conntrack.tcpBeLiberal",
        "--conntrack-tcp-be-liberal",
        "nf_conntrack_tcp_be_liberal is set to 1; false: left as it is",
    ),
    live(
        "conntrack.udpTimeout",
        "--conntrack-udp-timeout",
        "nf_conntrack_udp_timeout; 0: left as it is",
    ),
    live(
        "conntrack.udpStreamTimeout",
        "--conntrack-udp-timeout-stream",
        "nf_conntrack_udp_timeout_stream; 0: left as it is",
    ),
    nothing(
        "configSyncPeriod",
        "--config-sync-period",
        "objects are watched, not read again; must be more than 0",
    ),
    nothing("portRange", "", "no effect in kube-proxy either"),
    nothing("windowsRunAsService", "", "Windows only"),
];

const fn live(path: &'static str, flag: &'static str, meaning: &'static str) -> Field {
    field(path, flag, Effect::Live, meaning)
}

const fn restart(path: &'static str, flag: &'static str, meaning: &'static str) -> Field {
    field(path, flag, Effect::Restart, meaning)
}

const fn nothing(path: &'static str, flag: &'static str, meaning: &'static str) -> Field {
    field(path, flag, Effect::Nothing, meaning)
}

const fn field(
    path: &'static str,
    flag: &'static str,
    effect: Effect,
    meaning: &'static str,
) -> Field {
    Field {
        path,
        flag,
        effect,
        meaning,
    }
}
