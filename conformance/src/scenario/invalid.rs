// SPDX-License-Identifier: Apache-2.0
//! Packets that connection tracking calls invalid (kubernetes#74839): an endpoint's packet that is
//! out of the window is not translated back. The client, which knows nobody of that address, answers
//! with a reset, and that one does reach the endpoint's connection.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::IpFamily;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendmsg, socket,
};

use super::held::{Echo, Held, Told};
use super::{apply, at, clear};
use crate::case::pod;
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::netns::Place;
use crate::object::{OWN_TARGET, PORT, Service, pod_address, ready, service};
use crate::socket::receive;

/// Far ahead of what the peer may send.
const AHEAD: u32 = 10_000_000;
/// Long since acknowledged, as after a detour.
const DELAYED: u32 = 0_u32.wrapping_sub(100_000);
const PAYLOAD: &[u8] = b"boom!!!";

/// A raw socket that sees the TCP packets of a pod.
struct Wire(OwnedFd);

impl Wire {
    fn tap(cluster: &Cluster, pod: &'static str) -> Result<Self> {
        let open = || {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let tcp = SockProtocol::Tcp;
            Ok(socket(AddressFamily::Inet, SockType::Raw, flags, tcp)?)
        };
        let namespace = cluster.topology.namespace(Place::Pod(pod))?;
        Ok(Self(namespace.enter(open)?))
    }

    /// Waits for a segment that `wanted` says yes to.
    fn find<T>(&self, wanted: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let begun = Instant::now();
        let mut buffer = [0; 2048];
        while begun.elapsed() < Duration::from_millis(300) {
            match receive(&self.0, true, &mut buffer)? {
                Some((segment, _)) if segment.len() >= 20 => {
                    if let Some(found) = wanted(segment) {
                        return Ok(Some(found));
                    }
                }
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(None)
    }
}

fn be16(segment: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([segment[offset], segment[offset + 1]])
}

fn be32(segment: &[u8], offset: usize) -> u32 {
    (u32::from(be16(segment, offset)) << 16) | u32::from(be16(segment, offset + 2))
}

/// A segment of the server's, out of the window by `shift` (RFC 9293, section 3.1).
fn segment(last: &[u8], shift: u32, addresses: [Ipv4Addr; 2]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(be16(last, 2).to_be_bytes());
    out.extend(be16(last, 0).to_be_bytes());
    out.extend(be32(last, 8).wrapping_add(shift).to_be_bytes());
    out.extend(be32(last, 4).to_be_bytes());
    // Five words of header; PSH and ACK.
    out.extend([5 << 4, 0x18]);
    out.extend(&last[14..16]);
    out.extend([0; 4]);
    out.extend(PAYLOAD);
    let mut summed: Vec<u8> = addresses.iter().flat_map(|a| a.octets()).collect();
    summed.extend([0, 6]);
    summed.extend((out.len() as u16).to_be_bytes());
    summed.extend(&out);
    if summed.len() % 2 == 1 {
        summed.push(0);
    }
    let mut sum: u32 = summed.chunks(2).map(|c| u32::from(be16(c, 0))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    out[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    out
}

/// What the pods' wires and the connection show after such a packet.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The port that the packet seemed to come from, if the client's pod got it.
    arrived_from: Option<u16>,
    /// The server's pod got a reset.
    reset: bool,
}

/// Opens a connection from 1b, has the server 2a send such a packet, and looks.
fn inject(cluster: &Cluster, to: SocketAddr, shift: u32) -> Result<Seen> {
    let (client, server) = (Wire::tap(cluster, "1b")?, Wire::tap(cluster, "2a")?);
    let mut held = Held::open(cluster, pod("1b"), to, 0)?;
    let (address, port) = held.client()?;
    ensure!(held.ask()? == Told::By("2a".into()), "2a should answer");
    let last = server.find(|s| {
        // The client's acknowledgement of the answer.
        let from = be16(s, 0) == port && be16(s, 2) == OWN_TARGET;
        (from && s.len() == usize::from(s[12] >> 4) * 4 && s[13] & 0x02 == 0).then(|| s.to_vec())
    });
    let last = last?.context("nothing of the client's on the wire")?;
    let (IpAddr::V4(from), IpAddr::V4(peer)) = (pod_address(IpFamily::V4, "2a"), address) else {
        bail!("not IPv4");
    };
    let packet = segment(&last, shift, [from, peer]);
    let target = SockaddrStorage::from(SocketAddr::new(address, 0));
    let slices = [IoSlice::new(&packet)];
    sendmsg(
        server.0.as_raw_fd(),
        &slices,
        &[],
        MsgFlags::empty(),
        Some(&target),
    )?;
    let boom = |s: &[u8]| s.ends_with(PAYLOAD).then(|| be16(s, 0));
    let arrived_from = client.find(boom)?;
    let reset = server.find(|s| (be16(s, 0) == port && s[13] & 0x04 != 0).then_some(()))?;
    Ok(Seen {
        arrived_from,
        reset: reset.is_some(),
    })
}

/// With `--drop-invalid` no such packet harms a connection through a Service, and others pass as
/// they are. Without it, only those do harm that are ahead of the window (seen in Linux 6.18).
pub(super) fn dropped(cluster: &mut Cluster) -> Result<()> {
    let web = Service {
        id: 970,
        namespace: "scenario",
        ..service("held", [ready("2a").own_port()])
    };
    apply(cluster, std::slice::from_ref(&web))?;
    let _server = Echo::start(cluster, "2a")?;
    let vip = at(web.cluster_ip(IpFamily::V4), PORT);
    let broken = inject(cluster, vip, AHEAD)?;
    let expected = Seen {
        arrived_from: Some(OWN_TARGET),
        reset: true,
    };
    ensure!(broken == expected, "by default, ahead: {broken:?}");

    let mut flags = cluster_cidr_flags();
    flags.push("--drop-invalid".to_owned());
    cluster.start_agents(&flags)?;
    let ahead = inject(cluster, vip, AHEAD)?;
    let expected = Seen {
        arrived_from: None,
        reset: false,
    };
    ensure!(ahead == expected, "ahead: {ahead:?}");
    let delayed = inject(cluster, vip, DELAYED)?;
    ensure!(!delayed.reset, "delayed: {delayed:?}");

    // 2a serves nobody any more: the connection is none of a Service's.
    clear(cluster)?;
    let direct = at(pod_address(IpFamily::V4, "2a"), OWN_TARGET);
    let foreign = inject(cluster, direct, AHEAD)?;
    ensure!(
        foreign.arrived_from == Some(OWN_TARGET),
        "without a Service: {foreign:?}"
    );
    cluster.start_agents(&cluster_cidr_flags())
}
