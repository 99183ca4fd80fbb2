// SPDX-License-Identifier: Apache-2.0
//! Headers of answers, and what is logged of requests.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::value::{Wrong, switch};
use super::{Draft, Kind, Reader};
use crate::ingress::action::headers::{self, Changes, Text};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    if let Some(value) = reader.value("connection-proxy-header", connection) {
        headers_of(draft).connection = Some(value);
    }
    custom_headers(reader, draft);
    if let Some(on) = reader.value("enable-access-log", switch) {
        draft.route.access_log = on;
    }
    if reader.value("enable-rewrite-log", switch) == Some(true) {
        let text = "rewrites are not logged; `ferrule debug ingress` shows what becomes of a URL";
        reader.note("enable-rewrite-log", Kind::Refused, text);
    }
}

/// The route's changes of headers, to be changed.
pub(super) fn headers_of(draft: &mut Draft) -> &mut headers::Headers {
    Arc::make_mut(draft.route.headers.get_or_insert_default())
}

fn connection(value: &str) -> Result<HeaderValue, Wrong> {
    match value {
        "close" => Ok(HeaderValue::from_static("close")),
        "keep-alive" => Ok(HeaderValue::from_static("keep-alive")),
        _ => Err(format!("must be close or keep-alive, is {value:?}")),
    }
}

/// Those of a ConfigMap, of which each must be allowed.
fn custom_headers(reader: &mut Reader<'_>, draft: &mut Draft) {
    const NAME: &str = "custom-headers";
    let Some(text) = reader.text(NAME) else {
        return;
    };
    let name = reader.object_name(text);
    let Some(map) = reader.config_map(&name) else {
        return reader.deny(NAME, format!("ConfigMap {name} is not there"));
    };
    let allowed = &draft.policy.response_headers;
    let mut changes = Changes::default();
    for (header, value) in &map.data {
        if !allowed.contains(&*header.to_ascii_lowercase()) {
            let text = format!(
                "ConfigMap {name}: header {header} is not among the ConfigMap key \
                 global-allowed-response-headers"
            );
            return reader.deny(NAME, text);
        }
        let both =
            headers::name(header).and_then(|header| Ok((header, Text::fixed(value.trim())?)));
        match both {
            Ok((header, text)) => changes.set(header, text),
            Err(wrong) => return reader.deny(NAME, format!("ConfigMap {name}: {wrong}")),
        }
    }
    headers_of(draft).own.edits.extend(changes.edits);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{Shelf, ingress, notes, read_all};
    use super::super::{Annotated, Defaults, read};
    use super::*;
    use crate::ingress::action::headers::What;
    use crate::model::{ConfigMap, ServiceName};

    fn custom(map: &[(&str, &str)], text: &str) -> Annotated {
        let mut shelf = Shelf::default();
        let data: BTreeMap<_, _> = map
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect();
        let name = ServiceName::new("sys", "headers");
        let map = ConfigMap {
            name: name.clone(),
            data,
        };
        shelf.config_maps.insert(name, map);
        let mut defaults = Defaults::default();
        defaults.policy.response_headers = Arc::new(["x-a".into(), "content-type".into()].into());
        read(&ingress(&[("custom-headers", text)]), &defaults, &shelf)
    }

    #[test]
    fn headers_of_a_config_map_are_set() {
        let map = [("X-A", "$host; x"), ("Content-Type", "application/json")];
        let annotated = custom(&map, "sys/headers");
        let edits = &annotated.plain.headers.as_ref().unwrap().own.edits;
        let what = |header: &str, text: &str| {
            let text = Text::fixed(text).unwrap();
            What::Set(headers::name(header).unwrap(), text)
        };
        let found: Vec<_> = edits.iter().map(|edit| edit.what.clone()).collect();
        assert_eq!(
            found,
            [what("content-type", map[1].1), what("x-a", map[0].1)]
        );
        assert!(annotated.plain.denied.is_none() && annotated.notes.is_empty());
        let named = annotated.named.config_maps;
        assert!(named.contains(&ServiceName::new("sys", "headers")));
    }

    #[test]
    fn a_header_that_is_not_allowed_closes_the_paths() {
        for (map, text, part) in [
            (
                &[("X-B", "1")][..],
                "sys/headers",
                "header X-B is not among",
            ),
            (
                &[("X-A", "a\nb")],
                "sys/headers",
                "must be a header's value",
            ),
            (&[], "headers", "ConfigMap default/headers is not there"),
        ] {
            let annotated = custom(map, text);
            assert_eq!(annotated.plain.denied.as_deref(), Some("custom-headers"));
            let notes = notes(&annotated);
            assert!(notes[0].contains(part), "{notes:?}");
        }
    }

    #[test]
    fn logs_and_connections_have_switches() {
        let annotated = read_all(&[
            ("enable-access-log", "false"),
            ("connection-proxy-header", "keep-alive"),
            ("enable-rewrite-log", "true"),
        ]);
        assert!(!annotated.plain.access_log);
        let headers = annotated.plain.headers.clone().unwrap();
        assert_eq!(headers.connection.as_ref().unwrap(), "keep-alive");
        assert_eq!(annotated.notes.len(), 1);
        assert!(read_all(&[]).plain.access_log);
        let wrong = read_all(&[("connection-proxy-header", "upgrade")]);
        assert_eq!(wrong.plain.headers, None);
        assert_eq!(wrong.notes.len(), 1);
    }
}
