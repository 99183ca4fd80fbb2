// SPDX-License-Identifier: Apache-2.0
//! NodePorts on loopback, which the agent of node 1 is asked for: `--localhost-nodeports`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::{IpFamily, Protocol};
use serde_json::{Value, json};

use super::{apply, at, clear, connect, endpoints};
use crate::case::{From, host};
use crate::cases::cluster_cidr_flags;
use crate::client::{Answer, Attempt, dial};
use crate::cluster::Cluster;
use crate::echo::Echo;
use crate::netns;
use crate::object::{Kind, Service, pod_address, ready, service};
use crate::pace::pace;

/// Ports of the Services that hold many.
const MANY: u16 = 1_000;
/// Bytes of the big transfer.
const BYTES: usize = 16 << 20;

/// Runs it with an agent on node 1 that serves loopback, and puts the usual one back.
fn with_agent(cluster: &mut Cluster, run: fn(&mut Cluster) -> Result<()>) -> Result<()> {
    cluster.stop_agent(1)?;
    let mut flags = cluster_cidr_flags();
    flags.push("--localhost-nodeports".to_owned());
    cluster.start_agent(1, &flags)?;
    cluster.settle()?;
    run(cluster)?;
    clear(cluster)?;
    cluster.stop_agent(1)?;
    cluster.start_agent(1, &cluster_cidr_flags())?;
    cluster.settle().map(drop)
}

