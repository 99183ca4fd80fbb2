// SPDX-License-Identifier: Apache-2.0
//! How a packet gets into this host: from a socket here, or by a pair of links from a network
//! namespace of its own, for what others would send.
//!
//! The namespace lives as long as this program has it open, and its links go with it, so nothing
//! is left behind even if the program is killed.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::neighbour::NeighbourState;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use socket2::{Domain, Socket, Type};

use crate::model::Protocol;
use crate::plan::trace::Packet;

/// The link's end in the namespace.
const INNER: &str = "ferrule";
/// Longest name of a link.
const LONGEST: usize = 15;
/// Ports that are tried until one is free.
const TRIES: usize = 20;

/// A way in.
pub(super) struct Way {
    socket: Socket,
    source_port: u16,
    /// Keeps the namespace, and the links, alive.
    _namespace: Option<File>,
}

impl Way {
    /// Prepares to send the packet.
    ///
    /// # Errors
    /// Missing rights; a source that cannot be taken.
    pub(super) fn open(packet: &Packet) -> Result<Self> {
        let (socket, namespace) = match &packet.interface {
            None => (bound(packet)?, None),
            Some(name) => {
                let (socket, namespace) = from_outside(packet, &link_name(name))?;
                (socket, Some(namespace))
            }
        };
        let at = socket.local_addr()?.as_socket();
        Ok(Self {
            source_port: at.context("no port")?.port(),
            socket,
            _namespace: namespace,
        })
    }

    /// The port that it sends from.
    pub(super) fn source_port(&self) -> u16 {
        self.source_port
    }

    /// Sends the first packet of a connection.
    ///
    /// # Errors
    /// If the kernel refuses to.
    pub(super) fn send(&self, packet: &Packet) -> Result<()> {
        let to = SocketAddr::new(packet.destination, packet.port).into();
        self.socket.set_nonblocking(true)?;
        match self.socket.connect(&to) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(e) => return Err(e).context("sending the packet"),
        }
        if packet.protocol == Protocol::Udp {
            self.socket.send(b"ferrule").context("sending the packet")?;
        }
        Ok(())
    }
}

/// A socket bound to the packet's source. A packet to one of this host's own addresses gets its
/// source from the kernel.
fn bound(packet: &Packet) -> Result<Socket> {
    let kind = match packet.protocol {
        Protocol::Udp => Type::DGRAM,
        _ => Type::STREAM,
    };
    let domain = match packet.source {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let socket = Socket::new(domain, kind, None)?;
    for _ in 0..TRIES {
        let port = fastrand::u16(40_000..60_000);
        match socket.bind(&SocketAddr::new(packet.source, port).into()) {
            Ok(()) => return Ok(socket),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e).with_context(|| format!("sending from {}", packet.source)),
        }
    }
    bail!("no free port to send from");
}

/// A name for this host's end: a pod's link keeps what it is known by.
fn link_name(like: &str) -> String {
    let prefix = match like.strip_prefix('(') {
        Some(_) => "ferrule-",
        None => like.trim_end_matches(|c: char| c.is_ascii_digit()),
    };
    // The links of the last run may be there for a moment yet.
    let number = fastrand::u32(10_000..100_000);
    let room = LONGEST - 5;
    let prefix: String = prefix.chars().take(room).collect();
    format!("{prefix}{number}")
}

/// A socket in a namespace whose only way out is a link to this one.
fn from_outside(packet: &Packet, outer: &str) -> Result<(Socket, File)> {
    let here = File::open("/proc/thread-self/ns/net")?;
    let (there, mac) = in_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("a network namespace (needs root)")?;
        let there = File::open("/proc/thread-self/ns/net")?;
        let mac = run(|handle| async move { links(&handle, outer, &here).await })?;
        Ok((there, mac))
    })?;
    run(|handle| async move { up(&handle, outer).await.map(drop) })?;
    let socket = in_thread(|| {
        setns(&there, CloneFlags::CLONE_NEWNET)?;
        run(|handle| async move { address(&handle, packet, &mac).await })?;
        bound(packet)
    })?;
    // Until the carrier is there, packets are thrown away.
    thread::sleep(Duration::from_millis(100));
    Ok((socket, there))
}

fn in_thread<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(run).join()).map_err(|_| anyhow!("a thread has failed"))?
}

/// Runs with rtnetlink of the network namespace that the thread is in.
fn run<T, F: Future<Output = Result<T>>>(work: impl FnOnce(Handle) -> F) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let result = work(handle).await;
        connection.abort();
        result
    })
}

/// Index and hardware address of a link.
async fn link(handle: &Handle, name: &str) -> Result<(u32, Vec<u8>)> {
    let mut found = handle.link().get().match_name(name).execute();
    let found = found.try_next().await?.context("the link is gone")?;
    let mac = found.attributes.iter().find_map(|a| match a {
        LinkAttribute::Address(mac) => Some(mac.clone()),
        _ => None,
    });
    Ok((found.header.index, mac.unwrap_or_default()))
}

async fn up(handle: &Handle, name: &str) -> Result<u32> {
    let (index, _) = link(handle, name).await?;
    let change = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(change).execute().await?;
    Ok(index)
}

/// Makes the pair and gives one end to the host. Returns that end's hardware address.
async fn links(handle: &Handle, outer: &str, host: &File) -> Result<Vec<u8>> {
    let pair = LinkVeth::new(INNER, outer).build();
    let added = handle.link().add(pair).execute().await;
    added.context("a pair of links (kernel module veth)")?;
    let (index, mac) = link(handle, outer).await?;
    let change = LinkUnspec::new_with_index(index)
        .setns_by_fd(host.as_raw_fd())
        .build();
    let moved = handle.link().set(change).execute().await;
    moved.with_context(|| format!("giving the link {outer} to the host"))?;
    Ok(mac)
}

/// Gives the namespace the packet's source, and the way to its destination.
async fn address(handle: &Handle, packet: &Packet, mac: &[u8]) -> Result<()> {
    let index = up(handle, INNER).await?;
    let length = if packet.source.is_ipv4() { 32 } else { 128 };
    let mut address = handle.address().add(index, packet.source, length);
    // Nobody else is on this link to ask whether the address is free.
    address.message_mut().header.flags |=
        rtnetlink::packet_route::address::AddressHeaderFlags::Nodad;
    address.execute().await?;
    let to = packet.destination;
    let route = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to, length)?
        .output_interface(index)
        .build();
    handle.route().add(route).execute().await?;
    let neighbour = handle.neighbours().add(index, to);
    let neighbour = neighbour.link_layer_address(mac);
    neighbour.state(NeighbourState::Permanent).execute().await?;
    Ok(())
}
