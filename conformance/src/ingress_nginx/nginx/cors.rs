// SPDX-License-Identifier: Apache-2.0
//! The block CORS of the template; values by internal/ingress/annotations/cors.

use super::annotations::Annotations;
use super::{Text, put};

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
    Content-Type,Range,Authorization";
const MAX_AGE: i64 = 1_728_000;

/// The origins that are let in; nothing said: `*`.
fn origins(annotations: &Annotations) -> Vec<&str> {
    let Some(text) = annotations.text("cors-allow-origin") else {
        return vec!["*"];
    };
    let all: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|o| !o.is_empty())
        .collect();
    match all.contains(&"*") {
        true => vec!["*"],
        // One that is no scheme, host and port is left out.
        false => all
            .into_iter()
            .filter(|o| *o == "null" || o.contains("://"))
            .collect(),
    }
}

/// buildOriginRegex: `*` stands for one label.
fn pattern(origin: &str) -> String {
    let mut escaped = String::new();
    for c in origin.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    format!("({})", escaped.replacen("\\*", "[A-Za-z0-9\\-]+", 1))
}

pub(super) fn render(text: &mut Text, annotations: &Annotations) {
    if !annotations.on("enable-cors") {
        return;
    }
    let origins = origins(annotations);
    if origins == ["*"] {
        text.line("set $http_origin *;\nset $cors 'true';");
    } else if !origins.is_empty() {
        let patterns: Vec<String> = origins.iter().map(|origin| pattern(origin)).collect();
        put!(
            text,
            "if ($http_origin ~* ({})$ ) {{ set $cors 'true'; }}",
            patterns.join("|")
        );
    }
    text.line("if ($request_method = 'OPTIONS') { set $cors ${cors}options; }");
    text.line("if ($cors = \"true\") {");
    headers(text, annotations);
    text.line("}\nif ($cors = \"trueoptions\") {");
    headers(text, annotations);
    text.line("more_set_headers 'Content-Type: text/plain charset=UTF-8';");
    text.line("more_set_headers 'Content-Length: 0';\nreturn 204; }");
}

pub(super) fn headers(text: &mut Text, annotations: &Annotations) {
    let get = |name, default| annotations.text(name).unwrap_or(default).to_owned();
    text.line("more_set_headers 'Access-Control-Allow-Origin: $http_origin';");
    if annotations.switch("cors-allow-credentials").unwrap_or(true) {
        text.line("more_set_headers 'Access-Control-Allow-Credentials: true';");
    }
    let methods = get("cors-allow-methods", METHODS);
    put!(
        text,
        "more_set_headers 'Access-Control-Allow-Methods: {methods}';"
    );
    let headers = get("cors-allow-headers", HEADERS);
    put!(
        text,
        "more_set_headers 'Access-Control-Allow-Headers: {headers}';"
    );
    if let Some(exposed) = annotations.text("cors-expose-headers") {
        put!(
            text,
            "more_set_headers 'Access-Control-Expose-Headers: {exposed}';"
        );
    }
    let age = annotations.number("cors-max-age").unwrap_or(MAX_AGE);
    put!(text, "more_set_headers 'Access-Control-Max-Age: {age}';");
}
