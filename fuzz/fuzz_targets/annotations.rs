// SPDX-License-Identifier: Apache-2.0
//! Whatever annotations, users' passwords and headers of ConfigMaps say is settings or a note. See
//! fuzz/run.sh.
//!
//! Lines of `NAME=VALUE`: `NAME` is that of an annotation, or its number in the table of all;
//! `users`, `header` and `ca` fill the objects that annotations may name. A line that begins with a
//! blank goes on with the value of the one before, as in a snippet.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrule::ingress::annotation::{self, Defaults, Objects, known};
use ferrule::ingress::table::{Behaviour, RouteSettings};
use ferrule::model::{ConfigMap, Ingress, Secret, ServiceName};

/// One Secret and one ConfigMap, whatever is asked for.
struct Shelf {
    secret: Secret,
    config_map: ConfigMap,
}

impl Objects for Shelf {
    fn secret(&self, _: &ServiceName) -> Option<&Secret> {
        Some(&self.secret)
    }

    fn config_map(&self, _: &ServiceName) -> Option<&ConfigMap> {
        Some(&self.config_map)
    }
}

fn name(word: &str) -> &str {
    let number = word.parse::<usize>().ok();
    let known = number.map(|number| known::ALL[number % known::ALL.len()].name);
    known.unwrap_or(word)
}

fn entries(text: &str) -> Vec<(&str, String)> {
    let mut entries: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        if let Some((_, value)) = entries.last_mut().filter(|_| line.starts_with(' ')) {
            value.push('\n');
            value.push_str(line.trim_start_matches(' '));
        } else if let Some((word, value)) = line.split_once('=') {
            entries.push((name(word), value.to_owned()));
        }
    }
    entries
}

fn shelf(entries: &[(&str, String)]) -> Shelf {
    let bytes = |wanted: &str| {
        let found = entries.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| Arc::<[u8]>::from(value.as_bytes()))
    };
    let headers = entries.iter().filter(|(name, _)| *name == "header");
    let headers = headers.filter_map(|(_, value)| value.split_once(':'));
    let data: BTreeMap<Arc<str>, Arc<str>> = headers
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let object = ServiceName::new("default", "object");
    Shelf {
        secret: Secret {
            name: object.clone(),
            certificate: None,
            key: None,
            authority: bytes("ca"),
            auth: bytes("users"),
            others: bytes("users")
                .map(|users| ("user".into(), users))
                .into_iter()
                .collect(),
        },
        config_map: ConfigMap { name: object, data },
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let entries = entries(text);
    let shelf = shelf(&entries);
    let annotations = entries.into_iter();
    let ingress = Ingress {
        name: ServiceName::new("default", "web"),
        created: 0,
        class: None,
        class_annotation: None,
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
        annotations: annotations
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        addresses: Vec::new(),
    };
    for behaviour in [Behaviour::Spec, Behaviour::IngressNginx] {
        let mut defaults = Defaults::of(behaviour, &RouteSettings::default());
        defaults.policy.snippets = true;
        let read = annotation::read(&ingress, &defaults, &shelf);
        assert!(
            read == annotation::read(&ingress, &defaults, &shelf),
            "it depends on more"
        );
        if read.plain.denied.is_some() {
            assert!(!read.notes.is_empty(), "closed without a word");
        }
    }
});
