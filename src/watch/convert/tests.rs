// SPDX-License-Identifier: Apache-2.0

use std::net::IpAddr;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::model::{Conditions, EndpointSlice, Protocol, Service, TrafficPolicy};
use crate::watch::wire;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a wire type")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A Service with one port, changed by `spec` (and `status` and `metadata` at the top level).
fn observe(spec: Value, status: Value, metadata: Value) -> Observed<Service> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"name": "http", "port": 80}]},
        "status": status,
    });
    for (part, changes) in [("spec", spec), ("metadata", metadata)] {
        for (key, value) in changes.as_object().into_iter().flatten() {
            object[part][key] = value.clone();
        }
    }
    let object: wire::Service = read(object);
    service(&service_name(&object.metadata).expect("a name"), &object)
}

fn of_spec(spec: Value) -> Observed<Service> {
    observe(spec, Value::Null, Value::Null)
}

/// What is left of a spec that has flaws.
fn left(spec: Value, reasons: &[&str]) -> Service {
    let observed = of_spec(spec);
    assert_eq!(observed.skipped, reasons);
    observed.object.expect("a Service")
}

#[test]
fn a_plain_service() {
    let service = left(json!({}), &[]);
    assert_eq!(service.name.to_string(), "shop/web");
    assert_eq!(service.created, i64::MAX);
    assert_eq!(service.cluster_ips, [ip("10.0.0.1")]);
    assert_eq!(service.ports.len(), 1);
    assert_eq!(&*service.ports[0].name, "http");
    assert_eq!(
        (service.ports[0].protocol, service.ports[0].port),
        (Protocol::Tcp, 80)
    );
    assert_eq!(service.internal_policy, TrafficPolicy::Cluster);
    assert_eq!(service.external_policy, TrafficPolicy::Cluster);
    assert_eq!(
        (service.affinity, service.health_check_node_port),
        (None, None)
    );
}

#[test]
fn services_of_no_concern() {
    for (spec, metadata) in [
        (
            json!({"clusterIP": "None", "clusterIPs": ["None"]}),
            json!({}),
        ),
        (json!({"clusterIP": "None", "clusterIPs": null}), json!({})),
        (
            json!({"type": "ExternalName", "clusterIP": "", "clusterIPs": []}),
            json!({}),
        ),
        (
            json!({}),
            json!({"labels": {"service.kubernetes.io/service-proxy-name": "other"}}),
        ),
        (
            json!({}),
            json!({"labels": {"service.kubernetes.io/service-proxy-name": ""}}),
        ),
    ] {
        assert_eq!(
            observe(spec.clone(), Value::Null, metadata),
            Observed::gone(),
            "{spec}"
        );
    }
}

#[test]
fn services_that_cannot_be_used() {
    let reject = |spec, metadata, reason: &str| {
        let observed = observe(spec, Value::Null, metadata);
        assert_eq!(observed.object, None);
        assert_eq!(observed.skipped.len(), 1);
        assert!(
            observed.skipped[0].starts_with(reason),
            "{:?}",
            observed.skipped
        );
    };
    let none = "spec.clusterIP: is empty, and only an API server can allocate one";
    reject(
        json!({"clusterIP": null, "clusterIPs": null}),
        json!({}),
        none,
    );
    reject(
        json!({"clusterIP": "", "clusterIPs": [""]}),
        json!({}),
        none,
    );
    reject(
        json!({"type": "Magic"}),
        json!({}),
        "spec.type: must be ClusterIP, NodePort,",
    );
    let long = "n".repeat(253);
    let reason = "metadata.name: must be at most 63 characters, has 253: \"nnn";
    reject(json!({}), json!({"name": long}), reason);
    let reason = "metadata.namespace: must be at most 63 characters, has 253";
    reject(json!({}), json!({"namespace": long}), reason);
    let reason = "metadata.name: not a name of a-z, 0-9 and inner hyphens: \"a b\\n\"";
    reject(json!({}), json!({"name": "a b\n"}), reason);
    for good in ["n".repeat(63), "1a".into(), "a-1".into()] {
        assert!(
            observe(json!({}), Value::Null, json!({"name": good}))
                .object
                .is_some()
        );
    }
}