fn loopback(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::LOCALHOST.into(),
        IpFamily::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

fn node_port(service: &Service, family: IpFamily) -> Result<SocketAddr> {
    let port = service.node_port().context("a NodePort")?;
    Ok(at(loopback(family), port))
}

fn web(id: u16, pods: &[&'static str]) -> Service {
    let endpoints: Vec<_> = pods.iter().map(|p| ready(p)).collect();
    let service = service("web", endpoints).kind(Kind::NodePort);
    Service {
        id,
        namespace: "scenario",
        ..service
    }
}

/// Until it is so; listeners follow the rules within a second.
fn eventually(check: impl Fn() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    loop {
        match check() {
            Err(_) if begun.elapsed() < Duration::from_secs(1) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn answers(cluster: &Cluster, to: SocketAddr, protocol: Protocol) -> Result<Vec<Answer>> {
    connect(cluster, [host(1); 40], to, protocol)
}

/// Fails unless exactly these pods answer, at both families.
fn reach(cluster: &Cluster, service: &Service, pods: &[&str]) -> Result<()> {
    for family in IpFamily::ALL {
        eventually(|| {
            let answers = answers(cluster, node_port(service, family)?, Protocol::Tcp)?;
            let mut who = endpoints(&answers)?;
            who.sort();
            who.dedup();
            ensure!(who == pods, "{family}: {who:?} answer, not {pods:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Fails unless connections end at once.
fn refused(cluster: &Cluster, service: &Service, protocol: Protocol) -> Result<()> {
    for family in IpFamily::ALL {
        eventually(|| {
            let answers = answers(cluster, node_port(service, family)?, protocol)?;
            let wrong = answers.iter().find(|a| !a.refused_at_once());
            ensure!(wrong.is_none(), "{family} {protocol}: {wrong:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Policies and endpoints are those of the host's own connections.
pub(super) fn serves(cluster: &mut Cluster) -> Result<()> {
    tells_that_it_is_off(cluster)?;
    with_agent(cluster, |cluster| {
        let both = web(960, &["1a", "2a"]);
        apply(cluster, std::slice::from_ref(&both))?;
        reach(cluster, &both, &["1a", "2a"]).context("two endpoints")?;
        refused(cluster, &both, Protocol::Udp).context("UDP is not served")?;
        strangers(cluster, &both)?;

        let far = web(961, &["2a"]).external_local();
        apply(cluster, std::slice::from_ref(&far))?;
        reach(cluster, &far, &["2a"]).context("policy Local, endpoint elsewhere")?;
        refused(cluster, &both, Protocol::Tcp).context("a Service that is gone")?;

        let none = web(962, &[]);
        apply(cluster, std::slice::from_ref(&none))?;
        refused(cluster, &none, Protocol::Tcp).context("no endpoints")
    })
}

/// kube-proxy's iptables mode serves loopback by default; in that mode we say that we do not.
fn tells_that_it_is_off(cluster: &mut Cluster) -> Result<()> {
    cluster.stop_agent(1)?;
    let mode = |flag: String| flag.replace("nftables", "iptables");
    let flags: Vec<String> = cluster_cidr_flags().into_iter().map(mode).collect();
    cluster.start_agent(1, &flags)?;
    cluster.settle()?;
    let log = std::fs::read_to_string(cluster.directory().join("node-1.log"))?;
    let said = log.matches("NodePorts are not served on 127.0.0.1").count();
    ensure!(said == 1, "that it is off is said {said} times:\n{log}");
    Ok(())
}

/// Only loopback may connect, whatever `route_localnet` lets in.
fn strangers(cluster: &Cluster, service: &Service) -> Result<()> {
    let to = node_port(service, IpFamily::V4)?;
    let attempt = Attempt {
        protocol: Protocol::Tcp,
        to,
        source: Some(netns::node_address(IpFamily::V4, 1)),
        via: 0,
    };
    let From { place, .. } = host(1);
    let answers = dial(
        cluster.topology.namespace(place)?,
        &[attempt],
        pace().silence,
    )?;
    ensure!(
        answers[0].refused_at_once(),
        "from another address: {:?}",
        answers[0]
    );
    Ok(())
}

/// Two Services swap their ports.
pub(super) fn swaps(cluster: &mut Cluster) -> Result<()> {
    with_agent(cluster, |cluster| {
        let pair = |one: u16, two: u16| {
            let api = Service {
                name: "api",
                ..web(two, &["2a"])
            };
            [web(one, &["1a"]), api]
        };
        for (one, two) in [(963, 964), (964, 963), (963, 964)] {
            let pair = pair(one, two);
            apply(cluster, &pair)?;
            reach(cluster, &pair[0], &["1a"]).with_context(|| format!("web at {one}"))?;
            reach(cluster, &pair[1], &["2a"]).with_context(|| format!("api at {two}"))?;
        }
        Ok(())
    })
}

/// A Service of one TCP port with an endpoint, and its slices.
fn plain(name: &str, id: u16, pod: &str, target: u16) -> Vec<Value> {
    let ips = IpFamily::ALL.map(|f| netns::cluster_ip(f, id));
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": "scenario" },
        "spec": {
            "type": "NodePort", "clusterIP": ips[0], "clusterIPs": ips,
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
            "ports": [{ "port": 80, "nodePort": 30_000 + id }],
        },
    })];
    objects.extend(IpFamily::ALL.map(|family| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{name}-{family}").to_lowercase(), "namespace": "scenario",
                "labels": { "kubernetes.io/service-name": name },
            },
            "addressType": family.to_string(),
            "ports": [{ "port": target }],
            "endpoints": [{ "addresses": [pod_address(family, pod)] }],
        })
    }));
    objects
}

/// A thousand NodePorts are open, in both families, within a second of their rules.
pub(super) fn many(cluster: &mut Cluster) -> Result<()> {
    with_agent(cluster, |cluster| {
        let objects: Vec<Value> = (1..=MANY)
            .flat_map(|id| plain(&format!("web-{id}"), id, "1a", 8080))
            .collect();
        let written = Instant::now();
        cluster.write("scenario", &objects)?;
        cluster.settle()?;
        let ruled = Instant::now();
        let node = &cluster.topology.nodes[0];
        let wanted = 2 * usize::from(MANY);
        let open = node.enter(|| {
            while listening()? < wanted && ruled.elapsed() < Duration::from_secs(1) {
                std::thread::sleep(Duration::from_millis(2));
            }
            listening()
        })?;
        println!(
            "    {open} listeners {:?} after their Services were written, {:?} after their rules",
            written.elapsed(),
            ruled.elapsed()
        );
        ensure!(open == wanted, "{open} of {wanted} listeners are open");
        for id in [1, MANY / 2, MANY] {
            for family in IpFamily::ALL {
                node.enter(|| opened(at(loopback(family), 30_000 + id)))?;
            }
        }
        Ok(())
    })
}

/// How many TCP listeners with a NodePort there are in this thread's namespace.
fn listening() -> Result<usize> {
    let mut count = 0;
    for file in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))?;
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A")) = (words.get(1), words.get(3)) else {
                continue;
            };
            let port = local.rsplit(':').next().unwrap_or_default();
            let port = u16::from_str_radix(port, 16)?;
            count += usize::from((30_000..=30_000 + MANY).contains(&port));
        }
    }
    Ok(count)
}

/// Bytes arrive as they were sent, also after one side has ended. What the proxy costs beside the
/// rules alone is printed.
pub(super) fn carries(cluster: &mut Cluster) -> Result<()> {
    with_agent(cluster, |cluster| {
        let pod = cluster.topology.pod("2a")?;
        let _echo = Echo::start(&pod.namespace, 9_099)?;
        cluster.write("scenario", &plain("echo", 965, "2a", 9_099))?;
        cluster.settle()?;
        let node = &cluster.topology.nodes[0];
        for family in IpFamily::ALL {
            let direct = at(netns::node_address(family, 1), 30_965);
            let proxied = at(loopback(family), 30_965);
            eventually(|| node.enter(|| opened(proxied)))?;
            node.enter(|| echoed(proxied))?;
            let (mut a, mut b) = (Figures::WORST, Figures::WORST);
            for _ in 0..3 {
                a = a.better(node.enter(|| Figures::measure(direct))?);
                b = b.better(node.enter(|| Figures::measure(proxied))?);
            }
            println!("    {family} direct {a}; localhost {b}");
        }
        Ok(())
    })
}

fn opened(to: SocketAddr) -> Result<()> {
    TcpStream::connect(to)
        .map(drop)
        .with_context(|| to.to_string())
}

/// Sends much, ends its side, and gets all of it back.
fn echoed(to: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let sent: Vec<u8> = (0..BYTES as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut received = Vec::with_capacity(BYTES);
    std::thread::scope(|s| -> Result<()> {
        let mut writer = stream.try_clone()?;
        let sent = &sent;
        let writing = s.spawn(move || -> Result<()> {
            writer.write_all(sent)?;
            Ok(writer.shutdown(Shutdown::Write)?)
        });
        stream.read_to_end(&mut received)?;
        match writing.join() {
            Ok(result) => result,
            Err(_) => bail!("the writer panicked"),
        }
    })?;
    ensure!(received == sent, "{} bytes came back", received.len());
    Ok(())
}

/// What a way through costs.
#[derive(Clone, Copy)]
struct Figures {
    /// Bytes there and back in a second, in MB.
    rate: f64,
    /// Median round trip of one byte.
    round: Duration,
    /// Median time to connect and get one byte back.
    fresh: Duration,
}

impl Figures {
    const WORST: Self = Self {
        rate: 0.0,
        round: Duration::MAX,
        fresh: Duration::MAX,
    };

    /// The better of both: others that use the machine make things worse only.
    fn better(self, other: Self) -> Self {
        Self {
            rate: self.rate.max(other.rate),
            round: self.round.min(other.round),
            fresh: self.fresh.min(other.fresh),
        }
    }

    fn measure(to: SocketAddr) -> Result<Self> {
        let begun = Instant::now();
        echoed(to)?;
        let rate = BYTES as f64 / begun.elapsed().as_secs_f64() / 1e6;
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let round = median(2_000, || ping(&mut stream))?;
        let fresh = median(500, || ping(&mut TcpStream::connect(to)?))?;
        Ok(Self { rate, round, fresh })
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, round, fresh } = self;
        write!(
            f,
            "{rate:.0} MB/s, {round:?} a round trip, {fresh:?} a new connection"
        )
    }
}

fn ping(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0])?;
    Ok(())
}

fn median(times: usize, mut run: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        run()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[times / 2])
}
