// SPDX-License-Identifier: Apache-2.0
//! UDP: flows. A client has an endpoint as long as datagrams come and go; answers leave from the
//! address that was asked.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Port;
use crate::model::Target;

/// The largest datagram there is.
const LARGEST: usize = 65_535;
/// How long a flow without datagrams is kept, if `stream_timeout` is no shorter.
const QUIET: Duration = Duration::from_secs(60);
/// Flows of a port and thread; more are not begun.
const MOST: usize = 8_192;

/// The address that a datagram was sent to, as an answer has to leave from.
#[derive(Debug, Clone, Copy)]
enum Asked {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
    Unknown,
}

struct Flow {
    endpoint: Rc<UdpSocket>,
    target: Target,
    moved: Rc<Cell<Instant>>,
    answers: JoinHandle<()>,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Takes datagrams for ever; an error if the port cannot be opened.
pub(super) async fn serve(port: Rc<Port>, address: SocketAddr) -> io::Result<()> {
    let socket = Rc::new(bind(address)?);
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut buffer = vec![0; LARGEST];
    let mut look = tokio::time::interval(Duration::from_secs(5));
    loop {
        let received = tokio::select! {
            received = receive(&socket, &mut buffer) => received,
            _ = look.tick() => {
                let quiet = QUIET.min(port.settings().stream_timeout);
                flows.retain(|_, flow| {
                    !flow.answers.is_finished() && flow.moved.get().elapsed() < quiet
                });
                continue;
            }
        };
        let (length, client, asked) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "a datagram is lost");
                sleep_until(Instant::now() + Duration::from_millis(1)).await;
                continue;
            }
        };
        let good = |flow: &Flow| port.has(flow.target) && !flow.answers.is_finished();
        if !flows.get(&client).is_some_and(good) {
            flows.remove(&client);
            match begin(&port, &socket, client, asked).await {
                Some(flow) if flows.len() < MOST => flows.insert(client, flow),
                _ => continue,
            };
        }
        if let Some(flow) = flows.get(&client) {
            flow.moved.set(Instant::now());
            // As on any way of a datagram, it may be lost.
            let _ = flow.endpoint.send(&buffer[..length]).await;
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Asked)> {
    let once = || {
        let mut slices = [IoSliceMut::new(buffer)];
        let mut space = nix::cmsg_space!(libc::in6_pktinfo);
        let fd = socket.as_fd().as_raw_fd();
        let flags = MsgFlags::empty();
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut space), flags)?;
        let mut asked = Asked::Unknown;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => asked = Asked::V4(info),
                ControlMessageOwned::Ipv6PacketInfo(info) => asked = Asked::V6(info),
                _ => {}
            }
        }
        let client = message.address.as_ref().and_then(address);
        let client = client.ok_or(io::ErrorKind::InvalidData)?;
        Ok((message.bytes, client, asked))
    };
    socket.async_io(Interest::READABLE, once).await
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some((v4.ip(), v4.port()).into());
    }
    let v6 = storage.as_sockaddr_in6()?;
    Some((v6.ip(), v6.port()).into())
}

/// Begins a flow to the endpoint whose turn it is.
async fn begin(
    port: &Port,
    socket: &Rc<UdpSocket>,
    client: SocketAddr,
    asked: Asked,
) -> Option<Flow> {
    let target = port.targets().into_iter().next()?;
    let any: SocketAddr = if target.address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let endpoint = UdpSocket::bind(any).await.ok()?;
    endpoint.connect((target.address, target.port)).await.ok()?;
    let endpoint = Rc::new(endpoint);
    let moved = Rc::new(Cell::new(Instant::now()));
    let answers = answer(
        endpoint.clone(),
        socket.clone(),
        (client, asked),
        moved.clone(),
    );
    Some(Flow {
        endpoint,
        target,
        moved,
        answers: tokio::task::spawn_local(answers),
    })
}

/// Passes answers on. Ends when the endpoint cannot be reached: the next datagram finds another.
async fn answer(
    endpoint: Rc<UdpSocket>,
    socket: Rc<UdpSocket>,
    (client, asked): (SocketAddr, Asked),
    moved: Rc<Cell<Instant>>,
) {
    let mut buffer = Vec::new();
    loop {
        if endpoint.readable().await.is_err() {
            return;
        }
        // Memory is taken only while something is there.
        buffer.clear();
        buffer.reserve(LARGEST);
        match endpoint.try_recv_buf(&mut buffer) {
            Ok(_) => {
                moved.set(Instant::now());
                let _ = send(&socket, &buffer, client, asked).await;
                buffer = Vec::new();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn send(
    socket: &UdpSocket,
    bytes: &[u8],
    client: SocketAddr,
    asked: Asked,
) -> io::Result<()> {
    let to = SockaddrStorage::from(client);
    let once = || {
        let (v4, v6);
        let control = match asked {
            Asked::V4(info) => {
                // The interface is the route's business; the address is not.
                v4 = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ..info
                };
                vec![ControlMessage::Ipv4PacketInfo(&v4)]
            }
            Asked::V6(info) => {
                v6 = info;
                vec![ControlMessage::Ipv6PacketInfo(&v6)]
            }
            Asked::Unknown => Vec::new(),
        };
        let (slices, fd) = ([IoSlice::new(bytes)], socket.as_fd().as_raw_fd());
        sendmsg(fd, &slices, &control, MsgFlags::empty(), Some(&to))?;
        Ok(())
    };
    socket.async_io(Interest::WRITABLE, once).await
}