#[test]
fn cluster_ips() {
    let ips = |spec, reasons: &[&str]| left(spec, reasons).cluster_ips;
    assert_eq!(ips(json!({"clusterIPs": null}), &[]), [ip("10.0.0.1")]);
    let both = json!({"clusterIPs": ["10.0.0.1", "fd00::1"]});
    assert_eq!(ips(both, &[]), [ip("10.0.0.1"), ip("fd00::1")]);
    let bad = json!({"clusterIPs": ["10.0.0.1", "foo"]});
    assert_eq!(
        ips(bad, &["spec.clusterIPs[1]: not an IP address: \"foo\""]),
        [ip("10.0.0.1")]
    );
    let bad = json!({"clusterIP": "10.0.0.256", "clusterIPs": null});
    let none: [IpAddr; 0] = [];
    assert_eq!(
        ips(bad, &["spec.clusterIP: not an IP address: \"10.0.0.256\""]),
        none
    );
    let twice = json!({"clusterIPs": ["10.0.0.1", "10.0.0.2"]});
    assert_eq!(
        ips(
            twice,
            &["spec.clusterIPs[1]: a second IPv4 address: 10.0.0.2"]
        ),
        [ip("10.0.0.1")]
    );
}

#[test]
fn addresses_that_no_service_may_have() {
    for (address, reason) in [
        ("0.0.0.0", "must not be an unspecified address: 0.0.0.0"),
        ("::", "must not be an unspecified address: ::"),
        ("127.1.2.3", "must not be a loopback address: 127.1.2.3"),
        ("::1", "must not be a loopback address: ::1"),
        (
            "::ffff:127.0.0.1",
            "must not be a loopback address: 127.0.0.1",
        ),
        ("224.0.0.1", "must not be a multicast address: 224.0.0.1"),
        ("ff02::1", "must not be a multicast address: ff02::1"),
        (
            "255.255.255.255",
            "must not be a broadcast address: 255.255.255.255",
        ),
        ("", "not an IP address: \"\""),
        ("10.1.1", "not an IP address: \"10.1.1\""),
        ("10.1.1.1.1", "not an IP address: \"10.1.1.1.1\""),
        ("+10.1.1.1", "not an IP address: \"+10.1.1.1\""),
        ("10.1.1.1/32", "not an IP address: \"10.1.1.1/32\""),
        ("fe80::1%eth0", "not an IP address: \"fe80::1%eth0\""),
    ] {
        let service = of_spec(json!({"externalIPs": ["192.0.2.1", address]}));
        assert_eq!(service.skipped, [format!("spec.externalIPs[1]: {reason}")]);
        assert_eq!(
            service.object.expect("a Service").external_ips,
            [ip("192.0.2.1")]
        );
    }
    // Old objects have such, and Kubernetes reads them so.
    let sloppy = json!({"externalIPs": ["192.000.002.001", "::ffff:192.0.2.2", "192.0.2.1"]});
    assert_eq!(
        left(sloppy, &[]).external_ips,
        [ip("192.0.2.1"), ip("192.0.2.2")]
    );
}

#[test]
fn load_balancer_addresses_by_mode() {
    let status = json!({"loadBalancer": {"ingress": [
        {"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "VIP"},
        {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"hostname": "lb.example"}, {"ip": "x"},
        {"ip": "192.0.2.4", "ipMode": "Other"}]}});
    let observed = observe(json!({"type": "LoadBalancer"}), status, Value::Null);
    assert_eq!(
        observed.skipped,
        [
            "status.loadBalancer.ingress[4].ip: not an IP address: \"x\"",
            "status.loadBalancer.ingress[5].ipMode: must be VIP or Proxy, is \"Other\"",
        ]
    );
    let service = observed.object.expect("a Service");
    assert_eq!(
        service.load_balancer_ips,
        [ip("192.0.2.1"), ip("192.0.2.2")]
    );
}

#[test]
fn source_ranges() {
    let texts = json!([
        " 10.0.0.0/8 ",
        "192.0.2.1/24",
        "2001:db8::/32",
        "10.0.0.0",
        "1.2.3.4/33",
        "010.0.0.0/8",
        "x/8",
        "10.0.0.0/+8"
    ]);
    let service = left(
        json!({"loadBalancerSourceRanges": texts}),
        &[
            "spec.loadBalancerSourceRanges[3]: not a prefix in CIDR notation: \"10.0.0.0\"",
            "spec.loadBalancerSourceRanges[4]: not a prefix in CIDR notation: \"1.2.3.4/33\"",
            "spec.loadBalancerSourceRanges[6]: not a prefix in CIDR notation: \"x/8\"",
            "spec.loadBalancerSourceRanges[7]: not a prefix in CIDR notation: \"10.0.0.0/+8\"",
        ],
    );
    let ranges: Vec<_> = service
        .source_ranges
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        ranges,
        ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8"]
    );
}

