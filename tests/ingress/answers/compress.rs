// SPDX-License-Identifier: Apache-2.0
//! Answers compressed on their way.

use std::io::Read as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use super::{Cluster, Running, head};
use crate::rig::{Client, Endpoint};

/// Answers `/TYPE/LENGTH`, `/slow` in two pieces, the second of which waits for a word.
fn endpoint(cluster: &Cluster, go_on: Receiver<()>) -> Endpoint {
    let go_on = Mutex::new(go_on);
    Endpoint::serving_at(cluster.own(), move |mut served, _| {
        while let Some(request) = served.head() {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let mut parts = path.trim_start_matches('/').split('/');
            let kind = parts.next().unwrap_or_default().replace('_', "/");
            if kind == "slow" {
                served.client.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\
                     \r\n5\r\nfirst\r\n",
                );
                let _ = go_on.lock().unwrap().recv();
                served.client.send("6\r\nsecond\r\n0\r\n\r\n");
                continue;
            }
            let length = parts
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or_default();
            let body = "x".repeat(length);
            let body = if request.starts_with("HEAD") {
                ""
            } else {
                &body
            };
            served.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: \"tag\"\r\n\
                 Accept-Ranges: bytes\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    })
}

/// The head, and the body as it came.
fn fetch(
    running: &Running,
    method: &str,
    path: &str,
    accept: &str,
    version: &str,
) -> (String, Vec<u8>) {
    let mut client = running.client();
    let request = head(
        method,
        "a.example",
        path,
        &[&format!("Accept-Encoding: {accept}")],
    );
    client.send(request.replace("HTTP/1.1", version));
    let answer = client.until(b"\r\n\r\n").unwrap();
    let length = crate::rig::header(&answer, "content-length").map(|l| l.parse().unwrap());
    let body = match length {
        _ if method == "HEAD" => Vec::new(),
        Some(length) => client.exactly(length),
        None => chunks(&mut client),
    };
    (answer, body)
}

fn chunk(client: &mut Client) -> Option<Vec<u8>> {
    let line = client.until(b"\r\n").expect("a chunk");
    let length = usize::from_str_radix(line.trim(), 16).unwrap();
    let data = client.exactly(length);
    client.exactly(2);
    Some(data).filter(|data| !data.is_empty())
}

fn chunks(client: &mut Client) -> Vec<u8> {
    std::iter::from_fn(|| chunk(client)).flatten().collect()
}

fn gunzip(body: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(body)
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn unbrotli(body: &[u8]) -> String {
    let mut text = String::new();
    brotli::Decompressor::new(body, 4096)
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn named<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    crate::rig::header(head, name)
}

#[test]
fn answers_are_compressed_as_clients_take_them() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let (_go, go_on) = channel();
    let endpoint = endpoint(&cluster, go_on);
    let running = cluster
        .service("web", Some(endpoint.address))
        .config_map(
            "settings",
            &[("use-gzip", "true"), ("enable-brotli", "true")],
        )
        .ingress("a.example", &[])
        .start();
    let text = "x".repeat(100_000);
    for (accept, coding) in [
        ("gzip", Some("gzip")),
        ("gzip, br", Some("br")),
        ("br;q=0, gzip;q=0.5", Some("gzip")),
        ("identity", None),
    ] {
        let (head, body) = fetch(&running, "GET", "/text_html/100000", accept, "HTTP/1.1");
        assert_eq!(named(&head, "content-encoding"), coding, "{accept}: {head}");
        assert_eq!(
            named(&head, "vary"),
            Some("Accept-Encoding"),
            "{accept}: {head}"
        );
        let etag = if coding.is_some() {
            "W/\"tag\""
        } else {
            "\"tag\""
        };
        assert_eq!(named(&head, "etag"), Some(etag), "{accept}");
        assert_eq!(
            named(&head, "accept-ranges").is_some(),
            coding.is_none(),
            "{accept}"
        );
        let plain = match coding {
            Some("gzip") => gunzip(&body),
            Some(_) => unbrotli(&body),
            None => String::from_utf8(body).unwrap(),
        };
        assert!(plain == text, "{accept}: {} bytes", plain.len());
    }
    for (method, path, version) in [
        ("GET", "/image_png/100000", "HTTP/1.1"),
        ("GET", "/text_event-stream/100000", "HTTP/1.1"),
        ("GET", "/text_html/19", "HTTP/1.1"),
        ("GET", "/text_html/100000", "HTTP/1.0"),
    ] {
        let (head, _) = fetch(&running, method, path, "gzip, br", version);
        assert_eq!(
            named(&head, "content-encoding"),
            None,
            "{method} {path}: {head}"
        );
        let length = path.rsplit('/').next();
        assert_eq!(named(&head, "content-length"), length, "{method} {path}");
    }
    // brotli takes shorter ones than gzip.
    let (head, body) = fetch(&running, "GET", "/text_css/30", "gzip, br", "HTTP/1.1");
    assert_eq!(named(&head, "content-encoding"), Some("br"));
    assert_eq!(unbrotli(&body).len(), 30);
    let (head, _) = fetch(&running, "GET", "/text_css/30", "gzip", "HTTP/1.1");
    assert_eq!(named(&head, "content-encoding"), None);
}

#[test]
fn a_slow_body_comes_piece_by_piece() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let (go, go_on) = channel();
    let endpoint = endpoint(&cluster, go_on);
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("a.example", &[("use-gzip", "true"), ("gzip-level", "9")])
        .start();
    let mut client = running.client();
    client.send(head(
        "GET",
        "a.example",
        "/slow",
        &["Accept-Encoding: gzip"],
    ));
    let answer = client.until(b"\r\n\r\n").unwrap();
    assert_eq!(named(&answer, "content-encoding"), Some("gzip"), "{answer}");
    let mut body = Vec::new();
    let mut first = [0; 5];
    // The endpoint waits: what it has sent must come all the same.
    while flate2::read::GzDecoder::new(&body[..])
        .read_exact(&mut first)
        .is_err()
    {
        body.extend(chunk(&mut client).expect("the first piece"));
    }
    assert_eq!(&first, b"first");
    go.send(()).unwrap();
    body.extend(chunks(&mut client));
    assert_eq!(gunzip(&body), "firstsecond");
}
