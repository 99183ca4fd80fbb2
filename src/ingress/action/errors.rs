// SPDX-License-Identifier: Apache-2.0
//! Answers in place of errors: a default backend is asked for them. PURE.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::template::Place;
use crate::ingress::table::Upstream;

/// Whose answers are replaced, and by whom.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Errors {
    /// Statuses that the Ingress names; none: those of all Ingresses hold.
    pub own: Codes,
    /// Statuses that are replaced for all Ingresses, by the default backend of all.
    pub everywhere: Codes,
    /// The Service of the Ingress's namespace that answers in place of errors, and where there is
    /// no endpoint.
    pub service: Option<Arc<str>>,
    /// Its endpoints; none if it is not there.
    pub backend: Option<Arc<Upstream>>,
}

// An upstream is compared by all that it says, which nothing in it keeps from being equal to itself.
impl Eq for Errors {}

/// Statuses of errors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codes {
    /// From 400 to 599.
    pub statuses: Vec<u16>,
    /// Whether answers of endpoints are replaced, too, and not only those of our own.
    pub intercepts: bool,
}

/// Who answers in place of an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Instead {
    /// The Ingress's own default backend.
    Own(Arc<Upstream>),
    /// The default backend of all; where there is none, 404.
    Everybody,
}

impl Errors {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.own.statuses.is_empty()
            && self.everywhere.statuses.is_empty()
            && self.service.is_none()
    }

    /// Who answers in place of a status; `ours` if it is one of our own.
    pub fn instead(&self, status: StatusCode, ours: bool) -> Option<Instead> {
        let named = !self.own.statuses.is_empty();
        let codes = if named { &self.own } else { &self.everywhere };
        // nginx has one switch in the location, on top of the one of all.
        let everywhere = &self.everywhere;
        let intercepts =
            codes.intercepts || (!everywhere.statuses.is_empty() && everywhere.intercepts);
        if !codes.statuses.contains(&status.as_u16()) || !(ours || intercepts) {
            return None;
        }
        Some(match self.usable().filter(|_| named) {
            Some(own) => Instead::Own(own.clone()),
            None => Instead::Everybody,
        })
    }

    /// The default backend of the Ingress, if it has endpoints.
    pub fn usable(&self) -> Option<&Arc<Upstream>> {
        let backend = self.backend.as_ref();
        backend.filter(|backend| !backend.endpoints.is_empty())
    }
}

/// Statuses between commas.
///
/// # Errors
///
/// One of them is not from 400 to 599.
pub fn statuses(text: &str) -> Result<Vec<u16>, String> {
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let mut all = Vec::new();
    for word in words {
        let status = word.parse::<u16>().ok();
        let status = status.filter(|status| (400..=599).contains(status));
        all.push(status.ok_or_else(|| format!("must be statuses from 400 to 599, is {word:?}"))?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Tells a default backend what it answers for. `uri` only where it is not asked for that itself.
pub fn tell(status: StatusCode, place: &Place<'_>, uri: Option<&str>, headers: &mut HeaderMap) {
    let format = headers.get(hyper::header::ACCEPT).cloned();
    let code = status.as_u16().to_string();
    let said = [
        ("x-code", code.as_str()),
        ("x-original-uri", uri.unwrap_or_default()),
        ("x-namespace", place.namespace),
        ("x-ingress-name", place.ingress_name),
        ("x-service-name", place.service_name),
        ("x-service-port", place.service_port),
    ];
    for (name, text) in said {
        let name = HeaderName::from_static(name);
        match HeaderValue::from_str(text) {
            Ok(value) if !text.is_empty() => headers.insert(name, value),
            // What a client says of it must not be believed.
            _ => headers.remove(name),
        };
    }
    let name = HeaderName::from_static("x-format");
    match format {
        Some(format) => headers.insert(name, format),
        None => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::table::{Balance, UpstreamId, UpstreamProtocol};
    use crate::model::{ServiceName, Target};

    fn backend(endpoints: usize) -> Arc<Upstream> {
        let target = Target {
            address: "10.0.0.1".parse().unwrap(),
            port: 80,
        };
        Arc::new(Upstream {
            id: UpstreamId {
                service: ServiceName::new("default", "errors"),
                port: "".into(),
                protocol: UpstreamProtocol::Http1,
                variant: "".into(),
            },
            endpoints: vec![target; endpoints].into(),
            protocol: UpstreamProtocol::Http1,
            balance: Balance::RoundRobin,
            sessions: None,
            tls: None,
        })
    }

    fn codes(statuses: &[u16], intercepts: bool) -> Codes {
        Codes {
            statuses: statuses.to_vec(),
            intercepts,
        }
    }

    fn instead(errors: &Errors, status: u16, ours: bool) -> Option<Instead> {
        errors.instead(StatusCode::from_u16(status).unwrap(), ours)
    }

    #[test]
    fn the_ingress_goes_before_all() {
        let own = backend(1);
        let errors = Errors {
            own: codes(&[404], true),
            everywhere: codes(&[503], true),
            service: Some("errors".into()),
            backend: Some(own.clone()),
        };
        assert_eq!(
            instead(&errors, 404, false),
            Some(Instead::Own(own.clone()))
        );
        assert_eq!(instead(&errors, 503, true), None);
        let all = Errors {
            own: Codes::default(),
            ..errors.clone()
        };
        assert_eq!(instead(&all, 404, true), None);
        assert_eq!(instead(&all, 503, false), Some(Instead::Everybody));
        let empty = Errors {
            backend: Some(backend(0)),
            ..errors
        };
        assert_eq!(instead(&empty, 404, true), Some(Instead::Everybody));
        assert_eq!(empty.usable(), None);
    }

    #[test]
    fn answers_of_endpoints_may_be_left_alone() {
        let errors = Errors {
            own: codes(&[404], false),
            ..Errors::default()
        };
        assert_eq!(instead(&errors, 404, false), None);
        assert_eq!(instead(&errors, 404, true), Some(Instead::Everybody));
        let both = Errors {
            everywhere: codes(&[500], true),
            ..errors
        };
        assert_eq!(instead(&both, 404, false), Some(Instead::Everybody));
        assert!(Errors::default().is_idle() && !both.is_idle());
    }

    #[test]
    fn statuses_are_those_of_errors() {
        assert_eq!(statuses("503, 404,,404"), Ok(vec![404, 503]));
        for text in ["200", "600", "x", "404 503"] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_default_backend_is_told_what_for() {
        let mut headers = HeaderMap::new();
        headers.insert("accept", "text/html".parse().unwrap());
        headers.insert("x-code", "200".parse().unwrap());
        headers.insert("x-service-port", "evil".parse().unwrap());
        let place = Place {
            namespace: "default",
            ingress_name: "web",
            service_name: "shop",
            ..Place::default()
        };
        tell(StatusCode::NOT_FOUND, &place, Some("/a?b"), &mut headers);
        let mut said: Vec<String> = headers
            .iter()
            .map(|(n, v)| format!("{n}={}", v.to_str().unwrap()))
            .collect();
        said.sort();
        assert_eq!(
            said,
            [
                "accept=text/html",
                "x-code=404",
                "x-format=text/html",
                "x-ingress-name=web",
                "x-namespace=default",
                "x-original-uri=/a?b",
                "x-service-name=shop"
            ]
        );
    }
}