#[test]
fn policies() {
    let policies = |spec| {
        let service = left(spec, &[]);
        (service.internal_policy, service.external_policy)
    };
    use TrafficPolicy::{Cluster, Local};
    let both = |kind: &str| json!({"type": kind, "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"});
    assert_eq!(
        policies(both("ClusterIP")),
        (Local, Cluster),
        "nothing comes from outside"
    );
    assert_eq!(policies(both("NodePort")), (Local, Local));
    assert_eq!(policies(both("LoadBalancer")), (Local, Local));
    let external = json!({"externalTrafficPolicy": "Local", "externalIPs": ["192.0.2.1"]});
    assert_eq!(policies(external), (Cluster, Local));
    let bad =
        json!({"type": "NodePort", "internalTrafficPolicy": "local", "externalTrafficPolicy": "x"});
    let service = left(
        bad,
        &[
            "spec.externalTrafficPolicy: must be Cluster or Local, is \"x\"",
            "spec.internalTrafficPolicy: must be Cluster or Local, is \"local\"",
        ],
    );
    assert_eq!(
        (service.internal_policy, service.external_policy),
        (Cluster, Cluster)
    );
}

#[test]
fn affinity() {
    let seconds = |config: Value| {
        of_spec(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}))
    };
    let timeout = |n: Value| json!({"clientIP": {"timeoutSeconds": n}});
    for (config, expected, good) in [
        (Value::Null, 10_800, true),
        (json!({"clientIP": null}), 10_800, true),
        (timeout(json!(1)), 1, true),
        (timeout(json!(86_400)), 86_400, true),
        (timeout(json!(0)), 10_800, false),
        (timeout(json!(86_401)), 10_800, false),
        (timeout(json!("5")), 10_800, false),
    ] {
        let observed = seconds(config.clone());
        assert_eq!(
            observed.skipped.is_empty(),
            good,
            "{config}: {:?}",
            observed.skipped
        );
        assert_eq!(
            observed.object.expect("a Service").affinity,
            Some(expected),
            "{config}"
        );
    }
    assert_eq!(left(json!({"sessionAffinity": "None"}), &[]).affinity, None);
    let reason = "spec.sessionAffinity: must be ClientIP or None, is \"Cookie\"";
    assert_eq!(
        left(json!({"sessionAffinity": "Cookie"}), &[reason]).affinity,
        None
    );
}

#[test]
fn health_check_node_ports() {
    let port = |kind: &str, policy: &str, port: Value| {
        of_spec(json!({"type": kind, "externalTrafficPolicy": policy, "healthCheckNodePort": port}))
    };
    let ok = |kind, policy, number| {
        port(kind, policy, json!(number))
            .object
            .expect("a Service")
            .health_check_node_port
    };
    assert_eq!(ok("LoadBalancer", "Local", 30_000), Some(30_000));
    assert_eq!(ok("LoadBalancer", "Local", 0), None);
    assert_eq!(ok("LoadBalancer", "Cluster", 30_000), None);
    assert_eq!(ok("NodePort", "Local", 30_000), None);
    let bad = port("LoadBalancer", "Local", json!(70_000));
    assert_eq!(
        bad.skipped,
        ["spec.healthCheckNodePort: must be 1 to 65535, is 70000"]
    );
}

