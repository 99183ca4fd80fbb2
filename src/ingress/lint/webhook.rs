// SPDX-License-Identifier: Apache-2.0
//! What ingress-nginx's admission webhook would have refused (`CheckIngress` and
//! `ValidatePathType` of version 1.15.1). Nothing of it is refused here.

use std::collections::BTreeMap;

use super::{Finding, FindingKind};
use crate::ingress::annotation::known::{self, Risk};
use crate::ingress::annotation::value;
use crate::ingress::catalog::Catalog;
use crate::model::ingress::{IngressBackend, IngressPathType};
use crate::model::{Ingress, ServiceName};

/// What the ConfigMap says about admission.
struct Rules {
    strict_paths: bool,
    snippets: bool,
    risk: Risk,
    words: Vec<String>,
}

impl Rules {
    fn new(catalog: &Catalog) -> Self {
        let map = catalog.settings_map();
        let text = |key: &str| {
            map.and_then(|map| map.data.get(key))
                .map(|text| text.trim())
        };
        let switch = |key: &str, default: bool| {
            let said = text(key).and_then(|text| value::switch(text).ok());
            said.unwrap_or(default)
        };
        let words = text("annotation-value-word-blocklist").unwrap_or_default();
        let words = words.split(',').map(str::trim).filter(|w| !w.is_empty());
        Self {
            strict_paths: switch("strict-validate-path-type", true),
            snippets: switch("allow-snippet-annotations", false),
            risk: text("annotations-risk-level").map_or(Risk::High, Risk::parse),
            words: words.map(str::to_owned).collect(),
        }
    }
}

pub(super) fn findings(catalog: &Catalog) -> Vec<Finding> {
    let rules = Rules::new(catalog);
    let mut found = Vec::new();
    for ingress in catalog.served() {
        if rules.strict_paths {
            found.extend(paths(ingress));
        }
        found.extend(annotations(ingress, &rules));
    }
    found.extend(overlaps(catalog));
    found
}

fn refused(name: &ServiceName, why: impl std::fmt::Display) -> Finding {
    let text = format!("ingress-nginx's admission webhook would refuse it: {why}");
    Finding::of(name, FindingKind::Webhook, text)
}

/// Regular expressions need ImplementationSpecific there.
fn paths(ingress: &Ingress) -> Vec<Finding> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let paths = ingress.rules.iter().flat_map(|rule| &rule.paths);
    let odd = paths.filter(|path| {
        let exempt = path.path.is_empty() || path.kind == IngressPathType::ImplementationSpecific;
        !exempt && !path.path.chars().all(plain)
    });
    let finding = |path: &crate::model::ingress::IngressPath| {
        let (kind, path) = (path.kind, &path.path);
        let why = format!("path {path:?} of pathType {kind:?} (strict-validate-path-type)");
        refused(&ingress.name, why)
    };
    odd.map(finding).collect()
}

fn annotations(ingress: &Ingress, rules: &Rules) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, value) in &ingress.annotations {
        let mut say = |why: String| {
            found.push(Finding {
                annotation: name.to_string(),
                ..refused(&ingress.name, why)
            });
        };
        let risk = known::find(name).map(|known| known.risk);
        if name.ends_with("-snippet") && !rules.snippets {
            say("snippets are off (allow-snippet-annotations)".to_owned());
        } else if let Some(risk) = risk.filter(|risk| *risk > rules.risk) {
            let most = rules.risk;
            say(format!(
                "its risk {risk:?} is above {most:?} (annotations-risk-level)"
            ));
        }
        for word in rules
            .words
            .iter()
            .filter(|word| value.contains(word.as_str()))
        {
            say(format!(
                "it has the word {word:?} (annotation-value-word-blocklist)"
            ));
        }
    }
    found
}

/// Of two Ingresses, neither of them a canary, the same path of the same host, whatever the
/// pathType. The same pathType, too, is a conflict here as there.
fn overlaps(catalog: &Catalog) -> Vec<Finding> {
    let mut first: BTreeMap<(&str, &str), (&ServiceName, IngressPathType)> = BTreeMap::new();
    let mut all: Vec<&Ingress> = catalog.served().map(|ingress| &**ingress).collect();
    all.retain(|ingress| !ingress.annotations.contains_key("canary"));
    all.sort_by_key(|ingress| (ingress.created, &ingress.name));
    let mut found = Vec::new();
    for ingress in all {
        for rule in &ingress.rules {
            let served = |backend: &IngressBackend| *backend != IngressBackend::Unusable;
            for path in rule.paths.iter().filter(|path| served(&path.backend)) {
                let text = if path.path.is_empty() {
                    "/"
                } else {
                    &*path.path
                };
                let place = (&*rule.host, text);
                let (owner, kind) = *first.entry(place).or_insert((&ingress.name, path.kind));
                if *owner != ingress.name && kind != path.kind {
                    let (host, text) = place;
                    let why =
                        format!("host {host:?} and path {text:?} are in Ingress {owner}, too");
                    found.push(refused(&ingress.name, why));
                }
            }
        }
    }
    found
}
