// SPDX-License-Identifier: Apache-2.0
//! Which Secret serves which host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Catalog, Dirty, Part, Update, index};
use crate::model::{Ingress, ServiceName};

/// The certificates that are to be served, by the Secrets that hold them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// By host: a name, or `*.` and a name.
    pub by_host: BTreeMap<Arc<str>, ServiceName>,
    /// For all others.
    pub default: Option<ServiceName>,
}

impl Catalog {
    /// Finds out about certificates and the Secrets that hold them.
    pub(super) fn certify(&mut self, dirty: &mut Dirty, update: &mut Update) {
        let secrets = std::mem::take(&mut dirty.secrets);
        let mut touched: BTreeSet<ServiceName> = dirty.noted.clone();
        for secret in &secrets {
            touched.extend(self.index.of_secret(secret).cloned());
        }
        if dirty.tls {
            update.wishes = Some(self.wishes());
        }
        for name in touched {
            let reasons = match self.served.get(&name) {
                Some(ingress) => self.missing(ingress),
                None => Vec::new(),
            };
            self.note(&name, Part::Tls, reasons, dirty);
        }
        let default = self.options.default_certificate.as_ref();
        // Those that only annotations name hold no certificate of ours.
        let is_used =
            |s: &ServiceName| Some(s) == default || self.index.of_secret(s).next().is_some();
        update.secrets = secrets.into_iter().filter(is_used).collect();
        if dirty.wanted {
            let named = self.index.secrets().chain(default);
            let named = named.chain(self.annotations.secrets());
            update.wanted = Some(Arc::new(named.cloned().collect()));
        }
    }

    /// The oldest Ingress that has a host decides.
    pub(super) fn wishes(&self) -> Wishes {
        let mut wishes = Wishes {
            default: self.options.default_certificate.clone(),
            ..Wishes::default()
        };
        for (host, ranks) in self.index.of_tls_hosts() {
            let first = ranks.first().and_then(|(_, name)| self.served.get(name));
            let secret = first.and_then(|ingress| {
                let mut all = index::certificates(ingress).into_iter();
                all.find(|(h, _)| h == host)
            });
            if let Some((host, secret)) = secret {
                wishes.by_host.insert(host, secret);
            }
        }
        self.names.certify(&mut wishes);
        wishes
    }

    /// Hosts for which several Ingresses name Secrets: host, who decides, and who does not.
    pub fn certificate_rivals(&self) -> Vec<(Arc<str>, ServiceName, ServiceName)> {
        let mut rivals = Vec::new();
        for (host, ranks) in self.index.of_tls_hosts() {
            let secret = |name: &ServiceName| {
                let mut all = index::certificates(self.served.get(name)?).into_iter();
                all.find(|(h, _)| h == host).map(|(_, secret)| secret)
            };
            let mut names = ranks.iter().map(|(_, name)| name);
            let Some(first) = names.next() else { continue };
            let others = names.filter(|name| secret(name) != secret(first));
            rivals.extend(others.map(|other| (host.clone(), first.clone(), other.clone())));
        }
        rivals
    }

    /// What of an Ingress's certificates is not there.
    fn missing(&self, ingress: &Ingress) -> Vec<String> {
        let mut reasons = Vec::new();
        for (i, entry) in ingress.tls.iter().enumerate() {
            let Some(secret) = &entry.secret else {
                continue;
            };
            let secret = ServiceName::new(ingress.name.namespace.clone(), secret.clone());
            let path = format!("spec.tls[{i}].secretName");
            match self.secrets.get(&secret) {
                None => reasons.push(format!("{path}: Secret {secret} is not there")),
                Some(found) if found.certificate.is_none() || found.key.is_none() => {
                    let lacks = "lacks tls.crt or tls.key";
                    reasons.push(format!("{path}: Secret {secret} {lacks}"));
                }
                Some(_) => {}
            }
        }
        reasons
    }
}
