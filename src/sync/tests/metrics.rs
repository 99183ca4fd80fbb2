// SPDX-License-Identifier: Apache-2.0
//! What the loop tells metrics of a run on the in-memory kernel.

use std::time::Duration;

use tokio::sync::mpsc::channel;

use super::*;
use crate::model::{EndpointSlice, Node};
use crate::observe::Status;
use crate::plan::nft::Op;
use crate::sync::Loop;

/// Plays events through the loop, all before its first commit, and returns what /metrics says.
async fn text_after(history: Vec<Event>) -> String {
    let engine = Engine::new(Fake::default(), options(), State::new("n1"), &IpFamily::ALL);
    let status = Status::new(Duration::from_secs(60));
    let (sender, events) = channel(history.len().max(1));
    for event in history {
        sender.send(event).await.expect("room");
    }
    drop(sender);
    let (_asking, questions) = channel(1);
    let proxy = Loop::new(engine, None, status.clone());
    proxy.run(events, questions, std::future::pending()).await;
    status.metrics()
}

fn found(slice: EndpointSlice) -> Event {
    Event::Slice(slice.name.clone(), Observed::new(slice))
}

fn check(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|l| l == *line),
            "{line}\nis not in\n{text}"
        );
    }
}

#[tokio::test]
async fn a_start_and_what_it_serves() {
    let mut local = service("local", "10.96.0.2");
    local.internal_policy = TrafficPolicy::Local;
    let now = jiff::Timestamp::now().as_millisecond();
    let timed = |at: i64, name: &str, service: &str, endpoint: &str| EndpointSlice {
        triggered_at: Some(at),
        ..slice(name, service, 8080, &[endpoint])
    };
    let web = service("web", "10.96.0.1");
    let rejected = Event::Service(
        service("bad", "10.96.0.3").name,
        Observed {
            object: None,
            skipped: vec!["spec.ports[0].port: must be 1 to 65535, is 0".into()],
        },
    );
    let node: Node = node();
    let text = text_after(vec![
        Event::Node(Observed::new(node)),
        Event::Service(web.name.clone(), Observed::new(web)),
        Event::Service(local.name.clone(), Observed::new(local)),
        rejected,
        found(timed(now - 5_000, "web-1", "web", "10.244.1.5@n1")),
        // Later than the start, as clocks of the control plane may be.
        found(timed(now + 3_600_000, "local-1", "local", "10.244.2.5@n2")),
        Event::Synced,
    ])
    .await;
    check(
        &text,
        &[
            "kubeproxy_sync_proxy_rules_service_changes_total 2",
            "kubeproxy_sync_proxy_rules_service_changes_pending 0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 2",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"} 1",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"} 0",
            "ferrule_commit_changes_count 1",
            "ferrule_commit_changes_sum 6",
            "ferrule_set_elements{ip_family=\"IPv4\",set=\"cluster-ips\"} 2",
            "ferrule_set_elements{ip_family=\"IPv6\",set=\"cluster-ips\"} 0",
            "ferrule_skipped{field=\"spec.ports\",kind=\"Service\"} 1",
            "ferrule_drift_repaired_total{ip_family=\"IPv4\"} 0",
        ],
    );
    let partial = "kubeproxy_sync_partial_proxy_rules_duration_seconds_count";
    assert!(!text.contains(partial), "a start is a full sync");
}

#[tokio::test]
async fn nothing_is_committed_before_everything_is_listed() {
    let web = service("web", "10.96.0.1");
    let event = Event::Service(web.name.clone(), Observed::new(web));
    let text = text_after(vec![event]).await;
    check(
        &text,
        &[
            "kubeproxy_sync_proxy_rules_service_changes_pending 1",
            "ferrule_commit_changes_count 0",
        ],
    );
}

#[tokio::test]
async fn a_change_of_one_family_is_no_sync_of_the_other() {
    let engine = Engine::new(Fake::default(), options(), State::new("n1"), &IpFamily::ALL);
    let status = Status::new(Duration::from_secs(60));
    let (sender, events) = channel(8);
    let (_asking, questions) = channel(1);
    let proxy = Loop::new(engine, None, status.clone());
    let running = tokio::spawn(proxy.run(events, questions, std::future::pending()));
    let web = service("web", "10.96.0.1");
    let web = Event::Service(web.name.clone(), Observed::new(web));
    let endpoint = found(slice("web-1", "web", 8080, &["10.244.1.5@n1"]));
    for event in [web, Event::Synced] {
        sender.send(event).await.expect("the loop");
    }
    while !status.metrics().contains("ferrule_commit_changes_count 1") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sender.send(endpoint).await.expect("the loop");
    drop(sender);
    running.await.expect("the loop's end");
    let text = status.metrics();
    let count = |family: &str, kind: &str| {
        let name = format!("kubeproxy_sync_{kind}proxy_rules_duration_seconds_count");
        let name = format!("{name}{{ip_family=\"{family}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().expect("a number"))
    };
    let counts = |kind: &str| (count("IPv4", kind), count("IPv6", kind));
    assert_eq!(counts("full_"), (1, 1), "{text}");
    assert_eq!(counts("partial_"), (1, 0), "{text}");
    assert_eq!(counts(""), (2, 1), "{text}");
}

#[test]
fn a_table_that_others_delete_is_drift() {
    let (mut engine, _) = start(Fake::default(), empty_state());
    let mut change = |number: usize, foreign: bool| {
        if foreign {
            let delete = [Op::DeleteTable];
            let deleted = engine.kernel().commit(IpFamily::V4, &delete);
            deleted.expect("a deletion");
        }
        let s = service("web", &format!("10.96.0.{number}"));
        engine.observe(Event::Service(s.name.clone(), Observed::new(s)));
        let first = engine.commit();
        let last = if first.failed() {
            engine.commit()
        } else {
            Default::default()
        };
        let drifted = |done: &crate::sync::Committed| {
            let figures = done.figures.iter().filter(|(_, f)| f.drifted);
            figures.map(|(family, _)| *family).collect::<Vec<_>>()
        };
        (first.failed(), drifted(&first), drifted(&last))
    };
    assert_eq!(change(1, false), (false, vec![], vec![]));
    assert_eq!(change(2, true), (true, vec![], vec![IpFamily::V4]));
    assert_eq!(change(3, false), (false, vec![], vec![]));
}

/// The least time of many that telling metrics of a commit takes, among so many Services.
fn least_cost(services: usize) -> Duration {
    let (mut engine, _) = start(Fake::default(), empty_state());
    for number in 0..services {
        let address = format!("10.96.{}.{}", number / 200, 1 + number % 200);
        let s = service(&format!("s{number}"), &address);
        engine.observe(Event::Service(s.name.clone(), Observed::new(s)));
    }
    let done = engine.commit();
    assert!(!done.failed());
    let mut proxy = Loop::new(engine, None, Status::new(Duration::from_secs(60)));
    let once = |_| {
        let begun = std::time::Instant::now();
        proxy.measure(&done);
        begun.elapsed()
    };
    (0..500).map(once).min().expect("some")
}

#[test]
fn telling_metrics_walks_no_services() {
    let (few, many) = (least_cost(10), least_cost(3_000));
    assert!(many < 5 * few, "{few:?} among 10, {many:?} among 3,000");
    println!("{few:?} among 10 Services, {many:?} among 3,000");
}