#[test]
fn ports_one_by_one() {
    let ports = json!([
        {"name": "a", "port": 80, "nodePort": 30080},
        {"name": "b", "port": 0},
        {"name": "c", "port": 65536},
        {"name": "d", "port": -1},
        {"name": "e"},
        {"name": "f", "port": "http"},
        {"name": "g", "port": 80, "protocol": "ICMP"},
        {"name": "h", "port": 80, "protocol": "UDP", "nodePort": 99999},
        {"name": "i", "port": 80, "protocol": "TCP"},
        {"name": "a", "port": 81},
        {"name": "Not a label", "port": 82},
        {"name": "j", "port": 80, "protocol": "SCTP", "nodePort": 0},
        {"name": "k", "port": 1e30},
    ]);
    let service = left(
        json!({"type": "NodePort", "ports": ports}),
        &[
            "spec.ports[1].port: must be 1 to 65535, is 0",
            "spec.ports[2].port: must be 1 to 65535, is 65536",
            "spec.ports[3].port: must be 1 to 65535, is -1",
            "spec.ports[4].port: is missing, must be 1 to 65535",
            "spec.ports[5].port: must be 1 to 65535, is \"http\"",
            "spec.ports[6].protocol: must be TCP, UDP or SCTP, is \"ICMP\"",
            "spec.ports[7].nodePort: must be 1 to 65535, is 99999",
            "spec.ports[8]: port 80/tcp is there already",
            "spec.ports[9].name: is there already: \"a\"",
            "spec.ports[10].name: not a name of a-z, 0-9 and inner hyphens: \"Not a label\"",
            "spec.ports[12].port: must be 1 to 65535, is 1000000000000000000000000000000",
        ],
    );
    let left: Vec<_> = service
        .ports
        .iter()
        .map(|p| format!("{}:{}/{} {:?}", p.name, p.port, p.protocol, p.node_port))
        .collect();
    assert_eq!(
        left,
        ["a:80/tcp Some(30080)", "h:80/udp None", "j:80/sctp None"]
    );
}

#[test]
fn a_node_port_needs_a_type() {
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    let reason = "spec.ports[0].nodePort: 30080: only for type NodePort or LoadBalancer";
    let service = left(json!({"ports": ports}), &[reason]);
    assert_eq!(
        (service.ports[0].port, service.ports[0].node_port),
        (80, None)
    );
}

#[test]
fn a_thousand_ports_good_and_bad() {
    let ports = |bad: bool| -> Value {
        (1..=1000)
            .map(|i| json!({"name": format!("p{i}"), "port": if bad { 0 } else { i }}))
            .collect()
    };
    assert_eq!(left(json!({"ports": ports(false)}), &[]).ports.len(), 1000);
    let observed = of_spec(json!({"ports": ports(true)}));
    assert_eq!(observed.skipped.len(), 21);
    assert_eq!(observed.skipped[20], "and 980 more fields");
}

#[test]
fn age() {
    let created = |time: &str| observe(json!({}), Value::Null, json!({"creationTimestamp": time}));
    let good = created("1970-01-02T00:00:00Z");
    assert_eq!(
        (good.object.expect("a Service").created, good.skipped.len()),
        (86_400, 0)
    );
    let bad = created("yesterday");
    assert_eq!(bad.object.expect("a Service").created, i64::MAX);
    assert_eq!(
        bad.skipped,
        ["metadata.creationTimestamp: not a time (RFC 3339): \"yesterday\""]
    );
}

fn observe_slice(changes: Value) -> Observed<EndpointSlice> {
    let mut object = json!({
        "metadata": {"name": "web-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.1.0.1"]}],
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    let object: wire::EndpointSlice = read(object);
    slice(&slice_name(&object.metadata).expect("a name"), &object)
}

fn left_of_slice(changes: Value, reasons: &[&str]) -> EndpointSlice {
    let observed = observe_slice(changes);
    assert_eq!(observed.skipped, reasons);
    observed.object.expect("a slice")
}

#[test]
fn a_plain_slice() {
    let slice = left_of_slice(json!({}), &[]);
    assert_eq!(
        (slice.name.to_string(), slice.service.to_string()),
        ("shop/web-1".into(), "shop/web".into())
    );
    assert_eq!((&*slice.ports[0].name, slice.ports[0].port), ("http", 8080));
    let endpoint = &slice.endpoints[0];
    assert_eq!(
        (endpoint.address, endpoint.conditions),
        (ip("10.1.0.1"), Conditions::default())
    );
    assert_eq!(
        (&endpoint.node, &endpoint.zone, &endpoint.hints),
        (&None, &None, &None)
    );
}

#[test]
fn slices_of_no_concern() {
    let labelled = |labels: Value| json!({"metadata": {"name": "s", "labels": labels}});
    for changes in [
        labelled(json!({})),
        labelled(json!({"kubernetes.io/service-name": ""})),
        labelled(
            json!({"kubernetes.io/service-name": "web", "service.kubernetes.io/headless": ""}),
        ),
        json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]}),
    ] {
        assert_eq!(
            observe_slice(changes.clone()),
            Observed::gone(),
            "{changes}"
        );
    }
    let other = observe_slice(json!({"addressType": "IPX"}));
    assert_eq!(
        other,
        Observed::rejected("addressType: must be IPv4, IPv6 or FQDN, is \"IPX\"")
    );
}

