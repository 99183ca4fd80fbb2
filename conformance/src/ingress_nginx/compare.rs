// SPDX-License-Identifier: Apache-2.0
//! What counts of an answer, and what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::client::Answer;
use super::echo::{AUTH_TOLD, BY, PROBE, Seen, TOLD};
use super::request::{Expect, Full, Request, counts};

/// Headers of answers that say how, not what: framing, and the time.
const HOW: [&str; 5] = [
    "date",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
];
/// The same for requests; and how the harness talks with its servers.
const HOW_ASKED: [&str; 5] = [
    "transfer-encoding",
    "content-length",
    PROBE,
    TOLD,
    AUTH_TOLD,
];

/// One request and all that came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What came back.
    pub answer: Answer,
    /// What servers saw.
    pub seen: Vec<Seen>,
}

/// What was asked in one go.
pub type Round = Vec<Exchange>;

static KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"([A-Za-z0-9_-]+)=[^|;=]+\|([0-9a-f]{32})").ok());
static RANDOM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[0-9a-f-]{32,36}$").ok());

/// Values that are random: keys of cookies, request ids, times.
fn plain(name: &str, value: &str) -> String {
    let mut value = value.to_owned();
    if let Some(key) = &*KEY {
        value = key.replace_all(&value, "$1=<key>|$2").into_owned();
    }
    if name == "x-request-id"
        && RANDOM
            .as_ref()
            .is_some_and(|random| random.is_match(&value))
    {
        return "<random>".to_owned();
    }
    // Each proxy has a name of its own.
    if name == "server"
        && ["nginx", "ferrule"]
            .iter()
            .any(|own| value.starts_with(own))
    {
        return "<own>".to_owned();
    }
    if name == "set-cookie" {
        let mut parts: Vec<&str> = value.split(';').map(str::trim).collect();
        parts[1..].sort_unstable_by_key(|part| part.to_ascii_lowercase());
        let known = |part: &str| match part.split_once('=') {
            Some((name, _)) if name.eq_ignore_ascii_case("expires") => "Expires=<time>".to_owned(),
            _ => part.to_owned(),
        };
        let parts: Vec<String> = parts.into_iter().map(known).collect();
        return parts.join("; ");
    }
    value
}

type Headers = BTreeMap<String, Vec<String>>;

fn headers(all: &[(String, String)], request: &Request, how: &[&str]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in all {
        let ignored = request
            .ignore
            .iter()
            .any(|ignored| ignored.eq_ignore_ascii_case(name));
        if !ignored && !how.contains(&&**name) {
            headers
                .entry(name.clone())
                .or_default()
                .push(plain(name, value));
        }
    }
    if let Some(values) = headers.get_mut("vary") {
        values.sort();
    }
    headers
}

/// Ignored where nginx speaks HTTP/1.0 because its template says nothing else.
fn version<'a>(seen: &'a Seen, request: &Request) -> &'a str {
    match request.ignore.iter().any(|name| name == "version") {
        true => "",
        false => &seen.version,
    }
}

/// Gives endpoints names in the order in which they are first seen, so that it counts whether two
/// requests went to the same one, not to which.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<(String, usize), usize>);

impl Names {
    fn of(&mut self, seen: &Seen) -> String {
        let others = self
            .0
            .keys()
            .filter(|(service, _)| *service == seen.by)
            .count();
        let key = (seen.by.clone(), seen.endpoint);
        let number = *self.0.entry(key).or_insert(others);
        format!("{}#{number}", seen.by)
    }
}

