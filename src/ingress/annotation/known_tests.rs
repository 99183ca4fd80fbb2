// SPDX-License-Identifier: Apache-2.0
//! Holds the tables of annotations against what is really read, and docs/ingress-nginx.md against
//! the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::known::{ALIASES, ALL, Fate};
use super::tests::{Shelf, ingress, notes, read_all};
use super::*;
use crate::ingress::table::Behaviour;

/// Values without which other annotations may not be looked at. All others are `true`.
const VALUES: &[(&str, &str)] = &[
    ("affinity", "cookie"),
    // What cannot be read of these two ends the reading.
    ("auth-proxy-set-headers", ""),
    ("auth-snippet", ""),
    ("auth-secret", "example"),
    ("auth-tls-secret", "default/example"),
    ("auth-type", "basic"),
    ("auth-url", "http://auth.example/"),
    ("backend-protocol", "HTTPS"),
    ("canary-by-cookie", "c"),
    ("canary-by-header", "X-C"),
    ("custom-headers", "default/example"),
    ("limit-rps", "5"),
    ("mirror-target", "http://mirror.example/"),
    ("permanent-redirect", "http://other.example/"),
    ("proxy-ssl-secret", "default/example"),
    ("rewrite-target", "/$1"),
    ("session-cookie-name", "s"),
    ("temporal-redirect", "http://other.example/"),
    ("upstream-hash-by", "$request_uri"),
];

/// Which module asked for which annotation, of an Ingress that has them all.
fn asked() -> BTreeMap<String, BTreeSet<String>> {
    let names = ALL.iter().map(|known| known.name);
    let names = names.chain(ALIASES.iter().map(|(alias, _)| *alias));
    let all: Vec<(&str, &str)> = names
        .chain(keys::all())
        .map(|name| {
            let value = VALUES.iter().find(|(known, _)| *known == name);
            (name, value.map_or("true", |(_, value)| value))
        })
        .collect();
    let (ingress, shelf) = (ingress(&all), Shelf::default());
    let mut reader = Reader::new(&ingress, &shelf, Behaviour::Spec);
    groups(&mut reader, &mut Draft::new(&Defaults::default()));
    reader.asked
}

#[test]
fn the_table_says_who_reads_what() {
    let asked = asked();
    let mut wrong = Vec::new();
    for known in ALL {
        let by = asked.get(known.name).cloned().unwrap_or_default();
        // What is refused may be refused in a module's own words, and others may have a look, too.
        let good = match known.reader {
            "" => by.len() <= 1,
            reader => by.contains(reader),
        };
        if !good {
            let (name, reader) = (known.name, known.reader);
            wrong.push(format!("{name}: read by {by:?}, the table says {reader:?}"));
        }
    }
    for (alias, name) in ALIASES {
        let of = |name: &str| asked.get(name).cloned();
        if of(alias) != of(name) {
            wrong.push(format!(
                "{alias}: read by {:?}, {name} by {:?}",
                of(alias),
                of(name)
            ));
        }
    }
    for name in asked.keys() {
        if known::find(name).is_none() && !keys::is_known(name) {
            wrong.push(format!(
                "{name}: read, but neither annotation nor key of ingress-nginx"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_is_that_of_ingress_nginx() {
    assert_eq!(ALL.len(), 136);
    let names: Vec<&str> = ALL.iter().map(|known| known.name).collect();
    assert!(names.is_sorted(), "by name");
    assert_eq!(BTreeSet::from_iter(&names).len(), names.len());
    for (alias, name) in ALIASES {
        assert!(!names.contains(alias) && names.contains(name));
    }
}

#[test]
fn what_is_refused_says_why_unless_it_is_off() {
    for known in ALL {
        let Fate::Refused(why) = known.fate else {
            continue;
        };
        let annotated = read_all(&[(known.name, "true")]);
        let [note] = &annotated.notes[..] else {
            panic!("{}: {:?}", known.name, annotated.notes)
        };
        assert_eq!((note.kind, note.text.as_str()), (Kind::Refused, why));
        for nothing in ["false", ""] {
            assert_eq!(notes(&read_all(&[(known.name, nothing)])), [""; 0]);
        }
    }
}

#[test]
fn what_is_mistaken_is_set_right() {
    let told = |name: &str| notes(&read_all(&[(name, "1")])).concat();
    assert!(told("limits-rps").contains("limit-rps may be meant"));
    assert!(told("rate-limit").contains("limit-rps or limit-rpm may be meant"));
    assert!(told("keep-alive").contains("a key of the ConfigMap"));
    assert!(told("quite-different").contains("is not known, and not served"));
}

/// The rows of docs/ingress-nginx.md.
fn table() -> String {
    let mut text = String::from("| annotation | risk | here |\n|---|---|---|\n");
    for known in ALL {
        let fate = match known.fate {
            Fate::Served => "served".to_owned(),
            Fate::Approximated(how) => format!("served, but: {how}"),
            Fate::Refused(why) => format!("**not served**: {why}"),
        };
        let alias = ALIASES.iter().find(|(_, name)| *name == known.name);
        let alias = alias
            .map(|(alias, _)| format!(", `{alias}`"))
            .unwrap_or_default();
        let (name, risk) = (known.name, known.risk);
        let _ = writeln!(text, "| `{name}`{alias} | {risk:?} | {fate} |");
    }
    text
}

/// The keys of the ConfigMap that are not served.
fn key_table() -> String {
    let mut text = String::from("| keys | why not |\n|---|---|\n");
    for (why, names) in keys::not_served() {
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| {} | {why} |", names.join(", "));
    }
    text
}

/// `UPDATE_GOLDEN=1 cargo test known_tests` rewrites the tables.
#[test]
fn the_documentation_has_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ingress-nginx.md");
    let file = std::fs::read_to_string(path).expect("the page");
    let mut text = file.clone();
    for (mark, table) in [("annotations", table()), ("keys", key_table())] {
        let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
        let (head, rest) = text.split_once(&begin).expect("the mark where it begins");
        let (_, tail) = rest.split_once(&end).expect("the mark where it ends");
        text = format!("{head}{begin}{table}{end}{tail}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).expect("a writable file");
        return;
    }
    assert!(
        text == file,
        "docs/ingress-nginx.md differs: UPDATE_GOLDEN=1"
    );
}