#[test]
fn ports_of_a_slice() {
    let ports = json!([{"name": null, "port": 1}, {"name": "x", "port": null}, {"name": "x"},
        {"name": "y", "port": 0}, {"name": "y", "port": 70000}, {"name": "z", "port": 2, "protocol": "x"},
        {"name": "", "port": 3}, {"name": "", "port": 4, "protocol": "UDP"}]);
    let slice = left_of_slice(
        json!({"ports": ports}),
        &[
            "ports[3].port: must be 1 to 65535, is 0",
            "ports[4].port: must be 1 to 65535, is 70000",
            "ports[5].protocol: must be TCP, UDP or SCTP, is \"x\"",
            "ports[6].name: is there already: \"\"",
        ],
    );
    let left: Vec<_> = slice
        .ports
        .iter()
        .map(|p| (&*p.name, p.port, p.protocol))
        .collect();
    assert_eq!(left, [("", 1, Protocol::Tcp), ("", 4, Protocol::Udp)]);
}

#[test]
fn endpoints_one_by_one() {
    let endpoints = json!([
        {"addresses": ["10.1.0.1", "10.9.9.9"], "nodeName": "n1", "zone": "z1",
            "conditions": {"ready": false, "serving": true, "terminating": true},
            "hints": {"forZones": [{"name": "z1"}, {"name": "z2"}], "forNodes": [{"name": "n1"}]}},
        {"addresses": []},
        {"addresses": ["fd00::1"]},
        {"addresses": ["127.0.0.1"]},
        {"addresses": ["169.254.1.1"]},
        {"addresses": ["web.example"]},
        {"addresses": ["10.1.0.2"], "conditions": {"ready": null}, "hints": {}},
        {"addresses": ["10.1.0.3"], "conditions": {"ready": false}, "hints": null},
    ]);
    let slice = left_of_slice(
        json!({"endpoints": endpoints}),
        &[
            "endpoints[1].addresses[0]: is missing",
            "endpoints[2].addresses[0]: not an IPv4 address: fd00::1",
            "endpoints[3].addresses[0]: must not be a loopback address: 127.0.0.1",
            "endpoints[4].addresses[0]: must not be a link-local address: 169.254.1.1",
            "endpoints[5].addresses[0]: not an IP address: \"web.example\"",
        ],
    );
    let of = |i: usize| (slice.endpoints[i].address, slice.endpoints[i].conditions);
    let conditions = |ready, serving, terminating| Conditions {
        ready,
        serving,
        terminating,
    };
    assert_eq!(slice.endpoints.len(), 3);
    assert_eq!(of(0), (ip("10.1.0.1"), conditions(false, true, true)));
    assert_eq!(of(1), (ip("10.1.0.2"), conditions(true, true, false)));
    assert_eq!(of(2), (ip("10.1.0.3"), conditions(false, true, false)));
    let first = &slice.endpoints[0];
    assert_eq!(
        (first.node.as_deref(), first.zone.as_deref()),
        (Some("n1"), Some("z1"))
    );
    let hints = first.hints.as_deref().expect("hints");
    assert_eq!((hints.zones.len(), &*hints.nodes[0]), (2, "n1"));
    assert_eq!(slice.endpoints[1].hints, None, "empty hints are none");
}

#[test]
fn when_a_slice_was_triggered() {
    let at = |time: &str| {
        observe_slice(
            json!({"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": time}}}),
        )
    };
    let good = at("1970-01-01T00:00:01.5Z");
    assert_eq!(good.object.expect("a slice").triggered_at, Some(1_500));
    let bad = at("now");
    assert_eq!(
        (bad.object.expect("a slice").triggered_at, bad.skipped.len()),
        (None, 1)
    );
}

fn observe_endpoints(changes: Value) -> Vec<(SliceName, Observed<EndpointSlice>)> {
    let mut object = json!({"metadata": {"name": "db"}});
    for (key, value) in changes.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    let object: wire::Endpoints = read(object);
    endpoints(&slice_name(&object.metadata).expect("a name"), &object)
}

