// SPDX-License-Identifier: Apache-2.0
//! The whole program with ingress-nginx's flags: settings and ports from ConfigMaps, live, and
//! metrics by its names.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use super::hand_over::{Process, manifests};
use super::rig::{Client, Endpoint, eventually, own_address};

const POST: &str =
    "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 20\r\n\r\n01234567890123456789";

fn config_map(folder: &Path, name: &str, data: &[(&str, &str)]) {
    let lines = data
        .iter()
        .map(|(key, value)| format!("  {key:?}: {value:?}\n"));
    let lines: String = lines.collect();
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: sys}}\ndata:\n{lines}"
    );
    let new = folder.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, folder.join(name).with_extension("yaml")).unwrap();
}

#[test]
fn settings_and_ports_come_from_config_maps() {
    let Some(own) = own_address() else { return };
    let echo = Endpoint::echo_at(own);
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), echo.address);
    config_map(folder.path(), "settings", &[("proxy-body-size", "10")]);
    let (http, port) = (Endpoint::nobody(), Endpoint::nobody().port());
    let tcp = SocketAddr::new(http.ip(), port);
    let process = Process::start(
        folder.path(),
        http,
        &[
            "--configmap=sys/settings",
            "--tcp-services-configmap=sys/tcp",
            "--nginx-metrics",
            "--enable-metrics",
        ],
    );
    let ask = || Client::connect(http).ask(POST).status;
    eventually("it serves", || TcpStream::connect(http).is_ok());
    assert_eq!(ask(), 413);
    config_map(folder.path(), "settings", &[("proxy-body-size", "1k")]);
    eventually("longer bodies are taken", || ask() == 200);

    assert!(TcpStream::connect(tcp).is_err());
    config_map(
        folder.path(),
        "tcp",
        &[(&port.to_string(), "default/web:80")],
    );
    eventually("the port is open", || TcpStream::connect(tcp).is_ok());
    let answer = Client::connect(tcp).ask(POST);
    assert!(
        answer
            .body
            .starts_with("POST / HTTP/1.1\r\nHost: a.example\r\n"),
        "{answer:?}"
    );
    config_map(folder.path(), "tcp", &[]);
    eventually("the port is closed", || TcpStream::connect(tcp).is_err());

    let metrics = || {
        let mut client = Client::connect(process.health);
        client.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").body
    };
    let counted = |text: &str, status: &str| {
        let ours = "nginx_ingress_controller_requests{";
        let mut lines = text.lines().filter(|line| line.starts_with(ours));
        lines.any(|line| line.contains(status) && line.contains("host=\"a.example\""))
    };
    eventually("requests are counted", || {
        let text = metrics();
        counted(&text, "status=\"200\"") && counted(&text, "status=\"413\"")
    });
}

#[test]
fn what_is_not_served_is_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrule-ingress"))
        .args(["--enable-ssl-passthrough", "--configmap=a/b"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("--enable-ssl-passthrough is not served"),
        "{text}"
    );
}
