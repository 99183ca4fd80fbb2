// SPDX-License-Identifier: Apache-2.0
//! healthCheckNodePort: load balancers ask every node whether it has endpoints of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::IpFamily;

use super::{apply, at, clear};
use crate::cluster::Cluster;
use crate::netns;
use crate::object::{Kind, Service, ready, service, terminating};

fn web(endpoints: &[crate::object::Endpoint]) -> Service {
    let service = service("web", endpoints)
        .kind(Kind::LoadBalancer)
        .external_local();
    Service {
        id: 930,
        namespace: "scenario",
        ..service
    }
}

/// Status and body of `GET /` at a node's port.
fn get(cluster: &Cluster, family: IpFamily, node: u16, port: u16) -> Result<(u16, String)> {
    let to = at(netns::node_address(family, node), port);
    let limit = Duration::from_secs(2);
    let text = cluster.topology.client.enter(|| {
        let mut stream = TcpStream::connect_timeout(&to, limit).context("connect")?;
        stream.set_read_timeout(Some(limit))?;
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text).context("read")?;
        Ok(text)
    })?;
    let status = text.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    let body = text
        .split_once("\r\n\r\n")
        .map(|(_, b)| b.to_owned())
        .unwrap_or_default();
    Ok((
        status.with_context(|| format!("{to} answered {text:?}"))?,
        body,
    ))
}

fn expect(cluster: &Cluster, port: u16, local: [usize; 3]) -> Result<()> {
    for (node, local) in (1..).zip(local) {
        let status = if local > 0 { 200 } else { 503 };
        for family in IpFamily::ALL {
            eventually(|| {
                let (got, body) = get(cluster, family, node, port)?;
                let count = format!("\"localEndpoints\":{local}");
                let right = got == status && body.replace([' ', '\n', '\t'], "").contains(&count);
                ensure!(
                    right,
                    "node {node} {family}: {got} {body}, but {status} and {local} local"
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Health follows the rules within a second.
fn eventually(check: impl Fn() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    loop {
        match check() {
            Err(_) if begun.elapsed() < Duration::from_secs(1) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

pub(super) fn answers(cluster: &mut Cluster) -> Result<()> {
    let service = web(&[ready("1a"), ready("1b"), ready("2a")]);
    let port = service.health_port().context("a health check port")?;
    apply(cluster, &[service])?;
    expect(cluster, port, [2, 1, 0])?;
    // Terminating endpoints still serve, but load balancers should look elsewhere.
    apply(
        cluster,
        &[web(&[terminating("1a"), terminating("1b"), ready("2a")])],
    )?;
    expect(cluster, port, [0, 1, 0])?;
    clear(cluster)?;
    eventually(|| match get(cluster, IpFamily::V4, 2, port) {
        Ok(answer) => bail!("the Service is gone, its health check answers {answer:?}"),
        Err(_) => Ok(()),
    })
}
