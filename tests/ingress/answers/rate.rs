// SPDX-License-Identifier: Apache-2.0
//! Answers held to a rate.

use std::time::{Duration, Instant};

use super::Cluster;
use crate::rig::Endpoint;

#[test]
fn an_answer_takes_as_long_as_its_rate_says() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = Endpoint::serving_at(cluster.own(), |mut served, _| {
        while served.request().is_some() {
            served.answer(&"x".repeat(200 * 1024));
        }
    });
    let limits = [("limit-rate", "50"), ("limit-rate-after", "50")];
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("slow.example", &limits)
        .ingress("fast.example", &[("limit-rate", "0")])
        .start();
    let timed = |host: &str| {
        let begun = Instant::now();
        let answer = running.get(host, "/");
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 200 * 1024),
            "{host}"
        );
        assert_eq!(answer.header("content-length"), Some("204800"), "{host}");
        begun.elapsed()
    };
    // 50 KiB at once, 50 in the first second at once, and then 50 a second.
    let slow = timed("slow.example");
    assert!(slow > Duration::from_millis(1900), "{slow:?}");
    assert!(slow < Duration::from_secs(9), "{slow:?}");
    assert!(timed("fast.example") < slow);
}
