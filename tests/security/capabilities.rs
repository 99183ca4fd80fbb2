// SPDX-License-Identifier: Apache-2.0
//! CAP_NET_ADMIN is enough for the agent and CAP_NET_BIND_SERVICE for the sidecar; what else they
//! are given they give up.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, UdpSocket};

use super::rig::{As, Program, in_namespace, run, status};

/// Bits of `linux/capability.h`.
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const SETPCAP: u64 = 1 << 8;

/// One line of the status of each thread.
fn lines(program: &Program, name: &str) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.child.id())).unwrap();
    let lines = tasks.filter_map(|task| {
        // A thread may have ended meanwhile.
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        let (_, value) = lines.find(|(key, _)| *key == name)?;
        Some(value.to_owned())
    });
    lines.collect()
}

/// Asserts what all threads have.
fn has(program: &Program, name: &str, bits: u64) {
    let found = lines(program, name);
    let found: Vec<u64> = found
        .iter()
        .map(|text| u64::from_str_radix(text, 16).unwrap())
        .collect();
    assert_eq!(found, [bits], "{name}\n{}", program.log());
}

fn holds_only(program: &Program, bits: u64) {
    for name in ["CapPrm", "CapEff"] {
        has(program, name, bits);
    }
    assert_eq!(lines(program, "NoNewPrivs"), ["1".to_owned()].into());
}

fn healthy(_: &Program) -> bool {
    status("127.0.0.1:10256", "/livez") == Some(200)
}

fn serves_web() -> bool {
    let all = run("nft", ["list", "ruleset"]);
    all.contains("table ip ferrule") && all.contains("10.96.0.10")
}

/// With a port whose change takes a new start.
fn configuration(health: u16) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
         mode: nftables\nnodePortAddresses: [192.0.2.0/24]\n\
         healthzBindAddress: 127.0.0.1:{health}\n"
    )
}

#[test]
fn net_admin_alone_does_all_that_the_agent_does() {
    in_namespace(|| {
        // What only it can set: `maxPerCore` and its like are those of the first namespace.
        let timeout = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
        run("nft", ["add", "table", "ip", "warm"]);
        run(
            "nft",
            [
                "add",
                "chain",
                "ip",
                "warm",
                "c",
                "{ type filter hook input priority 0; }",
            ],
        );
        run(
            "nft",
            ["add", "rule", "ip", "warm", "c", "ct", "state", "new"],
        );
        assert!(fs::metadata(timeout).is_ok(), "connection tracking");
        let mut agent = Program::agent(
            As::RootWith(&["net_admin"]),
            &[
                "--conntrack-tcp-timeout-established=4321s",
                "--protect-rules=repair",
                "--localhost-nodeports",
                "--accounting",
                "-v=4",
            ],
        );
        agent.until("health", healthy);
        holds_only(&agent, NET_ADMIN);
        has(&agent, "CapInh", 0);
        has(&agent, "CapAmb", 0);
        assert_eq!(fs::read_to_string(timeout).unwrap().trim(), "4321");
        // NodePorts on loopback, served by the agent, to an endpoint here.
        let endpoint = TcpListener::bind("192.0.2.10:8080").unwrap();
        agent.until("a NodePort on loopback", |_| {
            std::net::TcpStream::connect("127.0.0.1:30080").is_ok()
        });
        drop(endpoint);
        agent.until("the rules", |_| serves_web());
        // Damage is repaired, and told with the name of who did it.
        run("nft", ["delete", "table", "ip", "ferrule"]);
        agent.until("the repair", |agent| {
            serves_web() && agent.log().contains("nft (process ")
        });
    });
}

#[test]
fn stale_flows_are_ended_with_net_admin_alone() {
    in_namespace(|| {
        let mut agent = Program::agent(As::RootWith(&["net_admin"]), &[]);
        agent.until("health", healthy);
        agent.until("the rules", |_| serves_web());
        // A client of a Service without endpoints, whose flow knows no translation.
        let flow = "-I -p udp -s 192.0.2.10 -d 10.96.0.11 --sport 5353 --dport 53 -t 600";
        run("conntrack", flow.split(' '));
        let flows = || run("conntrack", ["-L", "-d", "10.96.0.11"]);
        assert!(flows().contains("sport=5353"), "{}", flows());
        let slice = "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: dns-1, namespace: default, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{name: '', port: 53, protocol: UDP}]
endpoints: [{addresses: [192.0.2.10], conditions: {ready: true}}]
";
        fs::write(agent.dir.path().join("objects/dns.yaml"), slice).unwrap();
        agent.until("the flow is gone", |_| !flows().contains("sport=5353"));
    });
}

