// SPDX-License-Identifier: Apache-2.0
//! The program as users meet it: exit codes and what it says.

use std::path::Path;
use std::process::{Command, Output};

fn ferrule(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferrule"))
        .args(args)
        .output()
        .unwrap()
}

/// What a refused command line prints; nothing may be on standard output.
fn refused(args: &[&str], code: i32) -> Vec<String> {
    let output = ferrule(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(output.stdout.is_empty(), "{args:?}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn version_and_help_succeed() {
    let version = format!("ferrule {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "--version=true", "--version=raw"] {
        assert_eq!(String::from_utf8(ferrule(&[flag]).stdout).unwrap(), version);
    }
    let help = ferrule(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, without_effect) = help.split_once("accepted and have no effect").unwrap();
    let (without_effect, of_ipvs) = without_effect.split_once("With --proxy-mode=ipvs").unwrap();
    assert!(of_ipvs.contains("--ipvs-scheduler"), "{help}");
    assert!(without_effect.contains("--ipvs-min-sync-period"), "{help}");
    assert!(!without_effect.contains("--ipvs-scheduler"), "{help}");
    assert!(!without_effect.contains("--cluster-cidr"), "{help}");
}

#[test]
fn a_mode_that_the_kernel_lacks_is_named() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let modules = format!("/lib/modules/{}/kernel/net/netfilter/ipvs", release.trim());
    if [modules.as_str(), "/proc/net/ip_vs"]
        .iter()
        .any(|p| Path::new(p).exists())
    {
        return eprintln!("SKIP: this kernel has IPVS");
    }
    let told = refused(&["--proxy-mode=ipvs"], 1);
    let expected = "ferrule: proxy mode ipvs: the kernel lacks IPVS (CONFIG_IP_VS; module ip_vs); \
                    load the module on the node (modprobe ip_vs), ";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
}

#[test]
fn bad_command_lines_end_with_2_and_name_the_flag() {
    assert_eq!(
        refused(&["--bad"], 2),
        ["ferrule: unexpected argument '--bad' found"]
    );
    assert_eq!(
        refused(&["--config", "/no/such/file"], 2),
        ["ferrule: --config /no/such/file: No such file or directory (os error 2)"]
    );
    assert_eq!(
        refused(
            &["--proxy-mode=x", "--cluster-cidr=y", "--bind-address=z"],
            2
        )
        .len(),
        3,
        "all mistakes at once"
    );
}

#[test]
fn debug_without_an_agent_ends_with_1() {
    let line =
        "ferrule: no agent runs here: nothing listens on /no/such/socket (see --admin-socket)";
    assert_eq!(
        refused(
            &["debug", "services", "--admin-socket", "/no/such/socket"],
            1
        ),
        [line]
    );
    assert_eq!(
        refused(&["debug", "services", "A/B"], 1),
        ["ferrule: \"A/B\" is no NAMESPACE or NAMESPACE/NAME"]
    );
}

#[test]
fn manual_pages_are_made_of_the_same_definitions() {
    use clap::CommandFactory;
    let dir = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(ferrule::cli::Cli::command(), dir.path()).unwrap();
    let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(page("ferrule.1").contains("cluster\\-cidr"));
    let services = page("ferrule-debug-services.1");
    assert!(services.contains("admin\\-socket") && services.contains("Examples:"));
}

#[test]
fn completion_is_printed() {
    let bash = ferrule(&["completion", "bash"]);
    assert!(bash.status.success());
    assert!(
        String::from_utf8(bash.stdout)
            .unwrap()
            .contains("complete -F _ferrule")
    );
}

/// A Service with one endpoint, and the Node.
const OBJECTS: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.10}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIPs: [10.96.0.10]
  type: NodePort
  ports: [{name: http, port: 80, nodePort: 30080, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.244.1.5], nodeName: n1, conditions: {ready: true}}]
";

#[test]
fn what_would_be_programmed_is_rendered_without_a_kernel() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("all.yaml"), OBJECTS).unwrap();
    let directory = dir.path().to_str().unwrap();
    let render = |more: &[&str]| {
        let first = ["debug", "render", "--manifests", directory];
        let node = [
            "--hostname-override",
            "n1",
            "--cluster-cidr",
            "10.244.0.0/16",
        ];
        let output = ferrule(&[&first, &node, more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = render(&[]);
    for line in [
        "table ip ferrule {",
        "10.96.0.10 . tcp . 80 : goto lb-1",
        "tcp . 30080 . 0 : 10.244.1.5 . 8080",
        "192.0.2.10 } }",
        "table ip6 ferrule {",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    assert!(!text.contains("\u{1b}["), "no colours in a pipe");
    let servers = render(&["--proxy-mode", "ipvs", "--part", "servers"]);
    assert!(
        servers.starts_with("-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 10.244.1.5:8080")
    );
    let json: serde_json::Value = serde_json::from_str(&render(&["-o", "json"])).unwrap();
    assert_eq!(json[0]["family"], "IPv4");
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/debug-render.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    jsonschema::validate(&schema, &json).unwrap();
    let nothing = refused(&["debug", "render"], 1);
    assert_eq!(
        nothing,
        ["ferrule: --manifests DIR says which objects to render"]
    );
}

#[test]
fn a_comparison_that_fails_ends_with_2() {
    let told = refused(&["debug", "diff", "--admin-socket", "/no/such/socket"], 2);
    assert!(
        told[0].contains("--from-manifests need no agent"),
        "{told:?}"
    );
    let told = refused(&["debug", "diff", "--from-cluster", "--manifests", "d"], 2);
    assert!(told[0].contains("which of the two"), "{told:?}");
    let told = refused(&["debug", "explain", "10.0.0.1"], 1);
    assert_eq!(told, ["ferrule: \"10.0.0.1\" is no HOST:PORT[/PROTO]"]);
    let name = [
        "debug",
        "explain",
        "web.x:80",
        "--admin-socket",
        "/no/such/socket",
    ];
    let told = refused(&name, 1);
    assert!(
        told[0].contains("only the agent knows Service x/web"),
        "{told:?}"
    );
}

#[test]
fn the_configuration_is_written_with_its_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let written = ferrule(&[
        "--proxy-mode=nftables",
        "--cluster-cidr=10.0.0.0/8",
        "--write-config-to",
        first.to_str().unwrap(),
    ]);
    assert!(written.status.success(), "{written:?}");
    let text = std::fs::read_to_string(&first).unwrap();
    for line in [
        "mode: nftables",
        "clusterCIDR: 10.0.0.0/8",
        "oomScoreAdj: -999",
        "configSyncPeriod: 15m0s",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
    }
    let (from, to) = (first.to_str().unwrap(), second.to_str().unwrap());
    let again = ferrule(&["--config", from, "--write-config-to", to]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(std::fs::read_to_string(&second).unwrap(), text);
    let nowhere = refused(&["--write-config-to", "/no/such/directory/file"], 1);
    assert_eq!(nowhere.len(), 1, "{nowhere:?}");
    assert!(nowhere[0].contains("--write-config-to /no/such/directory/file: "));
    refused(&["--proxy-mode=x", "--write-config-to", to], 2);
}
