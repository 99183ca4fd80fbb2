// SPDX-License-Identifier: Apache-2.0
//! Which module may use which, and what pure modules may not mention: the dependency rules of
//! docs/architecture.md. Reads the sources as tokens, so that comments and strings do not count.
//! Code under `#[cfg(test)]` is free.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;

mod scan;

/// What a top-level module of the library may use.
struct Rule {
    module: &'static str,
    /// Other top-level modules.
    modules: &'static [&'static str],
    /// Published crates, where only these are allowed.
    crates: Option<&'static [&'static str]>,
    /// No I/O, no clock, no logging.
    pure: bool,
}

const RULES: &[Rule] = &[
    Rule {
        module: "model",
        modules: &[],
        crates: Some(&["ipnet"]),
        pure: true,
    },
    Rule {
        module: "plan",
        modules: &["model"],
        crates: Some(&["ipnet"]),
        pure: true,
    },
    Rule {
        module: "backend",
        modules: &["model", "plan"],
        crates: None,
        pure: false,
    },
    Rule {
        module: "watch",
        modules: &["model"],
        crates: None,
        pure: false,
    },
    Rule {
        module: "localhost",
        modules: &["model", "observe"],
        crates: None,
        pure: false,
    },
    Rule {
        module: "ingress",
        modules: &["model", "watch", "observe"],
        crates: None,
        pure: false,
    },
    Rule {
        module: "sync",
        modules: &["model", "plan", "backend", "observe", "localhost"],
        crates: None,
        pure: false,
    },
];

/// Pure modules inside of others, and the published crates that they may use.
const PURE: &[(&str, &[&str])] = &[
    ("debug::doctor::checks", &["ipnet", "nix"]),
    (
        "ingress::action",
        &[
            "base64",
            "bcrypt",
            "bytes",
            "hyper",
            "ipnet",
            "jiff",
            "regex",
            "regex_syntax",
            "sha1",
            "sha_crypt",
            "subtle",
            "thiserror",
        ],
    ),
    (
        "ingress::annotation",
        &["hyper", "ipnet", "rustls_pki_types", "schemars", "serde"],
    ),
    ("ingress::balance", &["crc32fast", "md5"]),
    ("ingress::catalog", &["hyper", "ipnet"]),
    ("ingress::filter", &["hyper"]),
    ("ingress::lint", &["schemars", "serde", "serde_json"]),
    ("ingress::route", &[]),
    ("ingress::table", &["hyper", "ipnet"]),
    ("backend::conntrack::sample", &[]),
    ("observe::accounting::book", &["schemars", "serde"]),
    ("observe::accounting::sample", &[]),
];

/// What no pure module mentions: paths that begin so, and macros.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
];

/// Names that only these modules may mention.
const CONFINED: &[(&str, &[&str])] = &[
    (
        "k8s_openapi",
        &["watch", "observe::events", "ingress::status"],
    ),
    ("kube", &["watch", "observe::events", "ingress::status"]),
    // The proxy runs no programs: the kernel is spoken to over netlink.
    ("std::process::Command", &[]),
    ("process::Command", &[]),
    ("tokio::process", &[]),
    ("std::os::unix::process", &[]),
    ("nix::unistd::fork", &[]),
    ("nix::spawn", &[]),
    ("rustix::runtime", &[]),
    ("rustix::process", &[]),
    // A new start executes the own program.
    ("nix::unistd::execv", &["reload::process"]),
    ("nix::unistd::execve", &[]),
    ("nix::unistd::execvp", &[]),
    ("nix::unistd::execvpe", &[]),
    ("nix::unistd::execveat", &[]),
    ("nix::unistd::fexecve", &[]),
];

