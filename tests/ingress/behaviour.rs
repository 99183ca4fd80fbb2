// SPDX-License-Identifier: Apache-2.0
//! The whole program with an IngressClass of each behaviour: what they do without an annotation, and
//! how a class changes its behaviour.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::hand_over::{Process, manifests};
use super::rig::{Answer, Client, Endpoint, eventually, own_address};

const INGRESS: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
    metadata: {name: NAME, namespace: default}\nspec:\n  ingressClassName: NAME\n\
    \x20 tls: [{hosts: [NAME.example]}]\n\
    \x20 rules:\n  - host: NAME.example\n    http: {paths: [{path: /, pathType: Prefix, \
    backend: {service: {name: web, port: {number: 80}}}}]}\n";

/// A class of this controller, perhaps with a behaviour of its own, and an Ingress of it.
fn class(folder: &Path, name: &str, controller: &str, behaviour: &str) {
    let annotation = match behaviour {
        "" => String::new(),
        text => format!("ferrule.dev/behaviour: {text}"),
    };
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\n\
         metadata: {{name: {name}, annotations: {{{annotation}}}}}\n\
         spec: {{controller: {controller}}}\n---\n{}",
        INGRESS.replace("NAME", name)
    );
    let new = folder.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, folder.join(name).with_extension("yaml")).unwrap();
}

fn get(http: SocketAddr, host: &str) -> Answer {
    Client::connect(http).ask(format!("GET /x HTTP/1.1\r\nHost: {host}.example\r\n\r\n"))
}

#[test]
fn classes_have_behaviours() {
    const NGINX: &str = "k8s.io/ingress-nginx";
    const OURS: &str = "ferrule.dev/ingress";
    let Some(own) = own_address() else { return };
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), Endpoint::echo_at(own).address);
    class(folder.path(), "nginx", NGINX, "");
    class(folder.path(), "ours", OURS, "");
    class(folder.path(), "nginx-spec", NGINX, "spec");
    class(folder.path(), "ours-nginx", OURS, "ingress-nginx");
    let flags = [
        "--controller-class=ferrule.dev/ingress,k8s.io/ingress-nginx",
        "--ingress-class=none",
    ];
    let http = Endpoint::nobody();
    let process = Process::start(folder.path(), http, &flags);
    eventually("it listens", || TcpStream::connect(http).is_ok());
    eventually("it serves", || get(http, "ours").status == 200);
    for (host, status) in [
        ("nginx", 308),
        ("ours", 200),
        ("nginx-spec", 200),
        ("ours-nginx", 308),
    ] {
        assert_eq!(get(http, host).status, status, "{host}");
    }
    class(folder.path(), "ours", OURS, "ingress-nginx");
    eventually("the class has changed", || get(http, "ours").status == 308);
    // What cannot be read is told, and the controller decides.
    class(folder.path(), "ours", OURS, "nginx");
    eventually("the class is as before", || get(http, "ours").status == 200);

    let metrics = || {
        let mut client = Client::connect(process.health);
        client.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").body
    };
    let counted = |line: &str| metrics().lines().any(|text| text == line);
    assert!(counted("ferrule_ingress_annotations{kind=\"refused\"} 0"));
    let ingress = INGRESS.replace("NAME", "ours").replace(
        "namespace: default",
        "namespace: default, annotations: \
         {nginx.ingress.kubernetes.io/enable-modsecurity: 'true', \
         nginx.ingress.kubernetes.io/proxy-read-timeout: soon}",
    );
    let name = ingress.replace("name: ours,", "name: noted,");
    fs::write(folder.path().join("noted.yaml"), name).unwrap();
    for kind in ["refused", "invalid"] {
        let line = format!("ferrule_ingress_annotations{{kind=\"{kind}\"}} 1");
        eventually("they are counted", || counted(&line));
    }
    fs::remove_file(folder.path().join("noted.yaml")).unwrap();
    let none = "ferrule_ingress_annotations{kind=\"refused\"} 0";
    eventually("they are gone", || counted(none));
}
