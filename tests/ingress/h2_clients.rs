// SPDX-License-Identifier: Apache-2.0
//! nghttp and h2load: another HTTP/2 than ours.

use std::fs;
use std::process::Command;

use super::rig::{Endpoint, Plan, Rig};
use super::tls::has;

/// The whole of what a program prints, and whether it was content.
fn run(program: &str, arguments: &[&str]) -> (String, bool) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.success(),
    )
}

fn rig() -> (Rig, Endpoint) {
    let echo = Endpoint::echo();
    (Plan::to(&[echo.address]).start(), echo)
}

const AUTHORITY: &str = ":authority: a.example";

#[test]
fn nghttp_gets_what_it_asks_for() {
    if !has("nghttp") {
        return;
    }
    let (rig, echo) = rig();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    fs::write(&file, vec![b'x'; 300_000]).unwrap();
    let body = file.to_str().unwrap();
    let long = format!("x-long: {}", "y".repeat(20_000));
    for (what, options) in [
        ("a request", vec![]),
        ("a hundred", vec!["-m", "100"]),
        ("a large body", vec!["-d", body]),
        (
            "a body of unknown length",
            vec!["-d", body, "--no-content-length"],
        ),
        (
            "a body that waits to be asked for",
            vec!["-d", body, "--expect-continue"],
        ),
        ("trailers", vec!["-d", body, "--trailer", "x-last: 1"]),
        ("padding", vec!["-b", "100", "-d", body]),
        ("small windows", vec!["-w", "10", "-W", "11", "-d", body]),
        ("small tables", vec!["-c", "0", "-m", "10"]),
        ("a head in several frames", vec!["--continuation"]),
        ("a long header", vec!["-H", &long]),
    ] {
        let before = echo.requests().len();
        for (scheme, address) in [("http", rig.http), ("https", rig.https)] {
            let uri = format!("{scheme}://{address}/x");
            let common = ["-v", "-n", "-t", "20", "--no-verify-peer", "-H", AUTHORITY];
            let (text, good) = run("nghttp", &[&common[..], &options, &[&uri]].concat());
            let answers = text.matches(":status: 200").count();
            let expected = match options.first() {
                Some(&"-m") => 100,
                _ if what == "small tables" => 10,
                _ => 1,
            };
            assert!(good && answers == expected, "{what}: {answers}\n{text}");
        }
        assert!(echo.requests().len() > before, "{what}");
    }
}

/// h2load's own count of requests, of all statuses 200.
fn load(rig: &Rig, options: &[&str], tls: bool) {
    let (scheme, address) = if tls {
        ("https", rig.https)
    } else {
        ("http", rig.http)
    };
    let uri = format!("{scheme}://a.example/x");
    let address = format!("--connect-to={address}");
    let common = ["-n", "2000", "-c", "8", &address];
    let (text, good) = run("h2load", &[&common[..], options, &[&uri]].concat());
    assert!(good, "{text}");
    assert!(
        text.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{text}"
    );
    assert!(
        text.contains("status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx"),
        "{text}"
    );
}

#[test]
fn h2load_loses_nothing() {
    if !has("h2load") {
        return;
    }
    let (rig, _) = rig();
    for tls in [false, true] {
        load(&rig, &["-m", "1"], tls);
        load(&rig, &["-m", "50"], tls);
        load(&rig, &["-m", "10", "-w", "16", "-W", "16"], tls);
        load(&rig, &["--h1"], tls);
    }
}
