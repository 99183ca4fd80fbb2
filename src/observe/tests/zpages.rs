// SPDX-License-Identifier: Apache-2.0
//! Forms of /flagz and /statusz, as recorded from kube-proxy 1.36.3.

use super::pages::{everything, metrics_port};
use super::*;

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

async fn accepting(address: SocketAddr, path: &str, accept: &str) -> Answer {
    let request = Request::get(path).header("accept", accept);
    send(connect(address).await, request, "").await
}

fn typed(media: &str, kind: &str, version: &str) -> String {
    format!("{media};as={kind};v={version};g=config.k8s.io")
}

/// What is accepted, and the code and content type that it gets.
fn forms(kind: &str) -> Vec<(String, u16, String)> {
    let beta = typed(JSON, kind, "v1beta1");
    let text = [
        " ".to_owned(),
        "*/*".to_owned(),
        "*".to_owned(),
        "text/*".to_owned(),
        "text/plain;q=0".to_owned(),
        "application/json, */*;q=0.1".to_owned(),
        format!("{beta};q=0.1, text/plain;q=0.9"),
    ];
    let object = [
        (beta.clone(), JSON),
        (typed(YAML, kind, "v1beta1"), YAML),
        (typed("*/*", kind, "v1beta1"), JSON),
        (typed("application/*", kind, "v1beta1"), JSON),
        (format!("text/plain;q=0.1, {beta};q=0.9"), JSON),
        (format!("*/*, {beta}"), JSON),
    ];
    let refused = [
        (typed(JSON, kind, "v1"), JSON),
        (typed("text/plain", kind, "v1beta1"), JSON),
        (typed("application/cbor", kind, "v1beta1"), JSON),
        (typed(JSON, "Other", "v1beta1"), JSON),
        (format!("{beta};stream=watch"), JSON),
        (JSON.to_owned(), JSON),
        (YAML.to_owned(), YAML),
        ("text/html".to_owned(), JSON),
        ("garbage".to_owned(), JSON),
        ("APPLICATION/JSON".to_owned(), JSON),
    ];
    let full = |media| format!("{media};g=config.k8s.io;v=v1beta1;as={kind}");
    let text = text.map(|accept| (accept, 200, PLAIN.to_owned()));
    let object = object.map(|(accept, media)| (accept, 200, full(media)));
    let refused = refused.map(|(accept, media)| (accept, 406, media.to_owned()));
    text.into_iter().chain(object).chain(refused).collect()
}

#[tokio::test]
async fn the_form_follows_the_accept_header() {
    let (address, _served, _) = metrics_port(everything());
    for (path, kind) in [("/flagz", "Flagz"), ("/statusz", "Statusz")] {
        for (accept, code, content) in forms(kind) {
            let answer = accepting(address, path, &accept).await;
            assert_eq!(answer.code, code, "{path} {accept}");
            assert_eq!(answer.header("content-type"), content, "{path} {accept}");
            let sniff = answer.header("x-content-type-options");
            assert_eq!(sniff, "", "{path} {accept}");
        }
        let alpha = accepting(address, path, &typed(JSON, kind, "v1alpha1")).await;
        assert_eq!(alpha.json()["apiVersion"], "config.k8s.io/v1alpha1");
        let page = &path[1..];
        assert_eq!(
            alpha.header("warning"),
            format!(
                "299 - \"This version of the {page} endpoint is deprecated. Please use a newer \
                 version.\""
            )
        );
        let beta = accepting(address, path, &typed(JSON, kind, "v1beta1")).await;
        assert_eq!(beta.header("warning"), "");
    }
}

#[tokio::test]
async fn a_refusal_is_a_status() {
    let (address, _served, _) = metrics_port(everything());
    let compact = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\
         \"status\":\"Failure\",\"message\":\"only the following media types are accepted: \
         application/json, application/yaml, text/plain\",\"reason\":\"NotAcceptable\",\
         \"code\":406}\n";
    let expected: Value = serde_json::from_str(compact).unwrap();
    let answer = accepting(address, "/flagz", JSON).await;
    assert_eq!(answer.body, compact);
    let answer = accepting(address, "/flagz", "text/html").await;
    assert_eq!(answer.json(), expected);
    assert!(
        answer.body.starts_with("{\n  \""),
        "for people: {}",
        answer.body
    );
    let answer = accepting(address, "/flagz", YAML).await;
    assert_eq!(
        serde_saphyr::from_str::<Value>(&answer.body).unwrap(),
        expected
    );
}

