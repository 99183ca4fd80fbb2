// SPDX-License-Identifier: Apache-2.0
//! What is spoken to endpoints, and when a request is tried again at another.

use std::sync::Arc;
use std::time::Duration;

use super::value::{Wrong, number, size, switch};
use super::{Draft, Kind, Reader, backend_tls};
use crate::ingress::action::retry::Retry;
use crate::ingress::keep;
use crate::ingress::table::{Speech, UpstreamProtocol};

/// The longest head of a response that is ever taken, in bytes.
pub(crate) const LONGEST_HEAD: u64 = 64 << 10;
/// ingress-nginx's `proxy-max-temp-file-size`.
const TEMP_FILE: u64 = 1024 << 20;

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    retry(reader, draft);
    speech(reader, draft);
    if let Some(http10) = reader.value("proxy-http-version", http_version) {
        draft.route.http10 = http10;
        if http10 {
            let text = "requests with a body of unknown length are answered 411 if it is not \
                        waited for: without proxy-request-buffering, and beyond 1 MiB";
            reader.note("proxy-http-version", Kind::Approximated, text);
        }
    }
    if let Some(most) = reader.value("proxy-buffer-size", size) {
        draft.route.response_head = Some(most);
        if most > LONGEST_HEAD {
            let text = format!("the head of a response has {LONGEST_HEAD} bytes at most");
            reader.note("proxy-buffer-size", Kind::Approximated, text);
        }
    }
    bodies(reader, draft);
    buffers(reader);
}

/// Whether it is HTTP/1.0.
pub(crate) fn http_version(value: &str) -> Result<bool, Wrong> {
    match value {
        "1.0" => Ok(true),
        "1.1" => Ok(false),
        _ => Err(format!("must be 1.0 or 1.1, is {value:?}")),
    }
}

fn retry(reader: &mut Reader<'_>, draft: &mut Draft) {
    let route = &mut draft.route;
    let within = route.retry.within;
    if let Some((retry, non_idempotent)) = reader.value("proxy-next-upstream", Retry::parse) {
        route.retry = Retry { within, ..retry };
        route.retry_non_idempotent |= non_idempotent;
    }
    let seconds = |value| number(0, value).map(within_seconds);
    if let Some(within) = reader.value("proxy-next-upstream-timeout", seconds) {
        route.retry.within = within;
    }
}