/// An exchange without what does not count, as lines with a name each.
fn lines(exchange: &Exchange, request: &Request, names: &mut Names) -> BTreeMap<String, String> {
    let answer = &exchange.answer;
    let mut lines = BTreeMap::from([("status".to_owned(), answer.status.to_string())]);
    if request.status_only {
        return lines;
    }
    for (name, values) in headers(&answer.headers, request, &HOW) {
        lines.insert(format!("answer's {name}"), values.join(" | "));
    }
    let encoded = answer.header("content-encoding").is_some();
    if (answer.header(BY).is_some() || request.whole) && !encoded {
        let text = match answer.body.len() {
            0..=500 => String::from_utf8_lossy(&answer.body).into_owned(),
            long => format!("{long} bytes"),
        };
        lines.insert("answer's body".to_owned(), text);
    }
    let mut seen: Vec<(String, &Seen)> = exchange.seen.iter().map(|s| (names.of(s), s)).collect();
    seen.sort_by(|(_, a), (_, b)| a.by.cmp(&b.by));
    for (number, (name, seen)) in seen.iter().enumerate() {
        let at = format!("request {} to {}", number + 1, seen.by);
        let mut put = |what: &str, value: String| lines.insert(format!("{at}: {what}"), value);
        put("endpoint", name.clone());
        put(
            "line",
            format!("{} {} {}", seen.method, seen.uri, version(seen, request)),
        );
        put("body", seen.body.clone());
        if let Some((name, certificate)) = &seen.tls {
            put("TLS", format!("name {name:?}, certificate {certificate}"));
        }
        for (name, values) in headers(&seen.headers, request, &HOW_ASKED) {
            put(&name, values.join(" | "));
        }
    }
    lines
}

/// What differs, a line each; none: they agree.
#[must_use]
pub fn differences(
    request: &Request,
    nginx: &Round,
    ferrule: &Round,
    names: [&mut Names; 2],
) -> Vec<String> {
    if request.share {
        let set = |round: &Round| -> BTreeSet<(u16, Vec<String>)> {
            let exchanges = round.iter().map(|exchange| {
                let seen = exchange.seen.iter().map(|seen| seen.by.clone());
                (exchange.answer.status, seen.collect())
            });
            exchanges.collect()
        };
        let (a, b) = (set(nginx), set(ferrule));
        return match a == b {
            true => Vec::new(),
            false => vec![format!("shares: nginx {a:?}, ferrule {b:?}")],
        };
    }
    if request.parallel {
        let statuses = |round: &Round| {
            let mut all: Vec<u16> = round.iter().map(|e| e.answer.status).collect();
            all.sort_unstable();
            all
        };
        let (a, b) = (statuses(nginx), statuses(ferrule));
        return match a == b {
            true => Vec::new(),
            false => vec![format!("statuses: nginx {a:?}, ferrule {b:?}")],
        };
    }
    let [theirs, ours] = names;
    let mut found = Vec::new();
    for (number, (a, b)) in nginx.iter().zip(ferrule).enumerate() {
        let (a, b) = (lines(a, request, theirs), lines(b, request, ours));
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let mut keys: Vec<&String> = keys
            .into_iter()
            .filter(|key| a.get(*key) != b.get(*key))
            .collect();
        // It says more than all else.
        keys.sort_by_key(|key| *key != "status");
        for key in keys {
            let say =
                |side: Option<&String>| side.map_or("nothing".to_owned(), |s| format!("{s:?}"));
            let time = if nginx.len() > 1 {
                format!("{}: ", number + 1)
            } else {
                String::new()
            };
            found.push(format!(
                "{time}{key}: nginx {}, ferrule {}",
                say(a.get(key)),
                say(b.get(key))
            ));
        }
    }
    found
}

/// What nginx did otherwise than the case expects.
#[must_use]
pub fn unexpected(request: &Request, round: &Round) -> Vec<String> {
    let statuses: Vec<u16> = round
        .iter()
        .map(|exchange| exchange.answer.status)
        .collect();
    match &request.expect {
        None => vec!["the case does not say what nginx answers".to_owned()],
        Some(Expect::Status(status)) => match statuses.iter().all(|s| s == status) {
            true => Vec::new(),
            false => vec![format!("{statuses:?}, not {status}: {}", errors(round))],
        },
        Some(Expect::Counts(text)) if text == "closed" => match statuses.iter().all(|s| *s == 0) {
            true => Vec::new(),
            false => vec![format!("{statuses:?}, not closed")],
        },
        Some(Expect::Counts(text)) => {
            let (mut statuses, Ok(mut expected)) = (statuses, counts(text)) else {
                return vec![format!("{text} cannot be read")];
            };
            if text.contains(',') || request.parallel {
                statuses.sort_unstable();
                expected.sort_unstable();
            }
            match statuses == expected {
                true => Vec::new(),
                false => vec![format!("{statuses:?}, not {text}")],
            }
        }
        Some(Expect::Full(full)) => round.iter().flat_map(|e| check(full, e)).collect(),
    }
}

