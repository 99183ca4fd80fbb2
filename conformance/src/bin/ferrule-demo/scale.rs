// SPDX-License-Identifier: Apache-2.0
//! Edits a manifest and measures how soon traffic follows.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ferrule::model::{IpFamily, Protocol};
use ferrule_conformance::client::{Answer, Attempt, PATIENCE, dial};
use ferrule_conformance::cluster::Cluster;
use ferrule_conformance::netns::{self, Place};

use crate::manifest::{self, SHOP};
use crate::step;

/// A scaled-down Service counts as settled after so many right answers in a row: among four
/// endpoints a wrong one would then have been missed once in 10^25 times.
const IN_A_ROW: usize = 200;
const LIMIT: Duration = Duration::from_secs(10);
/// Between two changes: each is measured on a quiet system, not behind the other's work on
/// thousands of remembered flows.
const PAUSE: Duration = Duration::from_secs(2);

pub(crate) fn show(cluster: &Cluster) -> Result<()> {
    step(
        4,
        "Scaling shop by editing shop.yaml, while pod 1b goes on connecting:",
    );
    let five = ["1a", "2a", "3a", "2b", "3b"];
    let begun = Instant::now();
    manifest::write(cluster, &SHOP, &five)?;
    let first = first_of(cluster, &five[3..])?;
    println!(
        "   3 to 5 endpoints: {first} answered {:.1} ms later",
        ms(begun)
    );
    sleep(PAUSE);
    let begun = Instant::now();
    manifest::write(cluster, &SHOP, &["3a"])?;
    let last = last_but(cluster, "3a")?;
    let last = last.map_or(0.0, |at| at.duration_since(begun).as_secs_f64() * 1e3);
    println!("   5 to 1 endpoint:  only 3a answered {last:.1} ms later");
    Ok(())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn connect(cluster: &Cluster) -> Result<String> {
    let to = SocketAddr::new(netns::cluster_ip(IpFamily::V4, 1), 80);
    let attempt = Attempt {
        protocol: Protocol::Tcp,
        to,
        source: None,
        via: 0,
    };
    let answers = dial(
        cluster.topology.namespace(Place::Pod("1b"))?,
        &[attempt],
        PATIENCE,
    )?;
    match answers.into_iter().next() {
        Some(Answer::From { endpoint, .. }) => Ok(endpoint),
        Some(other) => bail!("shop: {other}"),
        None => bail!("shop: no answer"),
    }
}

/// Connects until one of these pods answers.
fn first_of(cluster: &Cluster, pods: &[&str]) -> Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        let answered = connect(cluster)?;
        if pods.contains(&answered.as_str()) {
            return Ok(answered);
        }
    }
    bail!(
        "none of {pods:?} answered within {LIMIT:?}\n{}",
        cluster.logs()
    )
}

/// Connects until only this pod answers, and tells when another last did.
fn last_but(cluster: &Cluster, pod: &str) -> Result<Option<Instant>> {
    let (begun, mut last, mut row) = (Instant::now(), None, 0);
    while row < IN_A_ROW {
        row += 1;
        if connect(cluster)? != pod {
            (last, row) = (Some(Instant::now()), 0);
        }
        if begun.elapsed() > LIMIT {
            bail!(
                "others than {pod} still answer after {LIMIT:?}\n{}",
                cluster.logs()
            );
        }
    }
    Ok(last)
}
