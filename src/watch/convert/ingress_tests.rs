// SPDX-License-Identifier: Apache-2.0

use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::model::ingress::{IngressBackend, IngressPathType, PortRef};
use crate::model::{Behaviour, Ingress, IpFamily, Protocol};
use crate::watch::wire::ingress as wire;

fn observe(spec: Value) -> Observed<Ingress> {
    let object = json!({
        "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "1970-01-01T00:00:09Z",
            "annotations": {"nginx.ingress.kubernetes.io/app-root": "/a", "other": "x",
                "kubernetes.io/ingress.class": "nginx"}},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}},
    });
    let object: wire::Ingress = serde_json::from_value(object).expect("a wire type");
    ingress(&service_name(&object.metadata).expect("a name"), &object)
}

/// What is left of a spec that has flaws.
fn left(spec: Value, reasons: &[&str]) -> Ingress {
    let observed = observe(spec);
    assert_eq!(observed.skipped, reasons);
    observed.object.expect("an Ingress")
}

fn paths(paths: Value) -> Value {
    json!({"rules": [{"host": "A.com", "http": {"paths": paths}}]})
}

#[test]
fn a_whole_ingress() {
    let service = json!({"service": {"name": "a", "port": {"number": 80}}});
    let ingress = left(
        json!({
            "ingressClassName": "ferrule",
            "defaultBackend": service,
            "rules": [
                {"host": "*.Example.com", "http": {"paths": [
                    {"path": "/a", "pathType": "Exact", "backend": service},
                    {"pathType": "ImplementationSpecific",
                     "backend": {"service": {"name": "b", "port": {"name": "http"}}}}]}},
                {"host": "empty.example.com"},
            ],
            "tls": [{"hosts": ["*.example.com"], "secretName": "cert"}, {"secretName": "other"}],
        }),
        &[],
    );
    assert_eq!(ingress.created, 9);
    assert_eq!(ingress.class.as_deref(), Some("ferrule"));
    assert_eq!(ingress.class_annotation.as_deref(), Some("nginx"));
    assert_eq!(ingress.annotations.len(), 1);
    assert_eq!(ingress.annotations["app-root"], "/a".into());
    assert_eq!(ingress.addresses, ["192.0.2.1".into(), "lb.example".into()]);
    let backend = |name: &str, port| IngressBackend::Service {
        name: name.into(),
        port,
    };
    let number = PortRef::Number(80);
    assert_eq!(ingress.default_backend, Some(backend("a", number.clone())));
    let rule = &ingress.rules[0];
    assert_eq!(&*rule.host, "*.example.com");
    assert_eq!(rule.paths[0].kind, IngressPathType::Exact);
    assert_eq!(rule.paths[0].backend, backend("a", number));
    assert_eq!(&*rule.paths[1].path, "");
    assert_eq!(
        rule.paths[1].backend,
        backend("b", PortRef::Name("http".into()))
    );
    assert_eq!(ingress.rules[1].paths, []);
    assert_eq!(ingress.tls.len(), 2);
    assert_eq!(ingress.tls[1].hosts, []);
}

#[test]
fn a_bad_path_costs_only_itself() {
    let good = json!({"service": {"name": "a", "port": {"number": 80}}});
    let ingress = left(
        paths(json!([
            {"path": "/", "backend": good},
            {"path": "/", "pathType": "Regex", "backend": good},
            {"path": "x", "pathType": "Prefix", "backend": good},
            {"pathType": "Exact", "backend": good},
            {"path": "/a/../b", "pathType": "Exact", "backend": good},
            {"path": "/a//b", "pathType": "Prefix", "backend": good},
            {"path": "/good/", "pathType": "Prefix", "backend": good},
            {"path": "/a//b", "pathType": "ImplementationSpecific", "backend": good},
        ])),
        &[
            "spec.rules[0].http.paths[0].pathType: must be Exact, Prefix or \
             ImplementationSpecific, is \"\"",
            "spec.rules[0].http.paths[1].pathType: must be Exact, Prefix or \
             ImplementationSpecific, is \"Regex\"",
            "spec.rules[0].http.paths[2].path: must begin with a slash: \"x\"",
            "spec.rules[0].http.paths[3].path: must begin with a slash: \"\"",
            "spec.rules[0].http.paths[4].path: no request has it: //, /./ and /../ are resolved: \
             \"/a/../b\"",
            "spec.rules[0].http.paths[5].path: no request has it: //, /./ and /../ are resolved: \
             \"/a//b\"",
        ],
    );
    assert_eq!(&*ingress.rules[0].host, "a.com");
    assert_eq!(ingress.rules[0].paths.len(), 2);
}

