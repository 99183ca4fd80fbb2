// SPDX-License-Identifier: Apache-2.0
//! Answers in place of errors.

use std::sync::Arc;

use super::value::{Wrong, switch};
use super::{Draft, Reader};
use crate::ingress::action::errors::{Codes, Errors, statuses};

/// The Service that answers in place of errors, by its name: also read where Services are chosen.
pub(crate) const DEFAULT_BACKEND: &str = "default-backend";

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let own = reader.value("custom-http-errors", statuses);
    let disabled = reader.value("disable-proxy-intercept-errors", switch);
    let service = reader.value(DEFAULT_BACKEND, service_name);
    if own.is_none() && service.is_none() {
        return;
    }
    let before = draft.route.errors.as_deref().cloned().unwrap_or_default();
    draft.route.errors = Some(Arc::new(Errors {
        own: Codes {
            statuses: own.unwrap_or_default(),
            intercepts: disabled != Some(true),
        },
        service: service.map(Into::into),
        ..before
    }));
}

/// The name of a Service (RFC 1035).
pub(crate) fn service_name(value: &str) -> Result<&str, Wrong> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let whole = value.bytes().all(good) && value.len() <= 63;
    let begins = value.starts_with(|c: char| c.is_ascii_lowercase());
    match whole && begins && !value.ends_with('-') {
        true => Ok(value),
        false => Err(format!(
            "must be the name of a Service of the namespace, is {value:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};

    #[test]
    fn statuses_and_a_service_may_be_named() {
        let annotated = read_all(&[
            ("custom-http-errors", "503, 404"),
            ("default-backend", "errors"),
        ]);
        let errors = annotated.plain.errors.clone().unwrap();
        assert_eq!(errors.own.statuses, [404, 503]);
        assert!(errors.own.intercepts);
        assert_eq!(errors.service.as_deref(), Some("errors"));
        let left = [
            ("custom-http-errors", "404"),
            ("disable-proxy-intercept-errors", "true"),
        ];
        assert!(!read_all(&left).plain.errors.clone().unwrap().own.intercepts);
        assert_eq!(read_all(&left[1..]).plain.errors, None);
    }

    #[test]
    fn what_is_no_error_or_no_service_is_told() {
        let annotated = read_all(&[
            ("custom-http-errors", "404,200"),
            ("default-backend", "other/errors"),
        ]);
        assert_eq!(annotated.plain.errors, None);
        assert_eq!(
            notes(&annotated),
            [
                "annotation custom-http-errors: must be statuses from 400 to 599, is \"200\"; the \
                 default holds",
                "annotation default-backend: must be the name of a Service of the namespace, is \
                 \"other/errors\"; the default holds",
            ]
        );
    }
}