#[test]
fn what_else_it_is_given_the_agent_gives_up_also_for_a_new_start() {
    in_namespace(|| {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        fs::write(&config, configuration(10256)).unwrap();
        let argument = format!("--config={}", config.display());
        let mut agent = Program::agent(As::Root, &[&argument]);
        agent.until("health", healthy);
        let kept = NET_ADMIN | NET_BIND_SERVICE;
        holds_only(&agent, kept);
        for name in ["CapBnd", "CapInh", "CapAmb"] {
            let found = lines(&agent, name);
            let of = |text: &String| u64::from_str_radix(text, 16).unwrap() & !kept;
            assert!(
                found.iter().map(of).all(|rest| rest == 0),
                "{name}: {found:?}"
            );
        }
        fs::write(&config, configuration(10300)).unwrap();
        agent.until("health after a new start", |_| {
            status("127.0.0.1:10300", "/livez") == Some(200)
        });
        assert!(agent.log().contains("starting anew"));
        holds_only(&agent, kept);
    });
}

#[test]
fn the_agent_need_not_be_root() {
    in_namespace(|| {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
        fs::write(&config, configuration(10256)).unwrap();
        let argument = format!("--config={}", config.display());
        let mut agent = Program::agent(As::NobodyWith(&["net_admin"]), &[&argument]);
        agent.until("health", healthy);
        agent.until("the rules", |_| serves_web());
        holds_only(&agent, NET_ADMIN);
        assert_eq!(
            lines(&agent, "Uid"),
            ["65534\t65534\t65534\t65534".to_owned()].into()
        );
        fs::write(&config, configuration(10300)).unwrap();
        agent.until("health after a new start", |_| {
            status("127.0.0.1:10300", "/livez") == Some(200)
        });
        holds_only(&agent, NET_ADMIN);
    });
}

#[test]
fn without_net_admin_the_agent_says_what_it_lacks() {
    in_namespace(|| {
        for who in [As::RootWith(&["net_raw", "setpcap"]), As::NobodyWith(&[])] {
            let mut agent = Program::agent(who, &[]);
            assert!(!agent.ended().success());
            assert!(agent.log().contains("CAP_NET_ADMIN"), "{}", agent.log());
        }
    });
}

#[test]
fn the_sidecar_keeps_what_opens_port_80() {
    in_namespace(|| {
        for who in [
            As::Root,
            As::RootWith(&["net_bind_service"]),
            As::RootWith(&["net_bind_service", "net_admin", "sys_admin"]),
            As::NobodyWith(&["net_bind_service"]),
        ] {
            let mut sidecar = Program::sidecar(who, &[]);
            // Nobody is at the endpoint.
            sidecar.until("an answer", |_| status("127.0.0.1:80", "/") == Some(502));
            holds_only(&sidecar, NET_BIND_SERVICE);
            assert!(lines(&sidecar, "Pid").len() > 2, "threads of its own");
        }
        // Rules are not its business.
        assert!(!run("nft", ["list", "tables"]).contains("ferrule"));
    });
}

#[test]
fn without_a_capability_the_sidecar_serves_high_ports_and_names_the_low_one() {
    in_namespace(|| {
        let high = ["--http-port=8000", "--https-port=8443"];
        let mut sidecar = Program::sidecar(As::NobodyWith(&[]), &high);
        sidecar.until("an answer", |_| status("127.0.0.1:8000", "/") == Some(502));
        holds_only(&sidecar, 0);
        drop(sidecar);
        let mut sidecar = Program::sidecar(As::NobodyWith(&[]), &[]);
        assert!(!sidecar.ended().success());
        let log = sidecar.log();
        assert!(
            log.contains(":80") && log.contains("ermission denied"),
            "{log}"
        );
    });
}

#[test]
fn rights_of_the_test_are_enough_to_show_something() {
    // Without CAP_SETPCAP the bounding set would stay, and tests above show less.
    in_namespace(|| {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:\t"));
        let effective = u64::from_str_radix(line.unwrap(), 16).unwrap();
        assert_ne!(effective & SETPCAP, 0, "CAP_SETPCAP");
        assert!(UdpSocket::bind("127.0.0.1:53").is_ok());
    });
}