#[test]
fn endpoints_become_a_slice_for_each_subset_and_family() {
    let slices = observe_endpoints(json!({"subsets": [
        {"addresses": [{"ip": "192.0.2.1", "nodeName": "n1"}, {"ip": "2001:db8::1"}],
            "notReadyAddresses": [{"ip": "192.0.2.2"}, {"ip": "foo"}], "ports": [{"port": 5432}]},
        {"addresses": null, "ports": null},
        {"addresses": [{"ip": "192.0.2.3"}], "ports": [{"name": "x", "port": 0}]},
    ]}));
    let names: Vec<_> = slices.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(
        names,
        [
            "default/endpoints/db",
            "default/endpoints/db/2",
            "default/endpoints/db/3"
        ]
    );
    let reasons: Vec<_> = slices.iter().flat_map(|(_, o)| o.skipped.clone()).collect();
    assert_eq!(
        reasons,
        [
            "subsets[0].notReadyAddresses[1].ip: not an IP address: \"foo\"",
            "subsets[2].ports[0].port: must be 1 to 65535, is 0",
        ]
    );
    let slices: Vec<_> = slices
        .into_iter()
        .map(|(_, o)| o.object.expect("a slice"))
        .collect();
    assert!(slices.iter().all(|s| s.service.to_string() == "default/db"));
    let addresses = |i: usize| -> Vec<_> {
        slices[i]
            .endpoints
            .iter()
            .map(|e| (e.address.to_string(), e.conditions.ready))
            .collect()
    };
    assert_eq!(
        addresses(0),
        [("192.0.2.1".into(), true), ("192.0.2.2".into(), false)]
    );
    assert_eq!(addresses(1), [("2001:db8::1".into(), true)]);
    assert_eq!(slices[1].ports[0].port, 5432);
    assert_eq!(slices[2].ports, []);
}

#[test]
fn endpoints_that_are_not_mirrored() {
    let labelled = |what: &str, key: &str| {
        json!({"metadata": {"name": "db", what: {key: "true"}},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]})
    };
    assert_eq!(observe_endpoints(labelled("labels", "other")).len(), 1);
    assert!(
        observe_endpoints(labelled(
            "labels",
            "endpointslice.kubernetes.io/skip-mirror"
        ))
        .is_empty()
    );
    let lock = labelled("annotations", "control-plane.alpha.kubernetes.io/leader");
    assert!(observe_endpoints(lock).is_empty());
}

#[test]
fn the_own_node() {
    let object: wire::Node = read(json!({
        "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}},
        "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "x", "fd00::/64"], "taints": null},
        "status": {"addresses": [{"type": "Hostname", "address": "n1"},
            {"type": "ExternalIP", "address": "198.51.100.1"}, {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "InternalIP", "address": "2001:db8::1"}, {"type": "InternalIP", "address": "?"}]},
    }));
    let observed = node(&"n1".into(), &object);
    assert_eq!(
        observed.skipped,
        [
            "status.addresses[4].address: not an IP address: \"?\"",
            "spec.podCIDRs[1]: not a prefix in CIDR notation: \"x\""
        ]
    );
    let node = observed.object.expect("a Node");
    assert_eq!(
        node.addresses,
        [ip("192.0.2.1"), ip("2001:db8::1"), ip("198.51.100.1")]
    );
    assert_eq!(node.pod_cidrs.len(), 2);
    assert_eq!((node.zone.as_deref(), node.leaving), (Some("z1"), false));
}

#[test]
fn a_node_that_leaves() {
    let leaving = |object: Value| {
        let object: wire::Node = read(object);
        node(&"n1".into(), &object).object.expect("a Node").leaving
    };
    let taint = |key: &str| json!({"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}});
    assert!(leaving(taint("ToBeDeletedByClusterAutoscaler")));
    assert!(!leaving(taint("DeletionCandidateOfClusterAutoscaler")));
    assert!(leaving(
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    ));
    let old: wire::Node = read(json!({"spec": {"podCIDR": "10.0.0.0/24"}}));
    assert_eq!(
        node(&"n1".into(), &old)
            .object
            .expect("a Node")
            .pod_cidrs
            .len(),
        1
    );
}

#[test]
fn service_cidrs() {
    let object: wire::ServiceCidr =
        read(json!({"spec": {"cidrs": ["10.96.0.0/12", "fd00::/112", "y"]}}));
    let observed = service_cidr(&object);
    assert_eq!(observed.object.expect("prefixes").len(), 2);
    assert_eq!(
        observed.skipped,
        ["spec.cidrs[2]: not a prefix in CIDR notation: \"y\""]
    );
}

/// Strings that are likely to upset something.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9-]{0,70}",
        "\\PC{0,10}",
        "[0-9.:/a-f%]{0,24}",
        Just("None".into()),
        Just("10.0.0.1".into()),
        Just("fd00::1/200".into()),
        Just("TCP".into()),
        Just("Local".into()),
        Just("LoadBalancer".into()),
        Just("ClientIP".into()),
        Just("IPv4".into()),
        "[0-9]{1,20}-[0-9]{2}-[0-9]{2}T00:00:00Z",
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..70_000_i64).prop_map(Value::from),
        text().prop_map(Value::from),
    ]
}

