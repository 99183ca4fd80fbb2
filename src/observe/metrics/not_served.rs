// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy v1.36 has and ferrule has not.

/// Names and the reasons; a `*` at the end stands for anything. docs/metrics.md shows the same.
pub const NOT_SERVED: &[(&str, &str)] = &[
    (
        "kubernetes_build_info",
        "the alert KubeVersionMismatch of kubernetes-mixin fires as soon as two versions are \
         served under this name; ours is `ferrule_build_info`",
    ),
    (
        "kubernetes_feature_enabled",
        "Kubernetes' feature gates; ferrule has none",
    ),
    ("go_*", "the Go runtime's"),
    ("aggregator_*", "an API server's; zero in every kube-proxy"),
    ("apiserver_*", "an API server's; zero in every kube-proxy"),
    (
        "cardinality_enforcement_unexpected_categorizations_total",
        "of Kubernetes' metrics library",
    ),
    ("disabled_metrics_total", "of Kubernetes' metrics library"),
    ("hidden_metrics_total", "of Kubernetes' metrics library"),
    ("registered_metrics_total", "of Kubernetes' metrics library"),
    (
        "process_network_*",
        "on the host's network it counts the whole host's traffic, not the process's",
    ),
    (
        "rest_client_exec_plugin_*",
        "kube-proxy in a pod has no credential plugin",
    ),
    (
        "rest_client_rate_limiter_duration_seconds",
        "requests wait for nothing: there are four watches",
    ),
    (
        "rest_client_request_size_bytes",
        "a proxy sends no bodies worth counting",
    ),
    (
        "rest_client_response_size_bytes",
        "objects are read as they stream in",
    ),
    ("rest_client_transport_*", "of Go's HTTP transport"),
    (
        "kubeproxy_sync_proxy_rules_iptables_*",
        "kube-proxy's iptables and ipvs modes only",
    ),
    (
        "kubeproxy_iptables_*",
        "kube-proxy's iptables mode only; no packet of ours is counted",
    ),
];