/// 0 is for ever.
pub(crate) fn within_seconds(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// Whether the Service is asked as a whole.
pub(super) fn by_service(reader: &mut Reader<'_>) -> Option<bool> {
    reader.value("service-upstream", switch)
}

/// Whether bodies of requests are waited for.
fn bodies(reader: &mut Reader<'_>, draft: &mut Draft) {
    let route = &mut draft.route;
    let buffering = reader.value("proxy-request-buffering", on_off);
    if let Some(on) = buffering {
        route.keeps_bodies = on;
    }
    let has_longer = route.body_limit == 0 || route.body_limit > keep::MOST as u64;
    if buffering == Some(true) && has_longer {
        let text = "bodies of more than 1 MiB are handed on as they come, and not buffered";
        reader.note("proxy-request-buffering", Kind::Approximated, text);
    }
    if let Some(Err(text)) =
        reader.value("client-body-buffer-size", |v| size(v).map(|_| in_memory(v)))
    {
        reader.note("client-body-buffer-size", Kind::Approximated, text);
    }
}

/// How much of a body is in memory, in bytes: in nginx the rest of it is in a file, of which there
/// are none here.
pub(crate) fn in_memory(value: &str) -> Result<u64, Wrong> {
    let bytes = size(value)?;
    match bytes > keep::MOST as u64 {
        true => Err("bodies of more than 1 MiB are handed on as they come".to_owned()),
        false => Ok(bytes),
    }
}

/// Responses are not buffered: they are handed on as they come, at the pace of the slower side.
fn buffers(reader: &mut Reader<'_>) {
    if reader.value("proxy-buffering", on_off) == Some(true) {
        let text = "responses are handed on as they come, and not buffered";
        reader.note("proxy-buffering", Kind::Approximated, text);
    }
    let buffers = [
        (
            "proxy-buffers-number",
            reader.value("proxy-buffers-number", |v| number(1, v).map(drop)),
        ),
        (
            "proxy-busy-buffers-size",
            reader.value("proxy-busy-buffers-size", |v| size(v).map(drop)),
        ),
    ];
    for (name, given) in buffers {
        if given.is_some() {
            let text = "means nothing: responses are handed on as they come, and not buffered";
            reader.note(name, Kind::Approximated, text);
        }
    }
    let temp = reader.value("proxy-max-temp-file-size", size);
    if temp.is_some_and(|temp| temp != 0 && temp != TEMP_FILE) {
        let text = "means nothing: there are no files";
        reader.note("proxy-max-temp-file-size", Kind::Approximated, text);
    }
}

pub(crate) fn on_off(value: &str) -> Result<bool, Wrong> {
    match value {
        "on" | "off" => switch(value),
        _ => Err(format!("must be on or off, is {value:?}")),
    }
}

fn speech(reader: &mut Reader<'_>, draft: &mut Draft) {
    let protocol = reader.value("backend-protocol", |value| {
        Ok(match value.to_ascii_uppercase().as_str() {
            "HTTP" => Some(UpstreamProtocol::Http1),
            "HTTPS" => Some(UpstreamProtocol::Tls),
            "GRPC" => Some(UpstreamProtocol::H2c),
            "GRPCS" => Some(UpstreamProtocol::H2Tls),
            "AUTO_HTTP" => Some(UpstreamProtocol::Auto),
            "FCGI" => None,
            _ => {
                return Err(format!(
                    "must be HTTP, HTTPS, GRPC, GRPCS or AUTO_HTTP, is {value:?}"
                ));
            }
        })
    });
    if protocol == Some(None) {
        let why = "FCGI is not served: endpoints have to speak HTTP or gRPC";
        reader.deny("backend-protocol", why);
    }
    let texts = backend_tls::ALL.map(|name| reader.text(name));
    let tls = backend_tls::read(reader, texts);
    let speech = Speech {
        protocol: protocol.flatten(),
        tls: tls.map(Arc::new),
    };
    if speech != Speech::default() {
        draft.route.speech = Some(Arc::new(speech));
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;
    use crate::ingress::annotation::tests::{notes, read_all};
    use crate::ingress::table::RouteSettings;

    fn route(annotations: &[(&str, &str)]) -> (Arc<RouteSettings>, Vec<String>) {
        let annotated = read_all(annotations);
        (annotated.plain.clone(), notes(&annotated))
    }

    #[test]
    fn protocols_have_no_case() {
        for (value, expected) in [
            ("HTTP", UpstreamProtocol::Http1),
            ("https", UpstreamProtocol::Tls),
            ("GRPC", UpstreamProtocol::H2c),
            ("GRPCS", UpstreamProtocol::H2Tls),
            ("AUTO_HTTP", UpstreamProtocol::Auto),
        ] {
            let (route, notes) = route(&[("backend-protocol", value)]);
            let protocol = route.speech.as_ref().and_then(|speech| speech.protocol);
            assert_eq!((protocol, notes), (Some(expected), vec![]));
        }
        let (unknown, notes) = route(&[("backend-protocol", "AJP")]);
        assert_eq!((unknown.speech.clone(), notes.len()), (None, 1));
        assert_eq!(unknown.denied, None);
        let (fcgi, notes) = route(&[("backend-protocol", "FCGI")]);
        assert_eq!(fcgi.denied.as_deref(), Some("backend-protocol"));
        assert!(notes[0].contains("FCGI is not served"), "{notes:?}");
    }

    #[test]
    fn next_upstreams_are_asked_as_nginx_does() {
        let (plain, told) = route(&[
            ("proxy-next-upstream", "error http_502 non_idempotent"),
            ("proxy-next-upstream-timeout", "7"),
            ("proxy-next-upstream-tries", "5"),
        ]);
        assert_eq!(told, [""; 0]);
        assert!(plain.retry.error && !plain.retry.timeout && plain.retry_non_idempotent);
        assert!(plain.retry.on_status(StatusCode::BAD_GATEWAY));
        assert_eq!(plain.retry.within, Some(Duration::from_secs(7)));
        assert_eq!(plain.tries, 5);
        let (plain, told) = route(&[
            ("proxy-next-upstream", "error sometimes"),
            ("proxy-next-upstream-timeout", "0"),
        ]);
        assert_eq!((plain.retry, told.len()), (Retry::default(), 1));
    }

    #[test]
    fn what_concerns_buffers_is_told_unless_it_is_as_here() {
        let (plain, told) = route(&[
            ("proxy-buffering", "off"),
            ("proxy-request-buffering", "off"),
            ("proxy-max-temp-file-size", "1024m"),
            ("proxy-http-version", "1.1"),
            ("proxy-buffer-size", "8k"),
        ]);
        assert_eq!((plain.response_head, told), (Some(8192), vec![]));
        assert!(!plain.http10);
        let (plain, told) = route(&[
            ("proxy-buffering", "on"),
            ("proxy-request-buffering", "on"),
            ("proxy-buffers-number", "8"),
            ("proxy-max-temp-file-size", "2048m"),
            ("proxy-http-version", "1.0"),
            ("proxy-buffer-size", "128k"),
        ]);
        assert!(plain.http10 && plain.keeps_bodies);
        // Not of bodies: there are none of more than 1 MiB.
        assert_eq!(told.len(), 5, "{told:?}");
        let (_, told) = route(&[
            ("proxy-buffering", "true"),
            ("proxy-http-version", "2"),
            ("proxy-buffer-size", "large"),
        ]);
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn what_there_is_no_room_for_is_told() {
        let on = ("proxy-request-buffering", "on");
        for (annotations, kept, told) in [
            (&[on][..], true, 0),
            (&[on, ("proxy-body-size", "8m")], true, 1),
            (&[on, ("proxy-body-size", "0")], true, 1),
            (
                &[
                    ("proxy-request-buffering", "off"),
                    ("proxy-body-size", "8m"),
                ],
                false,
                0,
            ),
            (&[("client-body-buffer-size", "1m")], false, 0),
            (&[("client-body-buffer-size", "2m")], false, 1),
            (&[("client-body-buffer-size", "much")], false, 1),
        ] {
            let (route, notes) = route(annotations);
            assert_eq!((route.keeps_bodies, notes.len()), (kept, told), "{notes:?}");
        }
    }
}
