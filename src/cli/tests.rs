// SPDX-License-Identifier: Apache-2.0

use super::*;

fn cli(line: &str) -> Cli {
    parse(["ferrule"].into_iter().chain(line.split_whitespace()))
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refusal(line: &str) -> String {
    let error = parse(["ferrule"].into_iter().chain(line.split_whitespace())).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{line}");
    reason(&error)
}

#[test]
fn command_is_consistent() {
    Cli::command().debug_assert();
}

/// Every flag that `kube-proxy --help` of v1.36.3 names, with a value of its type.
#[test]
fn kube_proxy_flags_are_all_accepted() {
    let line = "--bind-address 10.0.0.1 --bind-address-hard-fail --boot-id-file x --cleanup \
        --cluster-cidr 10.0.0.0/8 --config f --config-sync-period 15m0s \
        --conntrack-max-per-core 1 --conntrack-min 1 --conntrack-tcp-be-liberal \
        --conntrack-tcp-timeout-close-wait 1h0m0s --conntrack-tcp-timeout-established 24h \
        --conntrack-udp-timeout 1s --conntrack-udp-timeout-stream 1s \
        --detect-local-mode NodeCIDR --feature-gates A=true,B=false \
        --healthz-bind-address 0.0.0.0:10256 --healthz-port 10256 --hostname-override n1 \
        --init-only --iptables-localhost-nodeports=false --iptables-masquerade-bit 14 \
        --iptables-min-sync-period 1s --iptables-sync-period 30s --ipvs-exclude-cidrs 10.0.0.0/8 \
        --ipvs-min-sync-period 1s --ipvs-scheduler rr --ipvs-strict-arp --ipvs-sync-period 30s \
        --ipvs-tcp-timeout 1s --ipvs-tcpfin-timeout 1s --ipvs-udp-timeout 1s --kube-api-burst 10 \
        --kube-api-content-type application/json --kube-api-qps 5.5 --kubeconfig k \
        --log-flush-frequency 5s --log-json-info-buffer-size 0 --log-json-split-stream \
        --log-text-info-buffer-size 1k --log-text-split-stream --logging-format text \
        --machine-id-file m --masquerade-all --master https://x --metrics-bind-address 1.2.3.4 \
        --metrics-port 10249 --nodeport-addresses primary --oom-score-adj -999 \
        --pod-bridge-interface cni0 --pod-interface-name-prefix veth --profiling \
        --proxy-mode nftables --show-hidden-metrics-for-version 1.35 -v 2 --vmodule a=1 \
        --write-config-to w";
    let cli = cli(line);
    assert_eq!(cli.accepted.oom_score_adj, Some(-999));
    assert_eq!(cli.accepted.iptables_localhost_nodeports, Some(false));
    assert_eq!(cli.proxy.masquerade_all, Some(true));
    assert_eq!(
        cli.given.len(),
        line.matches("--").count() + 1,
        "{:?}",
        cli.given
    );
}

#[test]
fn values_are_written_as_go_programs_take_them() {
    for line in ["-v2", "-v=2", "-v 2", "--v=2", "--v 2", "--v=1 --v=2"] {
        assert_eq!(cli(line).proxy.verbosity, Some(2), "{line}");
    }
    for (line, value) in [
        ("--masquerade-all", true),
        ("--masquerade_all=T", true),
        ("--masquerade-all=0", false),
        ("--masquerade-all --masquerade-all=false", false),
    ] {
        assert_eq!(cli(line).proxy.masquerade_all, Some(value), "{line}");
    }
    for line in [
        "--nodeport-addresses=a,b",
        "--nodeport-addresses a --nodeport-addresses b",
    ] {
        let list = cli(line).proxy.nodeport_addresses.unwrap();
        assert_eq!(list, ["a", "b"], "{line}");
    }
    assert_eq!(
        cli("--metrics-bind-address=")
            .proxy
            .metrics_bind_address
            .as_deref(),
        Some("")
    );
    assert_eq!(cli("--version=raw").proxy.version, Some(true));
    assert_eq!(
        cli("--iptables-sync-period=1m0.5s")
            .proxy
            .iptables_sync_period
            .unwrap()
            .0,
        60_500_000_000
    );
}

#[test]
fn mistakes_are_told_in_one_line_that_names_the_flag() {
    for (line, words) in [
        (
            "--no-such-flag",
            "unexpected argument '--no-such-flag' found",
        ),
        ("--masquerade-all=maybe", "--masquerade-all"),
        ("--healthz-port=x", "--healthz-port <PORT>"),
        (
            "--iptables-sync-period=5",
            "--iptables-sync-period <TIME>': must be a duration",
        ),
        ("--affinity-capacity=-1", "--affinity-capacity"),
        (
            "--hostname-override",
            "a value is required for '--hostname-override <NAME>'",
        ),
        (
            "--manifests d --kubeconfig k",
            "--manifests <DIR>' cannot be used with",
        ),
        ("--v=-1", "--v"),
        ("serve", "unrecognized subcommand 'serve'"),
        ("debug services -o xml", "--output <OUTPUT>"),
        ("debug rules --family ipx", "--family <FAMILY>"),
    ] {
        let text = refusal(line);
        assert!(text.contains(words), "{line}: {text}");
        assert!(
            !text.contains('\n') && !text.starts_with("error"),
            "{line}: {text}"
        );
    }
}

#[test]
fn debug_commands_have_their_arguments() {
    let Some(Command::Debug(DebugCommand::Services(services))) =
        cli("debug services default/web -o json --admin-socket /x").command
    else {
        panic!("not debug services");
    };
    assert_eq!(services.filter.as_deref(), Some("default/web"));
    assert_eq!(services.output, Output::Json);
    let Some(Command::Debug(DebugCommand::Rules(rules))) =
        cli("debug rules --family ipv6 --set services --elements=5").command
    else {
        panic!("not debug rules");
    };
    assert_eq!(rules.family, Some(Family::Ip6));
    assert_eq!(rules.elements, 5);
}

#[test]
fn periods_are_go_durations() {
    for (text, nanoseconds) in [
        ("0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("2h22m0s", 8_520_000_000_000),
        ("-3ms", -3_000_000),
        ("+1\u{b5}s", 1_000),
    ] {
        assert_eq!(parse_period(text), Ok(Period(nanoseconds)), "{text}");
    }
    for text in [
        "",
        "-",
        "5",
        "1d",
        "s",
        ".s",
        "1.2.3s",
        "1 s",
        "9223372036854775807h",
        "--1s",
    ] {
        assert!(parse_period(text).is_err(), "{text}");
    }
}

#[test]
fn every_debug_command_has_an_example() {
    let command = Cli::command();
    let debug = command.find_subcommand("debug").unwrap();
    for sub in debug.get_subcommands() {
        let help = sub.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_else(|| panic!("{}: no examples", sub.get_name()));
        let begins = format!("  ferrule debug {}", sub.get_name());
        assert!(
            help.starts_with("Example") && help.contains(&begins),
            "{help}"
        );
        for line in help.lines().filter(|line| line.starts_with("  ferrule ")) {
            let words = line
                .split(" | ")
                .next()
                .unwrap()
                .split("  ")
                .nth(1)
                .unwrap();
            let words: Vec<&str> = words.split_whitespace().collect();
            let one = words.join(" ").replace("'X-A: b'", "X-A:b");
            parse(one.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

#[test]
fn completion_scripts_know_commands_and_flags() {
    for (shell, start) in [
        (Shell::Bash, "_ferrule() {"),
        (Shell::Zsh, "#compdef ferrule"),
        (Shell::Fish, "# Print an optspec"),
    ] {
        let mut out = Vec::new();
        completion(shell, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(start), "{shell:?}: {}", &text[..80]);
        for word in ["services", "cluster-cidr", "yaml", "ipvs-scheduler"] {
            assert!(text.contains(word), "{shell:?}: {word}");
        }
    }
}
