// SPDX-License-Identifier: Apache-2.0
use std::fs;

use serde_json::Value;

use super::*;
use crate::cli::Output;
use crate::debug::schema;
use crate::ingress::lint::Lint;

const INGRESSES: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  creationTimestamp: "2024-01-01T00:00:00Z"
  annotations:
    nginx.ingress.kubernetes.io/proxy-read-timeout: soon
    nginx.ingress.kubernetes.io/limits-rps: "5"
    nginx.ingress.kubernetes.io/enable-modsecurity: "true"
    nginx.ingress.kubernetes.io/ssl-ciphers: DHE-RSA-AES128-GCM-SHA256
    nginx.ingress.kubernetes.io/stream-snippet: "x;"
spec:
  ingressClassName: nginx
  tls: [{hosts: [a.example], secretName: one}]
  rules:
  - host: a.example
    http:
      paths:
      - {path: "/x(.*)", pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /y, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: late, namespace: shop, creationTimestamp: "2024-01-02T00:00:00Z"}
spec:
  ingressClassName: nginx
  tls: [{hosts: [a.example], secretName: two}]
  rules:
  - host: a.example
    http:
      paths:
      - {path: /y, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1beta1
kind: Ingress
metadata: {name: old, namespace: shop}
"#;

const OTHERS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: two, namespace: shop}
data: {tls.crt: YQ==, tls.key: YQ==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
data: {enable-ocsp: 'true', annotations-risk-level: Critical}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: front, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]
";

fn args(directory: &std::path::Path) -> IngressArgs {
    IngressArgs {
        output: Output::Json,
        admin_socket: "/nowhere".into(),
        lint: true,
        manifests: Some(directory.to_owned()),
        configmap: None,
        behaviour: crate::model::Behaviour::IngressNginx,
    }
}

fn of(files: &[(&str, &str)]) -> (Verdict, Lint) {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let mut out = Vec::new();
    let verdict = run(&args(folder.path()), &mut out).expect("a directory that can be read");
    let value: Value = serde_json::from_slice(&out).expect("JSON");
    schema::obeys("lint", &value);
    (verdict, serde_json::from_value(value).expect("a lint"))
}

fn lines(lint: &Lint) -> Vec<String> {
    let line = |f: &crate::ingress::lint::Finding| {
        format!("{} {} {}: {}", f.object, f.annotation, f.kind, f.text)
    };
    lint.findings.iter().map(line).collect()
}

#[test]
fn a_directory_is_looked_at() {
    let (verdict, lint) = of(&[("a.yaml", INGRESSES), ("b.yaml", OTHERS)]);
    assert_eq!(verdict, Verdict::Found);
    assert_eq!(lint.ingresses, 2);
    let lines = lines(&lint);
    for (begin, part) in [
        ("Ingress shop/web proxy-read-timeout invalid", "soon"),
        (
            "Ingress shop/web limits-rps unknown",
            "limit-rps may be meant",
        ),
        ("Ingress shop/web enable-modsecurity refused", "ModSecurity"),
        ("Ingress shop/web ssl-ciphers approximated", "DHE-RSA"),
        ("Ingress shop/web stream-snippet refused", "--tcp-services"),
        (
            "Ingress shop/web stream-snippet webhook",
            "snippets are off",
        ),
        ("Ingress shop/web  webhook", "/x(.*)"),
        ("Ingress shop/web  missing", "Secret shop/one is not there"),
        ("Ingress shop/web  missing", "Service shop/web is not there"),
        ("Ingress shop/late  conflict", "/y"),
        (
            "Ingress shop/late  conflict",
            "certificate from the older Ingress shop/web",
        ),
        ("Ingress shop/old  invalid", "networking.k8s.io/v1beta1"),
        (
            "ConfigMap ingress-nginx/ingress-nginx-controller  unserved",
            "enable-ocsp",
        ),
        ("NetworkPolicy shop/front  policy", "ipBlock"),
    ] {
        let found = lines
            .iter()
            .any(|l| l.starts_with(begin) && l.contains(part));
        assert!(found, "{begin} … {part}\n{}", lines.join("\n"));
    }
    let snippet = |line: &&String| line.contains("stream-snippet webhook");
    assert_eq!(
        lines.iter().filter(snippet).count(),
        1,
        "its risk is allowed"
    );
    assert!(lint.not_checked.iter().any(|text| text.contains("nginx")));
}

#[test]
fn ingresses_alone_are_enough() {
    let clean = INGRESSES.split("---").nth(1).expect("the second");
    let (verdict, lint) = of(&[("a.yaml", clean)]);
    assert_eq!(lines(&lint), [""; 0]);
    assert_eq!(verdict, Verdict::Fine);
    let not_checked = lint.not_checked.join("\n");
    for what in ["Services", "Secrets", "NetworkPolicies", "IngressClasses"] {
        assert!(not_checked.contains(what), "{not_checked}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let (verdict, lint) = of(&[("a.yaml", "kind: [")]);
    assert_eq!(verdict, Verdict::Found);
    assert!(lines(&lint)[0].starts_with("file a.yaml  invalid"));
    let missing = run(&args("/nowhere/at/all".as_ref()), &mut Vec::new());
    assert!(missing.is_err());
}