/// Any JSON whose keys are fields of the objects.
fn tree() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "creationTimestamp",
        "spec",
        "type",
        "clusterIP",
        "clusterIPs",
        "externalIPs",
        "ports",
        "port",
        "nodePort",
        "protocol",
        "selector",
        "loadBalancerSourceRanges",
        "sessionAffinity",
        "sessionAffinityConfig",
        "clientIP",
        "timeoutSeconds",
        "healthCheckNodePort",
        "externalTrafficPolicy",
        "status",
        "loadBalancer",
        "ingress",
        "ip",
        "ipMode",
        "addressType",
        "endpoints",
        "addresses",
        "conditions",
        "ready",
        "hints",
        "forZones",
        "subsets",
        "notReadyAddresses",
        "podCIDRs",
        "taints",
        "key",
        "cidrs",
        "kubernetes.io/service-name",
        "endpoints.kubernetes.io/last-change-trigger-time",
    ]);
    leaf().prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(keys.clone(), inner, 0..12)
                .prop_map(|map| { map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect() }),
        ]
    })
}

/// Well-formed Services of unlikely values, of which more gets past the parser.
fn wild_service() -> impl Strategy<Value = Value> {
    let texts = || prop::collection::vec(text(), 0..4);
    let port = (leaf(), leaf(), text(), text()).prop_map(|(port, node_port, name, protocol)| {
        json!({"port": port, "nodePort": node_port, "name": name, "protocol": protocol})
    });
    let ports = prop::collection::vec(port, 0..6);
    (text(), text(), texts(), texts(), texts(), ports, leaf(), text(), text()).prop_map(
        |(name, kind, cluster, external, ranges, ports, number, policy, time)| {
            json!({"metadata": {"name": name, "creationTimestamp": time},
                "spec": {"type": kind, "clusterIPs": cluster, "externalIPs": external, "ports": ports,
                    "loadBalancerSourceRanges": ranges, "externalTrafficPolicy": policy,
                    "healthCheckNodePort": number, "sessionAffinity": "ClientIP",
                    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": number}}},
                "status": {"loadBalancer": {"ingress": [{"ip": policy}]}}})
        },
    )
}

fn convert_as_everything(value: &Value) {
    if let Ok(object) = serde_json::from_value::<wire::Service>(value.clone()) {
        let name = service_name(&object.metadata).unwrap_or_else(|| ServiceName::new("", ""));
        let observed = service(&name, &object);
        if let Some(service) = observed.object {
            assert!(
                service
                    .ports
                    .iter()
                    .all(|p| p.port > 0 && p.node_port != Some(0))
            );
            assert!(service.cluster_ips.len() <= 2);
            assert!(service.name.name.len() <= 63 && service.name.namespace.len() <= 63);
        }
        assert!(
            observed.skipped.iter().all(|r| !r.contains('\n')),
            "reasons are single lines"
        );
    }
    let name = SliceName::new("default", "x");
    if let Ok(object) = serde_json::from_value::<wire::EndpointSlice>(value.clone()) {
        let _ = slice(&name, &object);
    }
    if let Ok(object) = serde_json::from_value::<wire::Endpoints>(value.clone()) {
        let _ = endpoints(&name, &object);
    }
    if let Ok(object) = serde_json::from_value::<wire::Node>(value.clone()) {
        let _ = node(&"n".into(), &object);
    }
    if let Ok(object) = serde_json::from_value::<wire::ServiceCidr>(value.clone()) {
        let _ = service_cidr(&object);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_parses_never_panics(value in tree()) {
        convert_as_everything(&value);
    }

    #[test]
    fn unlikely_services_never_panic(value in wild_service()) {
        prop_assert!(serde_json::from_value::<wire::Service>(value.clone()).is_ok());
        convert_as_everything(&value);
    }
}