#[test]
fn modules_use_only_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = dependencies(&fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml"));
    let files = sources(&root.join("src"));
    assert!(files.len() > 20, "found only {} source files", files.len());
    let mut breaches = Vec::new();
    for file in &files {
        let relative = file.strip_prefix(root.join("src")).expect("below src");
        let text = fs::read_to_string(file).expect("readable source");
        breaches.extend(check(relative, &text, &crates));
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// The breaches of one file.
fn check(file: &Path, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let module = module_path(file);
    if is_test_file(file) {
        return Vec::new();
    }
    let tokens: TokenStream = match text.parse() {
        Ok(tokens) => tokens,
        Err(e) => return vec![format!("{}: does not parse: {e}", file.display())],
    };
    let mut paths = BTreeSet::new();
    scan::collect(tokens, &mut paths);
    let top = module.first().map_or("", String::as_str);
    let rule = RULES.iter().find(|r| r.module == top);
    let mut breaches = BTreeSet::new();
    for path in &paths {
        let path = resolve(path, &module);
        breaches.extend(rule.and_then(|rule| breach(rule, &path, crates)));
        breaches.extend(inner_breach(&module.join("::"), &path, crates));
        breaches.extend(confined(&module.join("::"), &path));
    }
    let name = |what| format!("src/{}: {what}", file.display());
    breaches.into_iter().map(name).collect()
}

fn breach(rule: &Rule, path: &[String], crates: &BTreeSet<String>) -> Option<String> {
    let joined = path.join("::");
    let first = path.first()?.as_str();
    if rule.pure && IMPURE.iter().any(|p| is_below(&joined, p)) {
        return Some(format!("{} is pure and may not use {joined}", rule.module));
    }
    if first == "crate" {
        let other = path.get(1)?.as_str();
        let allowed = other == rule.module || rule.modules.contains(&other);
        return (!allowed).then(|| format!("{} may not use {joined}", rule.module));
    }
    let allowed = rule.crates?;
    (is_crate(path, crates) && !allowed.contains(&first))
        .then(|| format!("{} may not use the crate {first}", rule.module))
}

/// Whether a path begins with a published crate. One word alone may as well be a variable, as
/// `bytes` often is.
fn is_crate(path: &[String], crates: &BTreeSet<String>) -> bool {
    path.len() > 1 && crates.contains(&path[0])
}

/// The breach of a pure module inside of another.
fn inner_breach(module: &str, path: &[String], crates: &BTreeSet<String>) -> Option<String> {
    let (pure, allowed) = PURE.iter().find(|(pure, _)| is_below(module, pure))?;
    let joined = path.join("::");
    let first = path.first()?.as_str();
    let foreign = is_crate(path, crates) && !allowed.contains(&first);
    let impure = foreign || IMPURE.iter().any(|p| is_below(&joined, p));
    impure.then(|| format!("{pure} is pure and may not use {joined}"))
}

fn confined(module: &str, path: &[String]) -> Option<String> {
    let joined = path.join("::");
    let (name, modules) = CONFINED.iter().find(|(name, _)| is_below(&joined, name))?;
    let place = if modules.is_empty() {
        "nowhere".to_owned()
    } else {
        format!("only in {}", modules.join(", "))
    };
    (!modules.iter().any(|m| is_below(module, m))).then(|| format!("{name} is allowed {place}"))
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Turns `super::x` and `self::x` into `crate::...`.
fn resolve(path: &[String], module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = path;
    let relative = matches!(rest.first().map(String::as_str), Some("super" | "self"));
    if !relative {
        return path.to_vec();
    }
    while let Some(first) = rest.first() {
        match first.as_str() {
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        rest = &rest[1..];
    }
    let root = std::iter::once("crate".to_owned());
    root.chain(base).chain(rest.iter().cloned()).collect()
}

/// `plan/nft/mod.rs` and `plan/nft.rs` are both `plan::nft`.
fn module_path(file: &Path) -> Vec<String> {
    let stem = file.with_extension("");
    let mut names: Vec<String> = stem
        .iter()
        .map(|n| n.to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|n| n == "mod" || n == "lib") {
        names.pop();
    }
    names
}

/// Files that are only compiled for tests: their `mod` line says so, and so do their names.
fn is_test_file(file: &Path) -> bool {
    file.iter().any(|part| {
        let name = part.to_string_lossy();
        let stem = name.trim_end_matches(".rs");
        stem == "tests" || stem == "fixture" || stem.ends_with("_tests")
    })
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The names of all dependencies in a Cargo.toml, as the code writes them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if let (true, Some((name, _))) = (inside, line.split_once('=')) {
            let name = name.trim().split('.').next().unwrap_or_default();
            names.insert(name.replace('-', "_"));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(file: &str, text: &str) -> Vec<String> {
        let crates = ["ipnet", "tokio", "tracing", "kube", "k8s_openapi"];
        check(Path::new(file), text, &crates.map(str::to_owned).into())
    }

    #[test]
    fn breaches_are_found() {
        let cases = [
            ("model/state.rs", "use crate::plan::Options;"),
            ("model/mod.rs", "fn f() { super::plan::f() }"),
            ("model/select/mod.rs", "use super::super::sync;"),
            ("model/state.rs", "use tokio::time;"),
            (
                "plan/ledger.rs",
                "use {std::fmt, std::{time::{Duration, Instant}}};",
            ),
            ("plan/ledger.rs", "fn f() { tracing::info!(\"x\") }"),
            ("plan/ledger.rs", "fn f() { println!(\"x\") }"),
            ("plan/nft/text.rs", "use std::fs;"),
            ("plan/nft/text.rs", "use crate::{model::State, backend};"),
            ("backend/mod.rs", "use crate::watch;"),
            ("watch/mod.rs", "use crate::plan::Options;"),
            ("sync/mod.rs", "use k8s_openapi::api;"),
            ("observe/serve.rs", "use kube::Client;"),
            ("backend/nft.rs", "use std::process::Command;"),
            (
                "backend/nft.rs",
                "fn f() { std::process::Command::new(\"nft\"); }",
            ),
            (
                "backend/nft.rs",
                "use std::process; fn f() { process::Command::new(\"nft\"); }",
            ),
            ("debug/trace/mod.rs", "use tokio::process::Command as C;"),
            ("run/mod.rs", "fn f() { nix::unistd::execv(a, b) }"),
            ("ingress/serve/mod.rs", "use crate::plan::Options;"),
            ("ingress/balance/ewma.rs", "use std::time::Instant;"),
            ("ingress/filter.rs", "use tokio::time;"),
        ];
        for (file, text) in cases {
            assert_eq!(breaches(file, text).len(), 1, "{file}: {text}");
        }
    }

    #[test]
    fn what_is_allowed_passes() {
        let cases = [
            ("model/state.rs", "use ipnet::IpNet; use super::name::Name;"),
            ("model/state.rs", "// use crate::plan::Options;\nfn f() {}"),
            (
                "model/state.rs",
                "const S: &str = \"std::fs\"; use std::net::IpAddr;",
            ),
            (
                "plan/ledger.rs",
                "#[cfg(test)] mod tests { use crate::sync::Engine; } use crate::model;",
            ),
            (
                "plan/ledger.rs",
                "#[cfg(test)]\nuse std::fs;\nuse crate::model::State;",
            ),
            ("plan/trace/tests.rs", "use std::fs;"),
            ("watch/convert/service.rs", "use k8s_openapi::api;"),
            ("main.rs", "use ferrule::sync;"),
            ("ingress/filter.rs", "use hyper::StatusCode;"),
            ("plan/nft/found.rs", "fn f(tokio: u8) -> u8 { tokio }"),
            ("ingress/serve/mod.rs", "use std::time::Instant;"),
        ];
        for (file, text) in cases {
            assert_eq!(breaches(file, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn code_after_a_test_module_is_still_read() {
        let text = "#[cfg(test)] mod tests { use std::fs; } use crate::sync;";
        assert_eq!(breaches("plan/a.rs", text).len(), 1);
    }
}
