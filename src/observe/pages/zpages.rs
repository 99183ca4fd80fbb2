// SPDX-License-Identifier: Apache-2.0
//! `/flagz` and `/statusz` (KEP-4828, KEP-4827; upstream: `apiserver/pkg/server/{flagz,statusz}`).

use std::collections::BTreeMap;

use hyper::header::{CONTENT_TYPE, HeaderValue, WARNING};
use hyper::{Request, StatusCode};
use jiff::Timestamp;
use jiff::fmt::strtime;
use serde::Serialize;
use serde_json::{Value, json};

use super::negotiate::{Choice, Format, choose};
use crate::observe::http::{JSON, Reply, TEXT, plain};

/// The component that readers look for.
const COMPONENT: &str = "kube-proxy";
/// The Kubernetes release whose kube-proxy this stands in for.
const EMULATED: &str = "1.36";
const YAML: &str = "application/yaml";
const REFUSAL: &str = "only the following media types are accepted: \
                       application/json, application/yaml, text/plain";

/// Head of an object.
#[derive(Serialize)]
struct Object<'a, T> {
    kind: &'a str,
    #[serde(rename = "apiVersion")]
    api_version: String,
    metadata: Metadata,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Metadata {
    name: &'static str,
}

#[derive(Serialize)]
struct Flags<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    flags: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    start_time: String,
    uptime_seconds: i64,
    /// There is no Go here; the field has to be.
    go_version: &'static str,
    binary_version: &'static str,
    emulation_version: &'static str,
    paths: &'a [&'static str],
}

/// A Status of the API, its fields in that order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    kind: &'static str,
    api_version: &'static str,
    metadata: Value,
    status: &'static str,
    message: &'static str,
    reason: &'static str,
    code: u16,
}

/// `/flagz`: every flag and its value.
pub(super) fn flagz<B>(request: &Request<B>, flags: &BTreeMap<String, String>) -> Reply {
    let text = || {
        let lines = flags
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"));
        format!("{}{}", head("flagz"), lines.collect::<String>())
    };
    answer(request, "Flagz", text, &Flags { flags })
}

/// `/statusz`: since when what runs, and where else to look.
pub(super) fn statusz<B>(
    request: &Request<B>,
    started: Timestamp,
    paths: &[&'static str],
) -> Reply {
    let uptime = Timestamp::now()
        .as_second()
        .saturating_sub(started.as_second())
        .max(0);
    let second = Timestamp::from_second(started.as_second()).unwrap_or(started);
    let state = State {
        start_time: second.to_string(),
        uptime_seconds: uptime,
        go_version: "",
        binary_version: env!("CARGO_PKG_VERSION"),
        emulation_version: EMULATED,
        paths,
    };
    let text = || {
        format!(
            "{}\nStarted: {}\nUp: {} hr {:02} min {:02} sec\nGo version: none\n\
             Binary version: {}\nEmulation version: {EMULATED}\nPaths: {}\n",
            head("statusz"),
            strtime::format("%a %b %e %H:%M:%S UTC %Y", second).unwrap_or_default(),
            uptime / 3600,
            uptime / 60 % 60,
            uptime % 60,
            state.binary_version,
            paths.join(" "),
        )
    };
    answer(request, "Statusz", text, &state)
}

fn head(page: &str) -> String {
    format!(
        "\n{COMPONENT} {page}\nWarning: This endpoint is not meant to be machine parseable, has no \
         formatting compatibility guarantees and is for debugging purposes only.\n"
    )
}

fn answer<B>(
    request: &Request<B>,
    kind: &str,
    text: impl Fn() -> String,
    rest: &impl Serialize,
) -> Reply {
    match choose(request.headers(), request.uri().query(), kind) {
        Choice::Text => plain(StatusCode::OK, TEXT, text()),
        Choice::Object(format, version) => {
            let object = Object {
                kind,
                api_version: format!("config.k8s.io/{version}"),
                metadata: Metadata { name: COMPONENT },
                rest,
            };
            typed(written(StatusCode::OK, format, &object), kind, version)
        }
        Choice::Refused(format) => {
            let code = StatusCode::NOT_ACCEPTABLE;
            let status = Refusal {
                kind: "Status",
                api_version: "v1",
                metadata: json!({}),
                status: "Failure",
                message: REFUSAL,
                reason: "NotAcceptable",
                code: code.as_u16(),
            };
            written(code, format, &status)
        }
    }
}

/// Names kind and version in the content type, and warns of the old version.
fn typed(mut reply: Reply, kind: &str, version: &str) -> Reply {
    if reply.status() != StatusCode::OK {
        return reply;
    }
    let base = reply
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let full = format!(
        "{};g=config.k8s.io;v={version};as={kind}",
        base.unwrap_or(JSON)
    );
    let warning = format!(
        "299 - \"This version of the {} endpoint is deprecated. Please use a newer version.\"",
        kind.to_lowercase()
    );
    let headers = reply.headers_mut();
    if let Ok(value) = HeaderValue::try_from(full) {
        headers.insert(CONTENT_TYPE, value);
    }
    if version == "v1alpha1"
        && let Ok(value) = HeaderValue::try_from(warning)
    {
        headers.insert(WARNING, value);
    }
    reply
}

fn written(code: StatusCode, format: Format, value: &impl Serialize) -> Reply {
    let written = match format {
        Format::Json => serde_json::to_string(value)
            .map(|text| (JSON, text + "\n"))
            .map_err(|e| e.to_string()),
        Format::Pretty => serde_json::to_string_pretty(value)
            .map(|text| (JSON, text))
            .map_err(|e| e.to_string()),
        // By way of a Value, for sorted keys.
        Format::Yaml => serde_json::to_value(value)
            .map_err(|e| e.to_string())
            .and_then(|value| serde_saphyr::to_string(&value).map_err(|e| e.to_string()))
            .map(|text| (YAML, text)),
    };
    match written {
        Ok((kind, text)) => plain(code, kind, text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error),
    }
}
