// SPDX-License-Identifier: Apache-2.0
//! Facts about the node that change while the proxy runs: what a change costs, counted, and how
//! soon it is in the kernel, by files and interfaces that really change.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::backend::{Nftables, Sent, nft::Kernel, testing};
use crate::model::fixture::{ip, node, service, slice};
use crate::model::{Event, IpFamily, Node, Observed, State};
use crate::observe::Status;
use crate::plan::nft::{Op, SetId};
use crate::plan::{Detector, NodePortAddresses, Options};
use crate::sync::{Engine, Loop};
use crate::watch::{addresses, manifests};

const V4: IpFamily = IpFamily::V4;

/// Pods are known by the Node object, and NodePorts served by it.
fn by_node() -> Options {
    Options {
        detector: Detector::NodeCidr,
        ..Options::default()
    }
}

/// An engine in step with so many plain Services, three with zone hints, and one with ranges that
/// the node's first address is in.
fn engine(services: usize, options: Options) -> Engine<Kernel> {
    let mut state = super::empty_state();
    let mut add = |name: &str, address: String, endpoints: &[&str], range: Option<&str>| {
        let mut s = service(name, &address);
        s.ports[0].node_port = None;
        s.source_ranges
            .extend(range.map(|r| r.parse::<ipnet::IpNet>().expect("a prefix")));
        if range.is_some() {
            s.load_balancer_ips = vec![ip("203.0.113.9")];
        }
        let e = slice(&format!("{name}-1"), name, 8080, endpoints);
        state.apply(Event::Service(s.name.clone(), Observed::new(s)));
        state.apply(Event::Slice(e.name.clone(), Observed::new(e)));
    };
    for number in 0..services {
        let address = format!("10.96.{}.{}", number / 200, 1 + number % 200);
        let endpoints = ["10.244.1.5@n1", "10.244.2.5@n2"];
        add(&format!("s{number}"), address, &endpoints, None);
    }
    for number in 0..3 {
        let endpoints = ["10.244.1.9@n1>z1", "10.244.2.9@n2>z2"];
        add(
            &format!("h{number}"),
            format!("10.97.0.{number}"),
            &endpoints,
            None,
        );
    }
    add(
        "ranged",
        "10.97.1.1".into(),
        &["10.244.1.9"],
        Some("192.0.2.10/32"),
    );
    let kernel = Kernel::open().expect("a socket");
    let mut engine = Engine::new(kernel, options, state, &IpFamily::ALL);
    super::commit(&mut engine);
    engine
}

/// What a change sends and the Services that it plans anew.
fn cost(engine: &mut Engine<Kernel>, event: Event) -> (Sent, usize) {
    engine.observe(event);
    let done = engine.commit();
    assert!(!done.failed() && !done.changes.everything, "{done:?}");
    (done.sent(), done.changes.services.len())
}

fn changed(change: impl FnOnce(&mut Node)) -> Event {
    let mut node = node();
    change(&mut node);
    Event::Node(Observed::new(node))
}

fn service_cidr(cidr: &str) -> Event {
    let cidrs = vec![cidr.parse().expect("a prefix")];
    Event::ServiceCidr("kubernetes".into(), Observed::new(cidrs))
}

/// Zone, node address, pod prefix, ServiceCIDR, interface address: what each costs.
fn costs(services: usize) -> [(Sent, usize); 5] {
    let mut engine = engine(services, by_node());
    let zone = cost(&mut engine, changed(|n| n.zone = Some("z2".into())));
    let address = |n: &mut Node| {
        n.zone = Some("z2".into());
        n.addresses[0] = ip("192.0.2.11");
    };
    let moved = cost(&mut engine, changed(address));
    let pods = cost(
        &mut engine,
        changed(|n| {
            address(n);
            n.pod_cidrs = vec!["10.244.1.0/24".parse().expect("a prefix")];
        }),
    );
    let cidr = cost(&mut engine, service_cidr("10.96.0.0/12"));
    let local = cost(&mut engine, Event::LocalAddresses(vec![ip("192.0.2.12")]));
    for family in IpFamily::ALL {
        let deleted = engine.kernel().commit(family, &[Op::DeleteTable]);
        deleted.expect("a deletion");
    }
    [zone, moved, pods, cidr, local]
}