fn errors(round: &Round) -> String {
    let errors = round.iter().filter_map(|e| e.answer.error.as_deref());
    errors.collect::<Vec<_>>().join(", ")
}

fn check(full: &Full, exchange: &Exchange) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, is: String, should: &str| {
        if is != should {
            wrong.push(format!("{what} is {is:?}, not {should:?}"));
        }
    };
    let answer = &exchange.answer;
    same(
        "status",
        answer.status.to_string(),
        &full.status.to_string(),
    );
    if let Some(to) = &full.to {
        same(
            "service",
            answer.header(BY).unwrap_or_default().to_owned(),
            to,
        );
    }
    for (name, value) in &full.headers {
        let name = name.to_ascii_lowercase();
        let values = answer.headers.iter().filter(|(n, _)| *n == name);
        let values: Vec<String> = values.map(|(_, value)| plain(&name, value)).collect();
        same(&name, values.join(" | "), value);
    }
    if let Some(body) = &full.body {
        same(
            "body",
            String::from_utf8_lossy(&answer.body).into_owned(),
            body,
        );
    }
    if let Some(requests) = full.requests {
        same(
            "count of requests",
            exchange.seen.len().to_string(),
            &requests.to_string(),
        );
    }
    let own = |seen: &&Seen| !["auth", "mirror"].contains(&&*seen.by);
    let seen = exchange.seen.iter().rfind(own);
    if let Some(uri) = &full.uri {
        same("path", seen.map(|s| s.uri.clone()).unwrap_or_default(), uri);
    }
    for (name, value) in &full.seen {
        let name = name.to_ascii_lowercase();
        let values = seen
            .into_iter()
            .flat_map(|s| &s.headers)
            .filter(|(n, _)| *n == name);
        let values: Vec<String> = values.map(|(_, value)| plain(&name, value)).collect();
        same(&format!("seen {name}"), values.join(" | "), value);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(status: u16, header: (&str, &str)) -> Round {
        vec![Exchange {
            answer: Answer {
                status,
                headers: vec![(header.0.to_owned(), header.1.to_owned())],
                ..Answer::default()
            },
            seen: Vec::new(),
        }]
    }

    fn differ(request: &Request, a: &Round, b: &Round) -> Vec<String> {
        differences(
            request,
            a,
            b,
            [&mut Names::default(), &mut Names::default()],
        )
    }

    #[test]
    fn what_differs_is_told_and_what_is_random_is_not() {
        let request = Request::default();
        let cookie = |key: &str, path: &str| {
            let hash = "0123456789abcdef0123456789abcdef";
            exchange(
                200,
                (
                    "set-cookie",
                    &format!("C={key}|{hash}; Path={path}; HttpOnly"),
                ),
            )
        };
        assert_eq!(
            differ(&request, &cookie("a", "/"), &cookie("1.2", "/")),
            [""; 0]
        );
        assert_eq!(
            differ(&request, &cookie("a", "/"), &cookie("a", "/b")).len(),
            1
        );
        let (a, b) = (
            exchange(200, ("date", "now")),
            exchange(404, ("date", "then")),
        );
        assert_eq!(
            differ(&request, &a, &b),
            ["status: nginx \"200\", ferrule \"404\""]
        );
    }

    #[test]
    fn nginx_is_held_to_what_the_case_says() {
        let expect = |text: &str| Request {
            expect: serde_json::from_str(text).ok(),
            ..Request::default()
        };
        let round = exchange(200, ("location", "/x"));
        assert_eq!(unexpected(&expect("200"), &round), [""; 0]);
        assert_eq!(unexpected(&expect("404"), &round).len(), 1);
        assert_eq!(unexpected(&expect("\"1x200\""), &round), [""; 0]);
        let full = r#"{"status": 200, "headers": {"Location": "/y"}}"#;
        assert_eq!(unexpected(&expect(full), &round).len(), 1);
        assert_eq!(unexpected(&Request::default(), &round).len(), 1);
    }
}
