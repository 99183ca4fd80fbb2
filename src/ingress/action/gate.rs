// SPDX-License-Identifier: Apache-2.0
//! All that a request has to pass before it is handed on.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, REFERER, USER_AGENT};
use ipnet::IpNet;

use super::access::{Access, Ruling};
use super::basic::Basic;
use super::client_certificate::ClientCertificate;
use super::external::External;
use super::limit::Limit;
use super::search::Search;

/// Where no name and password are asked for, and no other service, unless a ConfigMap says
/// otherwise.
pub const OPEN: &str = "/.well-known/acme-challenge";

/// What a request has to pass, in this order. The default lets everybody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What the host asks of clients' certificates.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// How often clients may ask.
    pub limit: Option<Arc<Limit>>,
    /// Who may come in by address.
    pub access: Access,
    /// Who may by name and password.
    pub basic: Option<Arc<Basic>>,
    /// Which service is asked.
    pub external: Option<Arc<External>>,
    /// Whether one of the last three is enough.
    pub satisfy_any: bool,
    /// Paths below which names and services are not asked for.
    pub open: Vec<Arc<str>>,
    /// The statuses of too many requests, and of too many under way.
    pub statuses: (StatusCode, StatusCode),
    /// Whether Secrets and ConfigMaps of other namespaces may be named.
    pub cross_namespace: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            certificate: None,
            limit: None,
            access: Access::default(),
            basic: None,
            external: None,
            satisfy_any: false,
            open: vec![OPEN.into()],
            statuses: (
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            cross_namespace: false,
        }
    }
}

impl Gate {
    /// Whether names and services are not asked for on a route with this path, as the Ingress has
    /// it.
    pub fn is_open(&self, path: &str) -> bool {
        self.open.iter().any(|open| path.starts_with(&**open))
    }
}

/// How what keeps somebody out is combined, as nginx's `satisfy` does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Satisfy {
    any: bool,
    granted: bool,
    refused: Option<StatusCode>,
}

impl Satisfy {
    /// Nothing has been asked so far.
    pub fn new(any: bool) -> Self {
        Self {
            any,
            granted: false,
            refused: None,
        }
    }

    /// Takes in what one of them says; a refusal would be answered with `status`.
    pub fn take(&mut self, ruling: Ruling, status: StatusCode) {
        match ruling {
            Ruling::Silent => {}
            Ruling::Granted => self.granted = true,
            // nginx prefers the status that a client can do something about.
            Ruling::Refused if self.refused != Some(StatusCode::UNAUTHORIZED) => {
                self.refused = Some(status);
            }
            Ruling::Refused => {}
        }
    }

    /// Whether the others need not be asked any more.
    pub fn is_settled(&self) -> bool {
        match self.any {
            true => self.granted,
            false => self.refused.is_some(),
        }
    }

    /// The status of the refusal, if that is what it comes to.
    pub fn refusal(&self) -> Option<StatusCode> {
        self.refused.filter(|_| !(self.any && self.granted))
    }
}

/// Whom nobody answers, whatever they ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks {
    /// By address.
    pub networks: Vec<IpNet>,
    /// By `User-Agent`.
    pub agents: Vec<Named>,
    /// By `Referer`.
    pub referers: Vec<Named>,
}

/// A text that is compared without case, or a pattern, as nginx's `map` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The whole text.
    Text(String),
    /// `~` and a pattern, or `~*` and one that does not see case.
    Pattern(Search),
}

impl Named {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_matches(|c| matches!(c, '"' | '\''));
        let pattern = match text.strip_prefix("~*") {
            Some(pattern) => format!("(?i){pattern}"),
            None => match text.strip_prefix('~') {
                Some(pattern) => pattern.to_owned(),
                None => return Ok(Self::Text(text.to_owned())),
            },
        };
        let search = Search::new(&pattern);
        search
            .map(Self::Pattern)
            .map_err(|why| format!("{text:?} {why}"))
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own.eq_ignore_ascii_case(text),
            Self::Pattern(search) => search.is_in(text),
        }
    }
}

impl Blocks {
    /// Whether a request is one of them.
    pub fn has(&self, address: std::net::IpAddr, headers: &HeaderMap) -> bool {
        let address = address.to_canonical();
        let named = |list: &[Named], name: HeaderName| {
            let value = headers
                .get(name)
                .map(|v| String::from_utf8_lossy(v.as_bytes()));
            !list.is_empty()
                && list
                    .iter()
                    .any(|n| n.fits(value.as_deref().unwrap_or_default()))
        };
        self.networks.iter().any(|net| net.contains(&address))
            || named(&self.agents, USER_AGENT)
            || named(&self.referers, REFERER)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn all_must_let_in_or_any_of_them() {
        use Ruling::{Granted, Refused, Silent};
        let (no, login) = (StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED);
        for (any, rulings, expected) in [
            (false, [(Silent, no), (Silent, login)], None),
            (false, [(Granted, no), (Granted, login)], None),
            (false, [(Granted, no), (Refused, login)], Some(login)),
            (false, [(Refused, no), (Granted, login)], Some(no)),
            (true, [(Refused, no), (Granted, login)], None),
            (true, [(Granted, no), (Refused, login)], None),
            (true, [(Refused, no), (Refused, login)], Some(login)),
            (true, [(Refused, login), (Refused, no)], Some(login)),
            (true, [(Refused, no), (Silent, login)], Some(no)),
            (true, [(Silent, no), (Silent, login)], None),
        ] {
            let mut satisfy = Satisfy::new(any);
            for (ruling, status) in rulings {
                if !satisfy.is_settled() {
                    satisfy.take(ruling, status);
                }
            }
            assert_eq!(satisfy.refusal(), expected, "{any} {rulings:?}");
        }
    }

    #[test]
    fn some_paths_stay_open() {
        let gate = Gate::default();
        assert!(gate.is_open("/.well-known/acme-challenge/x"));
        assert!(!gate.is_open("/") && !gate.is_open("/x"));
    }

    #[test]
    fn who_is_blocked_is_known_by_address_agent_or_referer() {
        let named = |all: &[&str]| all.iter().map(|n| Named::parse(n).expect(n)).collect();
        let blocks = Blocks {
            networks: vec!["192.0.2.0/24".parse().expect("a network")],
            agents: named(&["Evil/1.0", "~*bot", "~^Curl"]),
            referers: named(&["~spam\\.example"]),
        };
        let has = |address: &str, agent: &'static str, referer: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
            headers.insert(REFERER, HeaderValue::from_static(referer));
            blocks.has(address.parse().expect("an address"), &headers)
        };
        assert!(has("192.0.2.9", "", ""));
        assert!(has("::1", "evil/1.0", "") && !has("::1", "evil/1.0b", ""));
        assert!(has("::1", "GoogleBot", "") && has("::1", "Curl/8", ""));
        assert!(!has("::1", "curl/8", ""));
        assert!(has("::1", "", "http://spam.example/") && !has("::1", "", ""));
        assert!(!blocks.has("::1".parse().expect("an address"), &HeaderMap::new()));
        assert!(Named::parse("~(").is_err());
    }
}
