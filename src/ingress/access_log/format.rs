// SPDX-License-Identifier: Apache-2.0
//! Lines of the access log.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use hyper::header::HeaderValue;
use serde::Serialize;

use super::{Attempt, Entry, Format};

impl Format {
    /// Writes one line.
    pub(super) fn line(self, entry: &Entry, writer: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Json => {
                serde_json::to_writer(&mut *writer, &Line::of(entry))?;
                writer.write_all(b"\n")
            }
            Self::Text => writer.write_all(text(&Line::of(entry)).as_bytes()),
        }
    }
}

/// An entry as it is written.
#[derive(Serialize)]
struct Line {
    time: String,
    remote_addr: String,
    scheme: &'static str,
    method: String,
    host: String,
    uri: String,
    protocol: String,
    /// 499, as nginx has it, if the client broke off before there was one.
    status: u16,
    bytes_sent: u64,
    /// Seconds.
    request_time: f64,
    referer: String,
    user_agent: String,
    request_id: String,
    namespace: String,
    ingress: String,
    path: String,
    service: String,
    upstream_addr: Vec<String>,
    upstream_status: Vec<u16>,
    /// Seconds.
    upstream_response_time: Vec<f64>,
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let route = entry.route.as_deref();
        let ingress = route.map(|route| &route.ingress);
        let uri = entry.uri.path_and_query();
        Self {
            time: entry.time.to_string(),
            remote_addr: entry.client.to_string(),
            scheme: if entry.tls { "https" } else { "http" },
            method: entry.method.to_string(),
            host: match (&entry.host, entry.uri.authority()) {
                (Some(host), _) => value(Some(host)),
                (None, Some(authority)) => authority.to_string(),
                (None, None) => String::new(),
            },
            uri: uri.map_or_else(String::new, ToString::to_string),
            protocol: format!("{:?}", entry.version),
            status: entry.status.map_or(499, |status| status.as_u16()),
            bytes_sent: entry.bytes,
            request_time: seconds(entry.took),
            referer: value(entry.referer.as_ref()),
            user_agent: value(entry.agent.as_ref()),
            request_id: value(entry.request_id.as_ref()),
            namespace: ingress.map_or_else(String::new, |name| name.namespace.to_string()),
            ingress: ingress.map_or_else(String::new, |name| name.name.to_string()),
            path: route.map_or_else(String::new, |route| route.path.to_string()),
            service: match &entry.upstream {
                Some(upstream) => upstream.id.to_string(),
                None => String::new(),
            },
            upstream_addr: entry
                .attempts
                .iter()
                .map(|a| a.target.to_string())
                .collect(),
            upstream_status: entry.attempts.iter().map(status).collect(),
            upstream_response_time: entry.attempts.iter().map(|a| seconds(a.took)).collect(),
        }
    }
}

/// 502 for none, as nginx writes it.
fn status(attempt: &Attempt) -> u16 {
    attempt.status.map_or(502, |status| status.as_u16())
}

/// With milliseconds.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn value(value: Option<&HeaderValue>) -> String {
    let bytes = value.map_or(&b""[..], HeaderValue::as_bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// `remote - - [time] "request" status bytes "referer" "agent" - seconds [service] [] upstream
/// - seconds status id`.
fn text(line: &Line) -> String {
    let list = |items: Vec<String>| match items.is_empty() {
        true => "-".to_owned(),
        false => items.join(", "),
    };
    format!(
        "{} - - [{}] \"{} {} {}\" {} {} \"{}\" \"{}\" - {:.3} [{}] [] {} - {} {} {}\n",
        line.remote_addr,
        line.time,
        escaped(&line.method),
        escaped(&line.uri),
        line.protocol,
        line.status,
        line.bytes_sent,
        escaped(&line.referer),
        escaped(&line.user_agent),
        line.request_time,
        escaped(&line.service),
        list(line.upstream_addr.clone()),
        list(
            line.upstream_response_time
                .iter()
                .map(|s| format!("{s:.3}"))
                .collect()
        ),
        list(
            line.upstream_status
                .iter()
                .map(ToString::to_string)
                .collect()
        ),
        escaped(&line.request_id),
    )
}

/// As nginx does it: nothing that a client sends can end a field or a line.
fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=31 | 127.. => {
                // A String takes everything.
                let _ = write!(escaped, "\\x{byte:02X}");
            }
            byte => escaped.push(char::from(byte)),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::StatusCode;

    use super::*;
    use crate::model::Target;

    fn entry() -> Entry {
        Entry {
            client: [192, 0, 2, 1].into(),
            uri: "/a?b=c".parse().unwrap(),
            agent: Some(HeaderValue::from_bytes(b"x\"y\xff\\").unwrap()),
            status: Some(StatusCode::OK),
            bytes: 12,
            took: Duration::from_micros(1_700),
            attempts: vec![Attempt {
                target: Target {
                    address: [10, 0, 0, 1].into(),
                    port: 8080,
                },
                status: None,
                took: Duration::from_millis(1),
            }],
            ..Entry::default()
        }
    }

    #[test]
    fn lines_of_json_can_be_read_back() {
        let mut line = Vec::new();
        Format::Json.line(&entry(), &mut line).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read["remote_addr"], "192.0.2.1");
        assert_eq!(read["uri"], "/a?b=c");
        assert_eq!(read["status"], 200);
        assert_eq!(read["request_time"], 0.002);
        assert_eq!(read["upstream_addr"][0], "10.0.0.1:8080");
        assert_eq!(read["upstream_status"][0], 502);
    }

    #[test]
    fn lines_of_text_cannot_be_forged() {
        let mut line = Vec::new();
        Format::Text.line(&entry(), &mut line).unwrap();
        let expected = "192.0.2.1 - - [1970-01-01T00:00:00Z] \"GET /a?b=c HTTP/1.1\" 200 12 \"-\" \
                        \"x\\x22y\\xEF\\xBF\\xBD\\x5C\" - 0.002 [-] [] 10.0.0.1:8080 - 0.001 502 -\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn a_slow_writer_costs_lines_and_no_time() {
        struct Stuck(Arc<std::sync::Mutex<()>>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _held = self.0.lock();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lock = Arc::new(std::sync::Mutex::new(()));
        let held = lock.lock();
        let log = crate::ingress::access_log::AccessLog::start(Format::Json, Stuck(lock.clone()));
        let log = log.unwrap();
        let taken = (0..50_000).filter(|_| log.write(Box::new(entry()))).count();
        assert!((1..50_000).contains(&taken), "{taken}");
        drop(held);
    }
}
