// SPDX-License-Identifier: Apache-2.0
//! nginx as an endpoint, with its own ideas of keep-alive and of restarts.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use super::rig::{Endpoint, Plan, eventually};
use super::tls::has;

/// Runs until it is dropped.
struct Nginx {
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = Endpoint::nobody();
        let at = folder.path().display();
        let configuration = format!(
            "pid {at}/pid; error_log {at}/error.log; worker_processes 2;\n\
             events {{}}\n\
             http {{ access_log off; keepalive_requests 7; client_body_temp_path {at}/b;\n\
             proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u;\n\
             scgi_temp_path {at}/s; root {at};\n\
             server {{ listen {address}; location /ok {{ return 200 ok; }} }} }}\n"
        );
        fs::write(folder.path().join("conf"), configuration).unwrap();
        fs::write(folder.path().join("large"), vec![b'x'; 3_000_000]).unwrap();
        let nginx = Self { address, folder };
        nginx.run(&[]);
        nginx
    }

    fn run(&self, arguments: &[&str]) {
        let status = Command::new("nginx")
            .arg("-c")
            .arg(self.folder.path().join("conf"))
            .args(arguments)
            .status();
        assert!(status.unwrap().success(), "nginx {arguments:?}");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("nginx")
            .arg("-c")
            .arg(self.folder.path().join("conf"))
            .args(["-s", "stop"])
            .status();
    }
}

#[test]
fn nginx_may_close_connections_and_restart_its_workers() {
    if !has("nginx") {
        return;
    }
    let nginx = Nginx::start();
    let rig = Plan::to(&[nginx.address]).start();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    eventually("nginx serves", || rig.ask(get("/ok")).status == 200);
    let mut client = rig.connect();
    for round in 0..300 {
        if round % 50 == 25 {
            nginx.run(&["-s", "reload"]);
        }
        let answer = client.ask(get("/ok"));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "ok"),
            "{round}"
        );
    }
    let answer = client.ask(get("/large"));
    assert_eq!((answer.status, answer.body.len()), (200, 3_000_000));
    client.send("HEAD /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(
        client.answer(true).header("content-length"),
        Some("3000000")
    );
    assert_eq!(client.ask(get("/missing")).status, 404);
}