#[test]
fn a_live_fact_costs_what_depends_on_it() {
    testing::in_namespace(|| {
        let (few, many) = (costs(5), costs(2_000));
        assert_eq!(few, many);
        let [zone, moved, pods, cidr, local] = many;
        let brief = |(sent, planned): (Sent, usize)| (sent.messages, sent.elements, planned);
        // Each of the three has its one endpoint replaced; the hairpin element of the local one goes.
        assert_eq!(brief(zone), (7, 7, 3));
        // The NodePort address goes and comes, and the load balancer's own leaves the ranges.
        assert_eq!(brief(moved), (3, 3, 1));
        // Rules alone: those of the four chains that tell pods from others, in one family.
        assert_eq!(brief(pods), (19, 0, 0));
        // The one chain, emptied and filled.
        assert_eq!(brief(cidr), (2, 0, 0));
        assert_eq!(brief(local), (0, 0, 0), "NodePorts have the Node's address");
    });
}

#[test]
fn an_interface_address_costs_one_element() {
    testing::in_namespace(|| {
        let options = Options {
            node_port_addresses: NodePortAddresses::all(),
            ..by_node()
        };
        let mut engine = engine(50, options);
        let addresses = ["192.0.2.10", "192.0.2.12"].map(ip).to_vec();
        let (sent, planned) = cost(&mut engine, Event::LocalAddresses(addresses));
        assert_eq!((sent.messages, sent.elements, planned), (1, 1, 0));
    });
}

const CIDR: &str = "kind: ServiceCIDR\nmetadata: {name: kubernetes}\nspec: {cidrs: [PREFIX]}\n";

const SERVICE: &str = "
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.244.1.5], hints: {forZones: [{name: z1}]}}
- {addresses: [10.244.2.5], hints: {forZones: [{name: z2}]}}
";

/// A Node, as a file has it.
fn manifest(zone: &str, address: &str, pods: &str) -> String {
    format!(
        "kind: Node\nmetadata: {{name: n1, labels: {{topology.kubernetes.io/zone: {zone}}}}}\n\
         spec: {{podCIDRs: [{pods}]}}\n\
         status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n"
    )
}

/// Writes a whole file at once, as a careful editor does.
fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join("new"), text).expect("a written file");
    std::fs::rename(dir.join("new"), dir.join(name)).expect("a renamed file");
}

fn set(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip runs").success(), "ip {arguments}");
}

/// The loop with its real sources, in this network namespace, until the test is over.
fn run_proxy(dir: &Path, options: Options) {
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let (sender, events) = mpsc::channel(64);
            let (_asker, questions) = mpsc::channel(1);
            let kernel = Kernel::open().expect("a socket");
            let engine = Engine::new(kernel, options, State::new("n1"), &[V4]);
            let proxy = Loop::new(engine, None, Status::new(Duration::from_secs(60)));
            tokio::join!(
                proxy.run(events, questions, std::future::pending()),
                manifests::run(dir, "n1".into(), sender.clone()),
                addresses::run(sender),
            )
        })
    });
}

/// What the facts have become in the kernel: NodePort addresses, endpoints of `web`, and the rules
/// of the chains that name prefixes.
fn kernel_state(kernel: &mut Kernel) -> Option<String> {
    let table = kernel.read_table(V4).ok()??;
    let rules = |name: &str| {
        let chain = table.chains.iter().find(|c| c.name.as_str() == name);
        format!("{:?}", chain.map(|c| &c.rules))
    };
    let mut elements = |set| format!("{:?}", kernel.read_elements(V4, set).ok());
    Some(format!(
        "{} {} {} {}",
        elements(SetId::NodeAddresses),
        elements(SetId::Endpoints),
        rules("services-local"),
        rules("unallocated"),
    ))
}

