// SPDX-License-Identifier: Apache-2.0
//! Certificates, from the Secrets that hold them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;

use super::Changes;
use super::report::Report;
use crate::ingress::catalog::{Catalog, Update, Wishes};
use crate::ingress::tls::{self, Certificates, CertifiedKey};
use crate::model::{Secret, ServiceName};

/// What was made of a Secret.
struct Parsed {
    secret: Arc<Secret>,
    /// The last that could be used.
    key: Option<Arc<CertifiedKey>>,
}

/// The certificates of all Secrets that are needed.
#[derive(Default)]
pub(super) struct Keys {
    parsed: HashMap<ServiceName, Parsed>,
    wishes: Wishes,
}

impl Keys {
    /// Takes in what has changed, and shows other certificates if that makes any.
    pub(super) fn update(
        &mut self,
        update: &Update,
        catalog: &Catalog,
        (store, changes): (&tls::Store, &Changes),
        report: &mut Report,
    ) {
        if let Some(wishes) = &update.wishes {
            self.wishes = wishes.clone();
        }
        let mut changed = update.wishes.is_some();
        for name in &update.secrets {
            changed |= self.parse(name, catalog.secret(name), (report, changes));
        }
        if !changed {
            return;
        }
        let (by_host, default) = (&self.wishes.by_host, &self.wishes.default);
        let key = |name: &ServiceName| self.parsed.get(name)?.key.clone();
        let hosts = by_host.iter();
        let certificates = Certificates {
            by_host: hosts
                .filter_map(|(host, name)| Some((host.clone(), key(name)?)))
                .collect(),
            default: default.as_ref().and_then(key),
        };
        let expiry = by_host.iter().filter_map(|(host, name)| {
            let not_after = certificates.by_host.get(host)?.not_after();
            Some((host.clone(), name.clone(), not_after))
        });
        changes.certificates.store(Arc::new(expiry.collect()));
        store.replace(certificates);
        self.look(report);
    }

    /// Whether another certificate follows from a Secret.
    fn parse(
        &mut self,
        name: &ServiceName,
        secret: Option<&Arc<Secret>>,
        (report, changes): (&mut Report, &Changes),
    ) -> bool {
        let Some(secret) = secret else {
            report.secret(name, None);
            return self.parsed.remove(name).is_some_and(|p| p.key.is_some());
        };
        let old = self.parsed.get(name);
        if old.is_some_and(|old| Arc::ptr_eq(&old.secret, secret)) {
            return false;
        }
        let last = old.and_then(|old| old.key.clone());
        let certificate = secret.certificate.as_deref().unwrap_or_default();
        let parsed = tls::parse(certificate, secret.key.as_deref().unwrap_or_default());
        let (key, reason) = match parsed {
            Ok(key) => (Some(Arc::new(key)), None),
            Err(error) => {
                changes.refused.fetch_add(1, Relaxed);
                let goes_on = match last {
                    Some(_) => "the one before goes on",
                    None => "the default certificate is shown",
                };
                (last.clone(), Some(format!("{error}; {goes_on}")))
            }
        };
        let changed = reason.is_none();
        report.secret(name, reason);
        let secret = secret.clone();
        self.parsed.insert(name.clone(), Parsed { secret, key });
        changed
    }

    /// Says which certificates are shown though clients will refuse them.
    pub(super) fn look(&self, report: &mut Report) {
        let now = Timestamp::now().as_second();
        let mut wrong: BTreeMap<ServiceName, Vec<String>> = BTreeMap::new();
        for (host, name) in &self.wishes.by_host {
            let Some(key) = self.parsed.get(name).and_then(|parsed| parsed.key.as_ref()) else {
                continue;
            };
            let reasons = wrong.entry(name.clone()).or_default();
            if !key.covers(host) {
                let names: Vec<&str> = key.names().take(5).collect();
                let names = names.join(", ");
                reasons.push(format!(
                    "{host} is none of the certificate's names ({names})"
                ));
            }
        }
        for (name, reasons) in &mut wrong {
            let key = self.parsed.get(name).and_then(|parsed| parsed.key.as_ref());
            let (Some(begin), Some(end)) = (
                key.map(|key| key.not_before()),
                key.map(|key| key.not_after()),
            ) else {
                continue;
            };
            let time = |second| {
                Timestamp::from_second(second).map_or_else(|e| e.to_string(), |t| t.to_string())
            };
            if end < now {
                reasons.push(format!("the certificate has expired at {}", time(end)));
            } else if begin > now {
                reasons.push(format!(
                    "the certificate is not valid before {}",
                    time(begin)
                ));
            }
        }
        report.certificates(wrong);
    }
}
