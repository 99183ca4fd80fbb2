// SPDX-License-Identifier: Apache-2.0
//! Hands out annotations by name, and keeps account of what is wrong with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::known::{self, Fate};
use super::value::{Wrong, switch};
use super::{Kind, Named, Note, Objects, keys};
use crate::ingress::table::Behaviour;
use crate::model::{ConfigMap, Ingress, Secret, ServiceName};

/// The annotations of one Ingress, while they are read.
pub(super) struct Reader<'a> {
    ingress: &'a Ingress,
    objects: &'a dyn Objects,
    taken: BTreeSet<&'a str>,
    notes: Vec<Note>,
    named: Named,
    denied: Option<Arc<str>>,
    behaviour: Behaviour,
    left_out: bool,
    /// Which modules have asked for a name.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        ingress: &'a Ingress,
        objects: &'a dyn Objects,
        behaviour: Behaviour,
    ) -> Self {
        Self {
            ingress,
            objects,
            taken: BTreeSet::new(),
            notes: Vec::new(),
            named: Named::default(),
            denied: None,
            behaviour,
            left_out: false,
            #[cfg(test)]
            asked: std::collections::BTreeMap::new(),
        }
    }

    /// The value of an annotation, without blanks around it; none if it is not there or empty.
    #[cfg_attr(test, track_caller)]
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        #[cfg(test)]
        self.record(name, std::panic::Location::caller().file());
        let (name, value) = self.ingress.annotations.get_key_value(name)?;
        self.taken.insert(name);
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// A value in its shape. One that has another is noted, and counts as not there.
    #[cfg_attr(test, track_caller)]
    pub(super) fn value<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.parsed(name, parse, |reader, wrong| {
            reader.note(name, Kind::Invalid, format!("{wrong}; the default holds"));
        })
    }

    /// The same where the default would let in whom the annotation keeps out: a value that cannot
    /// be read closes all paths of the Ingress, as in ingress-nginx.
    #[cfg_attr(test, track_caller)]
    pub(super) fn guard<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.parsed(name, parse, |reader, wrong| reader.deny(name, wrong))
    }

    /// As [`Reader::guard`] where ingress-nginx does not take an Ingress with such a value at all.
    #[cfg_attr(test, track_caller)]
    pub(super) fn entry<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.parsed(name, parse, |reader, wrong| reader.leave_out(name, wrong))
    }

    #[cfg_attr(test, track_caller)]
    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, Wrong>,
        otherwise: impl FnOnce(&mut Self, Wrong),
    ) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                otherwise(self, wrong);
                None
            }
        }
    }

    #[cfg(test)]
    fn record(&mut self, name: &str, file: &str) {
        let module = file.rsplit('/').next().unwrap_or_default();
        let module = module.trim_end_matches(".rs").to_owned();
        self.asked
            .entry(name.to_owned())
            .or_default()
            .insert(module);
    }

    /// Closes all paths of the Ingress: they answer 503.
    pub(super) fn deny(&mut self, name: &str, why: impl Into<String>) {
        let why = why.into();
        self.denied.get_or_insert_with(|| name.into());
        self.note(name, Kind::Invalid, format!("{why}; its paths answer 503"));
    }

    /// Closes all paths of the Ingress as ingress-nginx does with one that it does not take at all:
    /// they answer as paths that nobody has. No other Ingress gets them, as that may be one that
    /// lets in whom this one keeps out.
    pub(super) fn leave_out(&mut self, name: &str, why: impl Into<String>) {
        if self.behaviour == Behaviour::Spec {
            return self.deny(name, why);
        }
        self.denied.get_or_insert_with(|| name.into());
        self.left_out = true;
        let text = format!(
            "{}; the Ingress is not taken, and its paths answer 404",
            why.into()
        );
        self.note(name, Kind::Invalid, text);
    }

    /// How the Ingress is read.
    pub(super) fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// The same for what is understood, but not served.
    pub(super) fn refuse(&mut self, name: &str, why: impl Into<String>) {
        self.denied.get_or_insert_with(|| name.into());
        let text = format!("{}; its paths answer 503", why.into());
        self.note(name, Kind::Refused, text);
    }

    /// Closes all paths, unless they are closed already: somebody has said why.
    pub(super) fn deny_if_open(&mut self, name: &str, why: &str) {
        if self.denied.is_none() {
            self.deny(name, why);
        }
    }

    pub(super) fn note(&mut self, name: &str, kind: Kind, text: impl Into<String>) {
        self.notes.push(Note {
            annotation: name.into(),
            kind,
            text: text.into(),
        });
    }

    /// The Ingress itself.
    pub(super) fn ingress(&self) -> &'a Ingress {
        self.ingress
    }

    /// `NAMESPACE/NAME`, or a name in the Ingress's namespace.
    pub(super) fn object_name(&self, text: &str) -> ServiceName {
        match text.split_once('/') {
            Some((namespace, name)) => ServiceName::new(namespace, name),
            None => ServiceName::new(self.ingress.name.namespace.clone(), text),
        }
    }

    /// A Secret that an annotation names; it will be watched.
    pub(super) fn secret(&mut self, name: &ServiceName) -> Option<&'a Secret> {
        self.named.secrets.insert(name.clone());
        self.objects.secret(name)
    }

    /// A ConfigMap that an annotation names; it will be watched.
    pub(super) fn config_map(&mut self, name: &ServiceName) -> Option<&'a ConfigMap> {
        self.named.config_maps.insert(name.clone());
        self.objects.config_map(name)
    }

    /// What was noted, what was named, and why all paths are closed, if they are. Whatever was not
    /// taken is unknown.
    pub(super) fn finish(mut self) -> (Vec<Note>, Named, Closed) {
        let ingress = self.ingress;
        for (name, value) in &ingress.annotations {
            if !self.taken.contains(&**name)
                && let Some((kind, text)) = untaken(name, value.trim())
            {
                self.note(name, kind, text);
            }
        }
        self.notes.sort_by(|a, b| a.annotation.cmp(&b.annotation));
        let closed = Closed {
            denied: self.denied,
            left_out: self.left_out,
        };
        (self.notes, self.named, closed)
    }
}

/// Why all paths of an Ingress are closed.
pub(super) struct Closed {
    /// The annotation that closes them.
    pub(super) denied: Option<Arc<str>>,
    /// Whether the Ingress is not taken at all.
    pub(super) left_out: bool,
}

/// What is to be said of an annotation that no group reads.
fn untaken(name: &str, value: &str) -> Option<(Kind, String)> {
    if let Some(known) = known::find(name) {
        let why = match known.fate {
            Fate::Refused(why) => why,
            Fate::Served | Fate::Approximated(_) => "is not served",
        };
        // What is off is as it is here.
        let is_so = value.is_empty() || switch(value) == Ok(false);
        return (!is_so).then(|| (Kind::Refused, why.to_owned()));
    }
    let text = if keys::is_known(name) {
        "is no annotation but a key of the ConfigMap, where it holds for all Ingresses".to_owned()
    } else if let Some(meant) = known::meant(name) {
        format!("is not known, and not served: {meant} may be meant")
    } else {
        "is not known, and not served".to_owned()
    };
    Some((Kind::Unknown, text))
}
