// SPDX-License-Identifier: Apache-2.0
//! The programs listen where they are told to, and nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use super::rig::{As, Program, in_namespace, status};

/// All TCP sockets of this namespace that listen, as `/proc/net/tcp` writes addresses and ports.
fn listening() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // TCP_LISTEN.
            if words[3] == "0A" {
                found.insert(readable(words[1]));
            }
        }
    }
    found
}

/// `0100007F:2809` is `127.0.0.1:10249`: words of 32 bits in host order.
fn readable(text: &str) -> String {
    let (address, port) = text.split_once(':').unwrap();
    let port = u16::from_str_radix(port, 16).unwrap();
    let words: Vec<u8> = (0..address.len() / 8)
        .map(|n| u32::from_str_radix(&address[8 * n..8 * n + 8], 16).unwrap())
        .flat_map(u32::to_ne_bytes)
        .collect();
    match <[u8; 4]>::try_from(words.as_slice()) {
        Ok(octets) => format!("{}:{port}", std::net::Ipv4Addr::from(octets)),
        Err(_) => {
            let octets = <[u8; 16]>::try_from(words.as_slice()).unwrap();
            format!("[{}]:{port}", std::net::Ipv6Addr::from(octets))
        }
    }
}

fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|a| (*a).to_owned()).collect()
}

/// The socket and its directory are root's alone.
fn private(program: &Program) {
    let metadata = fs::metadata(program.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_agent_listens_where_it_is_told_to() {
    in_namespace(|| {
        for (arguments, health, expected) in [
            // As kube-proxy: a Go program takes 0.0.0.0 as all addresses of both families.
            (
                vec![],
                "127.0.0.1:10256",
                set(&["[::]:10256", "127.0.0.1:10249"]),
            ),
            (
                vec![
                    "--healthz-bind-address=192.0.2.10:1256",
                    "--metrics-bind-address=",
                ],
                "192.0.2.10:1256",
                set(&["192.0.2.10:1256"]),
            ),
            (
                vec![
                    "--healthz-bind-address=127.0.0.1:1256",
                    "--metrics-bind-address=[::1]:1249",
                ],
                "127.0.0.1:1256",
                set(&["127.0.0.1:1256", "[::1]:1249"]),
            ),
        ] {
            let mut agent = Program::agent(As::Root, &arguments);
            agent.until("health", |_| status(health, "/livez") == Some(200));
            agent.until("all listeners", |agent| {
                listening().len() >= expected.len() && agent.socket().exists()
            });
            assert_eq!(listening(), expected);
            private(&agent);
        }
    });
}

#[test]
fn an_address_that_is_taken_is_fatal_only_if_wanted() {
    in_namespace(|| {
        let _taken = std::net::TcpListener::bind("127.0.0.1:10249").unwrap();
        let mut agent = Program::agent(As::Root, &["--bind-address-hard-fail"]);
        assert!(!agent.ended().success());
        assert!(
            agent
                .log()
                .contains("--metrics-bind-address 127.0.0.1:10249"),
            "{}",
            agent.log()
        );
        drop(agent);
        let mut agent = Program::agent(As::Root, &[]);
        agent.until("health", |_| {
            status("127.0.0.1:10256", "/livez") == Some(200)
        });
        agent.until("it is told", |a| {
            a.log().contains("--metrics-bind-address cannot be bound")
        });
    });
}

#[test]
fn the_sidecar_listens_where_it_is_told_to() {
    in_namespace(|| {
        let arguments = [
            "--listen-addresses=192.0.2.10",
            "--http-port=8000",
            "--https-port=8443",
        ];
        let mut sidecar = Program::sidecar(As::Root, &arguments);
        sidecar.until("an answer", |_| status("192.0.2.10:8000", "/") == Some(502));
        let found = listening();
        let (health, rest): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|address| address.ends_with(":10254"));
        assert_eq!(rest, ["192.0.2.10:8000", "192.0.2.10:8443"]);
        assert_eq!(health.len(), 1, "{health:?}");
        sidecar.until("its socket", |sidecar| sidecar.socket().exists());
        private(&sidecar);
    });
}
