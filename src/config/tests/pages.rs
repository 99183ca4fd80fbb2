// SPDX-License-Identifier: Apache-2.0
//! docs/configuration.md says what the code does. `UPDATE_GOLDEN=1 cargo test pages` rewrites its
//! tables.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::config::effective::leaves;
use crate::config::file::KubeProxyConfiguration;
use crate::config::reload::{Effect, FIELDS};

/// The flags that stand for no field.
const OTHERS: &[(&str, &str)] = &[
    (
        "accounting",
        "ferrule's own: count connections and bytes of each Service ([accounting](accounting.md))",
    ),
    (
        "accounting-endpoints",
        "ferrule's own: how many endpoints are counted each for itself",
    ),
    (
        "accounting-sample",
        "ferrule's own: one in how many connections is counted; auto: one in 16 on a busy node",
    ),
    (
        "admin-socket",
        "ferrule's own: unix socket that answers `ferrule debug`; empty: none",
    ),
    (
        "affinity-capacity",
        "ferrule's own: how many clients a Service with session affinity remembers at most",
    ),
    (
        "boot-id-file",
        "no effect; kube-proxy does not read it either",
    ),
    (
        "cleanup",
        "remove all rules of ours and what kube-proxy left, then exit",
    ),
    ("config", "the file of the fields above, YAML or JSON"),
    (
        "drop-invalid",
        "ferrule's own: drop packets of Services' connections that connection tracking calls \
         invalid ([connections](connections.md))",
    ),
    (
        "ipvs-drain-timeout",
        "ferrule's own: how long an endpoint that is gone, or a virtual server that is taken over, \
         may keep its TCP connections in IPVS ([migration](migration.md))",
    ),
    (
        "ipvs-local-fallback",
        "ferrule's own: with mode ipvs, policy Local without an endpoint on this node sends to all \
         endpoints, as kube-proxy does in that mode, and does not drop",
    ),
    (
        "healthz-port",
        "port for a `--healthz-bind-address` without one; 0: none (deprecated)",
    ),
    ("help", "print all flags and exit"),
    (
        "keep-leftovers",
        "ferrule's own: leave the rules alone that kube-proxy left; default: only with \
         `--manifests` ([migration](migration.md))",
    ),
    (
        "localhost-nodeports",
        "ferrule's own: serve TCP NodePorts on loopback too; default: as \
         `iptables.localhostNodePorts` says ([nodeports](nodeports.md))",
    ),
    (
        "protect-rules",
        "ferrule's own: `own` keeps other processes from changing the tables where the kernel can \
         (Linux 6.9) and repairs what they do, `repair` only repairs, `off` does neither \
         ([reliability](reliability.md))",
    ),
    (
        "reset-stale-tcp",
        "ferrule's own: reset TCP connections whose endpoint is gone \
         ([connections](connections.md))",
    ),
    (
        "state-file",
        "ferrule's own: keeps what the API server said last, for a node that boots while there is \
         none; empty: not ([reliability](reliability.md))",
    ),
    (
        "init-only",
        "set what needs full privileges (connection tracking), then exit",
    ),
    (
        "machine-id-file",
        "no effect; kube-proxy does not read it either",
    ),
    (
        "manifests",
        "ferrule's own: read objects from the files in this directory, not from an API server",
    ),
    (
        "master",
        "URL of the API server, instead of the kubeconfig's",
    ),
    (
        "metrics-port",
        "port for a `--metrics-bind-address` without one; 0: none (deprecated)",
    ),
    ("version", "print the version and exit"),
    (
        "write-config-to",
        "write the configuration with all defaults to this file, then exit",
    ),
];

fn shown(value: Option<&serde_json::Value>) -> String {
    match value {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) if text.is_empty() => "`\"\"`".to_owned(),
        Some(serde_json::Value::String(text)) => format!("`{text}`"),
        Some(other) => format!("`{other}`"),
    }
}

fn fields() -> String {
    let mut text =
        String::from("| field | default | a change | what it does |\n|---|---|---|---|\n");
    let value = effective::value(&KubeProxyConfiguration::defaulted());
    let defaults = leaves(&value);
    for field in FIELDS {
        let effect = match field.effect {
            Effect::Live => "live",
            Effect::Restart => "restart",
            Effect::Nothing => "no effect",
        };
        let default = shown(defaults.get(field.path).copied());
        writeln!(
            text,
            "| `{}` | {default} | {effect} | {} |",
            field.path, field.meaning
        )
        .unwrap();
    }
    text
}

fn table_of_flags() -> String {
    let mut text =
        String::from("| flag | default | with `--config` | what it does |\n|---|---|---|---|\n");
    for (name, default) in crate::cli::values(&flags("")) {
        let flag = format!("--{name}");
        let paths: Vec<String> = FIELDS
            .iter()
            .filter(|field| field.flag == flag)
            .map(|field| format!("`{}`", field.path))
            .collect();
        let other = OTHERS.iter().find(|(other, _)| *other == name);
        let does = match (paths.is_empty(), other) {
            (false, None) => paths.join(", "),
            (true, Some((_, does))) => (*does).to_owned(),
            _ => panic!("{flag} must be either a field's or in OTHERS"),
        };
        let holds = if flags::holds_with_file(&name) {
            "holds"
        } else {
            "ignored"
        };
        let default = match default.as_str() {
            "" => String::new(),
            text => format!("`{text}`"),
        };
        writeln!(text, "| `{flag}` | {default} | {holds} | {does} |").unwrap();
    }
    text
}

/// Puts a table between its two marks.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (start, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (head, rest) = page.split_once(&start).expect("the first mark");
    let (_, tail) = rest.split_once(&end).expect("the second mark");
    format!("{head}{start}{table}{end}{tail}")
}

#[test]
fn the_page_of_configuration_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("docs/configuration.md");
    let wanted = with_table(&page, "fields", &fields());
    let wanted = with_table(&wanted, "flags", &table_of_flags());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &wanted).expect("written");
    } else {
        assert!(
            page == wanted,
            "docs/configuration.md differs; if that is meant: UPDATE_GOLDEN=1"
        );
    }
}

#[test]
fn every_flag_of_the_command_line_is_listed() {
    use clap::CommandFactory;
    let command = Cli::command();
    let names = command.get_arguments().filter_map(|arg| arg.get_long());
    let of_parser: BTreeSet<String> = names.chain(["help"]).map(str::to_owned).collect();
    let listed: BTreeSet<String> = crate::cli::values(&flags("")).into_keys().collect();
    assert_eq!(of_parser, listed);
}