/// Makes a change and waits until the kernel has it: within a second, and by one transaction
/// (and a second one, if that has to clear away).
fn applied(kernel: &mut Kernel, what: &str, change: impl FnOnce()) {
    let settled =
        |kernel: &mut Kernel| (kernel.generation().expect("a number"), kernel_state(kernel));
    let (generation, before) = settled(kernel);
    let begun = Instant::now();
    change();
    loop {
        let (_, now) = settled(kernel);
        if now != before && now.is_some() {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{what}: {before:?}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("{what}: {:?}", begun.elapsed());
    std::thread::sleep(Duration::from_millis(100));
    let transactions = kernel.generation().expect("a number") - generation;
    assert!((1..=2).contains(&transactions), "{what}: {transactions}");
}

#[test]
fn live_facts_are_in_the_kernel_within_a_second() {
    testing::in_namespace(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        write(dir, "service.yaml", SERVICE);
        write(
            dir,
            "node.yaml",
            &manifest("z1", "192.0.2.10", "10.244.1.0/24"),
        );
        write(dir, "cidr.yaml", &CIDR.replace("PREFIX", "10.96.0.0/16"));
        let mut kernel = Kernel::open().expect("a socket");
        run_proxy(dir, by_node());
        let begun = Instant::now();
        while kernel_state(&mut kernel).is_none_or(|s| !s.contains("10.244.1.5")) {
            assert!(begun.elapsed() < Duration::from_secs(10), "no start");
            std::thread::sleep(Duration::from_millis(10));
        }
        let node =
            |zone, address, pods| move || write(dir, "node.yaml", &manifest(zone, address, pods));
        let kernel = &mut kernel;
        applied(kernel, "zone", node("z2", "192.0.2.10", "10.244.1.0/24"));
        applied(
            kernel,
            "node address",
            node("z2", "192.0.2.11", "10.244.1.0/24"),
        );
        applied(
            kernel,
            "pod prefix",
            node("z2", "192.0.2.11", "10.244.7.0/24"),
        );
        applied(kernel, "ServiceCIDR", || {
            write(dir, "cidr.yaml", &CIDR.replace("PREFIX", "10.100.0.0/16"));
        });
        applied(kernel, "no ServiceCIDR", || {
            std::fs::remove_file(dir.join("cidr.yaml")).expect("a removed file");
        });
    });
}

#[test]
fn interface_addresses_are_in_the_kernel_within_a_second() {
    testing::in_namespace(|| {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "service.yaml", SERVICE);
        set("link add ours type veth peer name theirs");
        set("link set ours up");
        let mut kernel = Kernel::open().expect("a socket");
        run_proxy(dir.path(), by_node());
        let begun = Instant::now();
        while kernel_state(&mut kernel).is_none() {
            assert!(begun.elapsed() < Duration::from_secs(10), "no start");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(200));
        let kernel = &mut kernel;
        // No Node is known, so that NodePorts are served on what the host has.
        applied(kernel, "address", || {
            set("address add 192.0.2.7/24 dev ours")
        });
        applied(kernel, "another", || {
            set("address add 192.0.2.8/24 dev ours")
        });
        applied(kernel, "gone", || set("address del 192.0.2.8/24 dev ours"));
        // Now it is, without an address at first: nothing changes by that.
        let node = "kind: Node\nmetadata: {name: n1}\n";
        let before = kernel.generation().expect("a number");
        write(dir.path(), "node.yaml", node);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(kernel.generation().expect("a number"), before);
        applied(kernel, "the Node's address", || {
            write(
                dir.path(),
                "node.yaml",
                &manifest("z1", "192.0.2.99", "10.244.1.0/24"),
            );
        });
        let state = kernel_state(kernel).expect("a table");
        assert!(
            state.contains("c0000263") && !state.contains("c0000207"),
            "{state}"
        );
    });
}
