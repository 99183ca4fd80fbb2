// SPDX-License-Identifier: Apache-2.0
//! What of Ingresses cannot be served, and why.

use std::sync::Arc;

use super::update::Update;
use super::{Catalog, Dirty};
use crate::model::ServiceName;

/// What a note is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Host(Arc<str>),
    Default,
    Tls,
    Annotations,
}

impl Catalog {
    pub(super) fn tell_notes(&mut self, dirty: &Dirty, update: &mut Update) {
        for name in &dirty.noted {
            if let Some(parts) = self.notes.get_mut(name) {
                parts.retain(|_, reasons| !reasons.is_empty());
            }
            update.notes.insert(name.clone(), self.notes(name));
        }
    }

    /// Replaces what is noted of a part of an Ingress.
    pub(super) fn note(
        &mut self,
        name: &ServiceName,
        part: Part,
        reasons: Vec<String>,
        dirty: &mut Dirty,
    ) {
        let empty = reasons.is_empty();
        let parts = self.notes.entry(name.clone()).or_default();
        let old = match empty {
            true => parts.remove(&part),
            false => parts.insert(part.clone(), reasons),
        };
        let changed = old.as_ref() != parts.get(&part);
        if parts.is_empty() {
            self.notes.remove(name);
        }
        if changed {
            dirty.noted.insert(name.clone());
        }
    }

    /// What of an Ingress cannot be served, and why.
    pub fn notes(&self, name: &ServiceName) -> Vec<String> {
        self.noted(name, |_| true)
    }

    /// The same but for its annotations.
    pub fn reasons(&self, name: &ServiceName) -> Vec<String> {
        self.noted(name, |part| *part != Part::Annotations)
    }

    fn noted(&self, name: &ServiceName, about: impl Fn(&Part) -> bool) -> Vec<String> {
        let ours = self.served.contains_key(name);
        let skipped = self.skipped.get(name).filter(|_| ours);
        let parts = self.notes.get(name).into_iter().flatten();
        let parts = parts.filter(|(part, _)| about(part));
        let all = skipped.into_iter().chain(parts.map(|(_, reasons)| reasons));
        all.flatten().cloned().collect()
    }
}
