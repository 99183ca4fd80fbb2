// SPDX-License-Identifier: Apache-2.0
//! What holds where no annotation says otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::header::HeaderValue;

use super::known::Risk;
use crate::ingress::table::{Behaviour, RouteSettings};

/// What holds where no annotation says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// How Ingresses are read.
    pub behaviour: Behaviour,
    /// How requests are handed on, without a redirect to HTTPS.
    pub route: RouteSettings,
    /// Redirects to HTTPS.
    pub https: Https,
    /// Paths that are never redirected to HTTPS.
    pub plain_paths: PlainPaths,
    /// That clients come back by HTTPS only.
    pub hsts: Hsts,
    /// What annotations may say.
    pub policy: Policy,
}

/// What annotations may say, as the ConfigMap has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether snippets are served.
    pub snippets: bool,
    /// The headers of answers that a ConfigMap of an Ingress may set, in lower case.
    pub response_headers: Arc<BTreeSet<Box<str>>>,
    /// The highest risk that is taken; none: what `annotations-risk-level` does not say.
    pub risk: Option<Risk>,
}

impl Defaults {
    /// Those of a behaviour without a ConfigMap: ingress-nginx redirects to HTTPS where there is a
    /// certificate, and has clients come back that way. It waits for the bodies of requests, and
    /// takes no answer with a head of more than 4 KiB (`ProxyRequestBuffering` and
    /// `ProxyBufferSize` of its internal/ingress/controller/config).
    pub fn of(behaviour: Behaviour, route: &RouteSettings) -> Self {
        let on = behaviour == Behaviour::IngressNginx;
        Self {
            behaviour,
            route: RouteSettings {
                behaviour,
                keeps_bodies: on || route.keeps_bodies,
                response_head: route.response_head.or(on.then_some(4 << 10)),
                ..route.clone()
            },
            plain_paths: PlainPaths::default(),
            policy: Policy::default(),
            https: Https {
                secured: on,
                ..Https::default()
            },
            hsts: Hsts {
                on,
                ..Hsts::default()
            },
        }
    }
}

/// Beginnings of paths as Ingresses have them, which are never redirected to HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainPaths(Vec<Arc<str>>);

impl Default for PlainPaths {
    fn default() -> Self {
        Self::new("/.well-known/acme-challenge")
    }
}

impl PlainPaths {
    /// Between commas.
    pub(crate) fn new(text: &str) -> Self {
        let all = text.split(',').map(str::trim);
        Self(all.filter(|path| !path.is_empty()).map(Arc::from).collect())
    }

    /// Whether a path begins with one of them.
    pub fn cover(&self, path: &str) -> bool {
        self.0.iter().any(|begin| path.starts_with(&**begin))
    }
}

/// When requests are redirected to HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Https {
    /// Those for hosts that an Ingress lists under `tls`.
    pub secured: bool,
    /// All.
    pub forced: bool,
    /// With this status.
    pub status: u16,
}

impl Default for Https {
    fn default() -> Self {
        Self {
            secured: false,
            forced: false,
            status: 308,
        }
    }
}

/// `Strict-Transport-Security`. But for `on`, the defaults are ingress-nginx's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// Whether answers over TLS have it.
    pub on: bool,
    /// For how many seconds it holds.
    pub max_age: u32,
    /// Whether it holds for names below, too.
    pub subdomains: bool,
    /// Whether browsers may be built with it.
    pub preload: bool,
}

impl Default for Hsts {
    fn default() -> Self {
        Self {
            on: false,
            max_age: 31_536_000,
            subdomains: true,
            preload: false,
        }
    }
}

impl Hsts {
    /// The header's value, if it is sent.
    pub fn header(self) -> Option<HeaderValue> {
        let age = self.max_age;
        let subdomains = if self.subdomains {
            "; includeSubDomains"
        } else {
            ""
        };
        let preload = if self.preload { "; preload" } else { "" };
        let text = format!("max-age={age}{subdomains}{preload}");
        self.on.then(|| HeaderValue::from_str(&text).ok()).flatten()
    }
}

/// One of each behaviour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByBehaviour<T> {
    spec: T,
    ingress_nginx: T,
}

impl<T> ByBehaviour<T> {
    /// Makes both.
    pub fn new(mut make: impl FnMut(Behaviour) -> T) -> Self {
        Self {
            spec: make(Behaviour::Spec),
            ingress_nginx: make(Behaviour::IngressNginx),
        }
    }

    /// Both.
    pub fn each_mut(&mut self) -> [&mut T; 2] {
        [&mut self.spec, &mut self.ingress_nginx]
    }

    /// The one of a behaviour.
    pub fn of(&self, behaviour: Behaviour) -> &T {
        match behaviour {
            Behaviour::Spec => &self.spec,
            Behaviour::IngressNginx => &self.ingress_nginx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingress_nginx_prefers_https() {
        let route = RouteSettings::default();
        let spec = Defaults::of(Behaviour::Spec, &route);
        assert_eq!(spec, Defaults::default());
        assert_eq!(spec.hsts.header(), None);
        assert!(!spec.route.keeps_bodies && spec.route.response_head.is_none());
        let nginx = Defaults::of(Behaviour::IngressNginx, &route);
        assert!(nginx.https.secured && !nginx.https.forced);
        assert!(nginx.route.keeps_bodies);
        assert_eq!(nginx.route.response_head, Some(4096));
        let header = nginx.hsts.header().expect("a header");
        assert_eq!(header, "max-age=31536000; includeSubDomains");
    }
}