#[test]
fn a_bad_backend_keeps_its_path() {
    let of = |backend: Value| json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let ingress = left(
        paths(json!([
            of(json!({"resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "b"}})),
            of(Value::Null),
            of(json!({"service": {"name": "A_b", "port": {"number": 80}}})),
            of(json!({"service": {"name": "a", "port": {}}})),
            of(json!({"service": {"name": "a", "port": {"number": 70000}}})),
            of(json!({"service": {"name": "a", "port": {"number": 1, "name": "x"}}})),
        ])),
        &[
            "spec.rules[0].http.paths[0].backend.resource: is not served, only a Service is: \
             \"Bucket\"",
            "spec.rules[0].http.paths[1].backend: is missing",
            "spec.rules[0].http.paths[2].backend.service.name: not a name of a-z, 0-9 and inner \
             hyphens: \"A_b\"",
            "spec.rules[0].http.paths[3].backend.service.port: must have a number or a name",
            "spec.rules[0].http.paths[4].backend.service.port: must be 1 to 65535, is 70000",
            "spec.rules[0].http.paths[5].backend.service.port: must have a number or a name, has \
             both",
        ],
    );
    let unusable =
        |path: &crate::model::ingress::IngressPath| path.backend == IngressBackend::Unusable;
    assert!(ingress.rules[0].paths.iter().all(unusable));
    assert_eq!(ingress.rules[0].paths.len(), 6);
}

#[test]
fn a_rule_that_lost_all_paths_is_not_one_without_paths() {
    let ingress = left(
        json!({
            "rules": [
                {"host": "a_b.com"},
                {"host": "a.com", "http": {"paths": [{"path": "/", "pathType": "X"}]}},
                {"host": "*.*.com"},
            ],
            "tls": [{"hosts": ["", "a_b"], "secretName": "s"}, {"hosts": ["a.com"], "secretName": "S"}],
        }),
        &[
            "spec.rules[0].host: not a domain name in lower case: \"a_b.com\"",
            "spec.rules[1].http.paths[0].pathType: must be Exact, Prefix or \
             ImplementationSpecific, is \"X\"",
            "spec.rules[2].host: not a domain name in lower case: \"*.com\"",
            "spec.tls[0].hosts[0]: is empty",
            "spec.tls[0].hosts[1]: not a domain name in lower case: \"a_b\"",
            "spec.tls[1].secretName: not a domain name in lower case: \"S\"",
        ],
    );
    assert_eq!(ingress.rules, []);
    assert_eq!(ingress.tls, []);
}

#[test]
fn classes() {
    let class = |annotations: Value| {
        let object = json!({"metadata": {"name": "c", "annotations": annotations},
            "spec": {"controller": "ferrule.dev/ingress"}});
        let object: wire::IngressClass = serde_json::from_value(object).expect("a wire type");
        ingress_class(&"c".into(), &object).object.expect("a class")
    };
    let key = "ingressclass.kubernetes.io/is-default-class";
    assert!(class(json!({key: "true"})).is_default);
    assert!(!class(json!({key: "false"})).is_default);
    assert!(!class(Value::Null).is_default);
    let behaviour = |text: &str| class(json!({"ferrule.dev/behaviour": text})).behaviour;
    assert_eq!(behaviour("spec"), Some(Behaviour::Spec));
    assert_eq!(behaviour("ingress-nginx"), Some(Behaviour::IngressNginx));
    assert_eq!(behaviour("nginx"), None);
    assert_eq!(class(Value::Null).behaviour, None);
    assert_eq!(&*class(Value::Null).controller, "ferrule.dev/ingress");
}

#[test]
fn services_of_all_types_are_upstreams() {
    let convert = |spec: Value| {
        let object = json!({"metadata": {"name": "s"}, "spec": spec});
        let object: wire::Upstream = serde_json::from_value(object).expect("a wire type");
        upstream(&service_name(&object.metadata).expect("a name"), &object)
    };
    let plain = convert(json!({"clusterIP": "2001:db8::1", "ports": [
        {"port": 80, "name": "http", "targetPort": "web", "appProtocol": "kubernetes.io/h2c"},
        {"port": 53, "protocol": "UDP"}, {"port": 0}, {"port": 8443, "targetPort": 443}]}));
    assert_eq!(
        plain.skipped,
        ["spec.ports[2].port: must be 1 to 65535, is 0"]
    );
    let service = plain.object.expect("a Service");
    assert_eq!(service.family, IpFamily::V6);
    assert_eq!(service.ports.len(), 3);
    assert_eq!(service.ports[0].target, None);
    assert_eq!(service.ports[1].protocol, Protocol::Udp);
    assert_eq!(service.ports[2].target, Some(443));
    let headless = convert(json!({"clusterIP": "None", "ipFamilies": ["IPv6"]}));
    assert_eq!(headless.object.expect("a Service").family, IpFamily::V6);
    let named = |name: &str| convert(json!({"type": "ExternalName", "externalName": name}));
    let external = named("API.example.com.")
        .object
        .expect("a Service")
        .external;
    assert_eq!(external.as_deref(), Some("api.example.com"));
    let wrong = named("a b");
    assert_eq!(
        wrong.skipped,
        ["spec.externalName: not a domain name in lower case: \"a b\""]
    );
}

#[test]
fn secrets_are_decoded_and_never_shown() {
    let convert = |object: Value| {
        let mut object = object;
        object["metadata"] = json!({"name": "s"});
        let object: wire::Secret = serde_json::from_value(object).expect("a wire type");
        assert!(!format!("{object:?}").contains("c2VjcmV0"), "{object:?}");
        secret(&service_name(&object.metadata).expect("a name"), &object)
    };
    let data = json!({"tls.crt": "Y2VydA==", "tls.key": "c2VjcmV0", "other": "eA=="});
    let good = convert(json!({"type": "kubernetes.io/tls", "data": data}));
    assert_eq!(good.skipped, [""; 0]);
    let shown = format!("{good:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("115"),
        "{shown}"
    );
    let good = good.object.expect("a Secret");
    assert_eq!(good.certificate.as_deref(), Some(&b"cert"[..]));
    assert_eq!(good.key.as_deref(), Some(&b"secret"[..]));
    assert_eq!(good.authority, None);
    let wrong = convert(json!({"data": {"tls.key": "c2VjcmV0*"}}));
    assert_eq!(wrong.skipped, ["data[tls.key]: not base64"]);
    let plain = convert(json!({"stringData": {"auth": "a:b"}, "data": {"auth": "eA=="}}));
    assert_eq!(
        plain.object.expect("a Secret").auth.as_deref(),
        Some(&b"a:b"[..])
    );
}

#[test]
fn slices_of_headless_services_are_for_the_sidecar_only() {
    let object: crate::watch::wire::EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "h",
            "service.kubernetes.io/headless": ""}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
    }))
    .expect("a wire type");
    let name = slice_name(&object.metadata).expect("a name");
    assert_eq!(slice(&name, &object), Observed::gone());
    let found = any_slice(&name, &object).object.expect("a slice");
    let expected: IpAddr = "10.0.0.1".parse().expect("an address");
    assert_eq!(found.endpoints[0].address, expected);
}
