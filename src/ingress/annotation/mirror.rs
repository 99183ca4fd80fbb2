// SPDX-License-Identifier: Apache-2.0
//! Copies of requests.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::value::switch;
use super::{Draft, Kind, Reader};
use crate::ingress::action::mirror::Mirror;

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let body = reader.value("mirror-request-body", switch) != Some(false);
    let named = reader.value("mirror-host", |value| {
        HeaderValue::from_str(value).map_err(|_| format!("must be a host, is {value:?}"))
    });
    let target = reader.text("mirror-target").map(Mirror::parse);
    match target {
        None => {}
        Some(Err(wrong)) => {
            let text = format!("{wrong}; nothing is copied");
            reader.note("mirror-target", Kind::Refused, text);
        }
        Some(Ok(mirror)) => {
            let what = if mirror.uri.is_none() {
                "copies have the path of the request; "
            } else {
                ""
            };
            let text = format!(
                "{what}a mirror that does not keep up loses copies, requests never wait for it"
            );
            reader.note("mirror-target", Kind::Approximated, text);
            let named = named.unwrap_or_else(|| mirror.named.clone());
            draft.route.mirror = Some(Arc::new(Mirror {
                body,
                named,
                ..mirror
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};
    use super::*;

    #[test]
    fn a_target_may_have_another_host() {
        let target = ("mirror-target", "https://m.example:8443$request_uri");
        let mirror = read_all(&[target]).plain.mirror.clone().unwrap();
        assert_eq!(
            (&mirror.named, mirror.body),
            (&HeaderValue::from_static("m.example"), true)
        );
        let more = [
            target,
            ("mirror-host", "n.example"),
            ("mirror-request-body", "off"),
        ];
        let mirror = read_all(&more).plain.mirror.clone().unwrap();
        assert_eq!(
            (&mirror.named, mirror.body),
            (&HeaderValue::from_static("n.example"), false)
        );
    }

    #[test]
    fn a_target_that_leads_nowhere_is_told() {
        let annotated = read_all(&[("mirror-target", "http://$http_x/"), ("mirror-host", "n")]);
        assert_eq!(annotated.plain.mirror, None);
        let notes = notes(&annotated);
        assert!(notes[0].ends_with("nothing is copied"), "{notes:?}");
        assert_eq!(read_all(&[("mirror-host", "n.example")]).plain.mirror, None);
    }
}
