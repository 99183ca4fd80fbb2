// SPDX-License-Identifier: Apache-2.0
//! Which form of `/flagz` and `/statusz` a client gets (upstream: `NegotiateMediaTypeOptions`).
//! PURE.
//!
//! JSON and YAML are only there for a client that names kind and version, as in
//! `application/json;as=Statusz;g=config.k8s.io;v=v1beta1`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use hyper::HeaderMap;
use hyper::header::{ACCEPT, USER_AGENT};

const GROUP: &str = "config.k8s.io";

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Pretty,
    Yaml,
}

/// What a client gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Text,
    /// An object of this version.
    Object(Format, &'static str),
    /// 406; the reason is written like this.
    Refused(Format),
}

/// One clause of an Accept header.
struct Clause<'a> {
    quality: f64,
    media: (&'a str, &'a str),
    parameters: BTreeMap<&'a str, &'a str>,
}

/// Chooses for a kind: `Flagz` or `Statusz`.
pub(super) fn choose(headers: &HeaderMap, query: Option<&str>, kind: &str) -> Choice {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let accept = accept.unwrap_or_default();
    if accept.trim().is_empty() {
        return Choice::Text;
    }
    let clauses = clauses(accept);
    let human = human(headers, query);
    let format = |clause: &Clause, format| {
        let pretty = human || clause.parameters.get("pretty") == Some(&"1");
        if format == Format::Json && pretty {
            Format::Pretty
        } else {
            format
        }
    };
    for clause in &clauses {
        if let Some(version) = clause.version(kind)
            && let Some(object) = clause.object()
        {
            return Choice::Object(format(clause, object), version);
        }
        if clause.matches("text", "plain") && clause.convert().is_none() && clause.plain() {
            return Choice::Text;
        }
    }
    let reason = clauses.iter().find_map(|clause| {
        let untyped = clause.convert().is_none() && clause.plain();
        Some(format(clause, clause.object().filter(|_| untyped)?))
    });
    Choice::Refused(reason.unwrap_or(Format::Pretty))
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let media = parts.next()?.trim();
        let media = if media == "*" { "*/*" } else { media };
        let (kind, sub) = media.split_once('/').filter(|(_, s)| !s.is_empty())?;
        if sub.contains('/') {
            return None;
        }
        let mut clause = Self {
            quality: 1.0,
            media: (kind.trim(), sub.trim()),
            parameters: BTreeMap::new(),
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "q" => clause.quality = value.trim().parse().unwrap_or(0.0),
                name => {
                    clause.parameters.insert(name, value.trim());
                }
            }
        }
        Some(clause)
    }

    fn matches(&self, kind: &str, sub: &str) -> bool {
        self.media == (kind, sub) || self.media == (kind, "*") || self.media == ("*", "*")
    }

    /// JSON goes before YAML where both fit.
    fn object(&self) -> Option<Format> {
        let fits = |sub, format| self.matches("application", sub).then_some(format);
        fits("json", Format::Json).or_else(|| fits("yaml", Format::Yaml))
    }

    /// Kind, group and version that are asked for, if any of them is.
    fn convert(&self) -> Option<[&str; 3]> {
        let of = |name| self.parameters.get(name).copied();
        let named = [of("as"), of("g"), of("v")];
        named
            .iter()
            .any(Option::is_some)
            .then(|| named.map(Option::unwrap_or_default))
    }

    fn version(&self, kind: &str) -> Option<&'static str> {
        let [asked, group, version] = self.convert()?;
        let known = ["v1beta1", "v1alpha1"]
            .into_iter()
            .find(|v| *v == version)?;
        (asked == kind && group == GROUP && self.plain()).then_some(known)
    }

    /// Neither a stream nor a server's version is asked for, which there are none of.
    fn plain(&self) -> bool {
        let empty = |name| self.parameters.get(name).is_none_or(|v| v.is_empty());
        empty("stream") && empty("sv")
    }
}

/// By preference. A quality of 0 is the last choice, not a refusal, as upstream.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<_> = accept.split(',').filter_map(Clause::parse).collect();
    clauses.sort_by(|a, b| {
        let by_quality = b.quality.partial_cmp(&a.quality).unwrap_or(Ordering::Equal);
        let any = |clause: &Clause| (clause.media.0 == "*", clause.media.1 == "*");
        by_quality.then_with(|| any(a).cmp(&any(b)))
    });
    clauses
}

/// Whether a person reads it: by `?pretty=`, else by the client.
fn human(headers: &HeaderMap, query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    if let Some(pretty) = pairs.find_map(|pair| pair.strip_prefix("pretty="))
        && !pretty.is_empty()
    {
        return matches!(pretty, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let people = ["curl", "Wget", "Mozilla/5.0"];
    agent.is_some_and(|agent| people.iter().any(|name| agent.starts_with(name)))
}
