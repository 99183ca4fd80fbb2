// SPDX-License-Identifier: Apache-2.0
//! TLS as real clients speak it: curl and openssl.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ferrule::ingress::tls::{Certificates, self_signed};
use hyper::header::HeaderValue;

use super::rig::{Endpoint, Plan, Rig};

/// Whether a test can run: its program is there. Where all must run, it has to be.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--help").output().is_ok();
    let must = std::env::var_os("REQUIRE_ROOT").is_some_and(|value| value == "1");
    assert!(found || !must, "{program} is missing");
    if !found {
        println!("SKIP: {program} is missing");
    }
    found
}

pub(crate) fn rig() -> Rig {
    let rig = Plan::to(&[Endpoint::echo().address]).start();
    let key = |name: &str| (Arc::from(name), Arc::new(self_signed(&[name]).unwrap()));
    rig.store.replace(Certificates {
        by_host: BTreeMap::from([key("a.example"), key("*.b.example")]),
        default: None,
    });
    rig
}

pub(crate) fn openssl(rig: &Rig, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-nocommands",
            "-connect",
            &rig.https.to_string(),
        ])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all(request.as_bytes());
    // Tickets of TLS 1.3 come after the handshake: reading goes on until the server closes.
    let output = child.wait_with_output().unwrap();
    drop(input);
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn certificates_are_chosen_by_name_and_swapped() {
    if !has("openssl") {
        return;
    }
    let rig = rig();
    let names = |name: &[&str]| {
        let text = openssl(&rig, &[name, &["-showcerts"]].concat());
        let pem = text.split("-----").nth(2).unwrap_or_default().to_owned();
        assert!(text.contains("HTTP/1.1 200 OK"), "{text}");
        pem
    };
    let exact = names(&["-servername", "a.example"]);
    let wildcard = names(&["-servername", "x.b.example"]);
    let default = names(&["-noservername"]);
    assert!(exact != wildcard && exact != default && wildcard != default);
    assert_eq!(names(&["-servername", "a.example"]), exact);
    assert_eq!(names(&["-servername", "A.Example"]), exact);
    assert_eq!(names(&["-servername", "x.y.b.example"]), default);
    rig.store.replace(Certificates::default());
    assert_eq!(names(&["-servername", "a.example"]), default);
}

#[test]
fn versions_before_1_2_are_refused() {
    if !has("openssl") {
        return;
    }
    let rig = rig();
    for (version, good) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false)] {
        let text = openssl(&rig, &[version, "-cipher", "DEFAULT:@SECLEVEL=0"]);
        assert_eq!(text.contains("HTTP/1.1 200 OK"), good, "{version} {text}");
    }
}

#[test]
fn sessions_are_resumed() {
    if !has("openssl") {
        return;
    }
    let rig = rig();
    let folder = tempfile::tempdir().unwrap();
    for version in ["-tls1_3", "-tls1_2"] {
        let file = folder.path().join(version);
        let file = file.to_str().unwrap();
        let server = ["-servername", "a.example"];
        let first = openssl(&rig, &[&server[..], &[version, "-sess_out", file]].concat());
        assert!(first.contains("New, TLSv1"), "{first}");
        let second = openssl(&rig, &[&server[..], &[version, "-sess_in", file]].concat());
        assert!(second.contains("Reused, TLSv1"), "{version} {second}");
    }
}

#[test]
fn hsts_is_told_over_tls_only() {
    if !has("curl") {
        return;
    }
    let mut plan = Plan::to(&[Endpoint::echo().address]);
    plan.route.hsts = Some(HeaderValue::from_static("max-age=5"));
    let rig = plan.start();
    for (scheme, address, host) in [
        ("https", rig.https, "a.example"),
        ("https", rig.https, "nobody.example"),
        ("http", rig.http, "a.example"),
    ] {
        let output = Command::new("curl")
            .args(["-ski", "-H", &format!("Host: {host}")])
            .arg(format!("{scheme}://{address}/"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        let told = text.contains("strict-transport-security: max-age=5\r\n");
        assert_eq!(told, scheme == "https", "{text}");
    }
}

#[test]
fn curl_speaks_every_version() {
    if !has("curl") {
        return;
    }
    let rig = rig();
    for (scheme, arguments, version) in [
        ("http", vec!["--http1.1"], "1.1"),
        ("http", vec!["--http1.0"], "1"),
        ("http", vec!["--http2-prior-knowledge"], "2"),
        ("https", vec!["--http1.1"], "1.1"),
        ("https", vec!["--http2"], "2"),
        ("https", vec!["--http2", "-d", "abc"], "2"),
    ] {
        let address = if scheme == "http" {
            rig.http
        } else {
            rig.https
        };
        let output = Command::new("curl")
            .args(["-sk", "-w", "%{http_code} %{http_version}", "--resolve"])
            .arg(format!("a.example:{}:127.0.0.1", address.port()))
            .args(&arguments)
            .arg(format!("{scheme}://a.example:{}/x", address.port()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.ends_with(&format!("200 {version}")),
            "{arguments:?} {text}"
        );
        let proto = format!("x-forwarded-proto: {scheme}");
        assert!(text.contains(&proto), "{text}");
        assert!(text.contains(&format!("host: a.example:{}", address.port())));
    }
}