#[tokio::test]
async fn flagz_shows_every_flag() {
    let (address, _served, _) = metrics_port(everything());
    let answer = get(address, "/flagz").await;
    assert_eq!(
        answer.body,
        "\nkube-proxy flagz\nWarning: This endpoint is not meant to be machine parseable, has no \
         formatting compatibility guarantees and is for debugging purposes only.\n\
         bind-address: 0.0.0.0\nconfig: \nv: 2\n"
    );
    let typed = "application/json;as=Flagz;v=v1beta1;g=config.k8s.io";
    let json = "{\"kind\":\"Flagz\",\"apiVersion\":\"config.k8s.io/v1beta1\",\
         \"metadata\":{\"name\":\"kube-proxy\"},\
         \"flags\":{\"bind-address\":\"0.0.0.0\",\"config\":\"\",\"v\":\"2\"}}\n";
    assert_eq!(accepting(address, "/flagz", typed).await.body, json);
    let pretty = serde_json::to_string_pretty(&everything().flags)
        .unwrap()
        .len();
    for (path, agent, wanted) in [
        ("/flagz", "curl/8.1", true),
        ("/flagz?pretty=0", "curl/8.1", false),
        ("/flagz?pretty=true", "Go-http-client/1.1", true),
        ("/flagz", "Go-http-client/1.1", false),
    ] {
        let request = Request::get(path)
            .header("accept", typed)
            .header("user-agent", agent);
        let body = send(connect(address).await, request, "").await.body;
        assert_eq!(
            body.lines().count() > 5,
            wanted,
            "{path} {agent} {pretty}: {body}"
        );
    }
    let yaml = "application/yaml;as=Flagz;v=v1beta1;g=config.k8s.io";
    let body = accepting(address, "/flagz", yaml).await.body;
    assert!(
        body.starts_with("apiVersion: config.k8s.io/v1beta1\nflags:\n"),
        "{body}"
    );
    let value: Value = serde_saphyr::from_str(&body).unwrap();
    assert_eq!(value["flags"]["v"], "2", "a text, not a number");
}

#[tokio::test]
async fn statusz_says_since_when() {
    let (address, _served, _) = metrics_port(everything());
    let text = get(address, "/statusz").await.body;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["", "kube-proxy statusz"]);
    let names: Vec<_> = lines[4..]
        .iter()
        .map(|l| l.split_once(": ").unwrap().0)
        .collect();
    assert_eq!(
        names,
        [
            "Started",
            "Up",
            "Go version",
            "Binary version",
            "Emulation version",
            "Paths"
        ]
    );
    assert!(
        lines[4].ends_with(&jiff::Timestamp::now().strftime("%Y").to_string()),
        "{text}"
    );
    assert!(lines[5].starts_with("Up: 0 hr 00 min 0"), "{text}");
    assert_eq!(lines[8], "Emulation version: 1.36");
}

#[tokio::test]
async fn statusz_as_an_object_has_the_same() {
    let (address, _served, _) = metrics_port(everything());
    let typed = "application/json;as=Statusz;v=v1beta1;g=config.k8s.io";
    let json = accepting(address, "/statusz", typed).await.json();
    let start: jiff::Timestamp = json["startTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(start.subsec_nanosecond(), 0);
    let up = jiff::Timestamp::now().as_second() - start.as_second();
    let shown = json["uptimeSeconds"].as_i64().unwrap();
    assert!((0..=up).contains(&shown), "{shown} of {up}");
    let mut rest = json.clone();
    rest.as_object_mut()
        .unwrap()
        .retain(|key, _| !["startTime", "uptimeSeconds"].contains(&&**key));
    assert_eq!(
        rest,
        json!({
            "kind": "Statusz", "apiVersion": "config.k8s.io/v1beta1",
            "metadata": {"name": "kube-proxy"}, "goVersion": "",
            "binaryVersion": env!("CARGO_PKG_VERSION"), "emulationVersion": "1.36",
            "paths": ["/configz", "/flagz", "/healthz", "/metrics", "/proxyMode"],
        })
    );
}
