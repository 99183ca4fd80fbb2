// SPDX-License-Identifier: Apache-2.0
//! What the kernel tells everybody: messages of a multicast group.

use std::future::poll_fn;
use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockFilter, SockRef};

/// Receive buffer, bytes: some 10,000 messages of others fit. More are lost, and the loss is told.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Room for the messages of one reading, bytes. The kernel puts no more into one
/// (`NLMSG_GOODSIZE`, and `nft_commit_notify` of merged notifications).
const ROOM: usize = 64 << 10;
/// Where `nlmsg_pid` stands in a message.
const PORT_AT: u32 = 12;

/// A socket that receives the messages of one group, but those that one other socket causes.
pub struct Subscription {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl Subscription {
    /// Joins a group of netfilter. `except` is the port of the socket whose doings are not to be
    /// told: the kernel drops them before they cost anything. Needs a runtime.
    ///
    /// # Errors
    /// The socket's; EPERM without `CAP_NET_ADMIN`.
    pub fn netfilter(group: u32, except: u32) -> io::Result<Self> {
        let mut subscription = Self {
            socket: TokioSocket::new(NETLINK_NETFILTER)?,
            buffer: Vec::with_capacity(ROOM),
        };
        let socket = subscription.socket.socket_mut();
        socket.bind_auto()?;
        // Connected, it takes messages from nobody but the kernel.
        socket.connect(&SocketAddr::new(0, 0))?;
        SockRef::from(&*socket).attach_filter(&all_but(except))?;
        // Without CAP_NET_ADMIN the system's limit has to do.
        setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER))?;
        socket.add_membership(group)?;
        Ok(subscription)
    }

    /// Waits for messages, and returns those of one reading.
    ///
    /// # Errors
    /// ENOBUFS if some were lost; what comes later can be read afterwards.
    pub async fn next(&mut self) -> io::Result<&[u8]> {
        let Self { socket, buffer } = self;
        buffer.clear();
        poll_fn(|cx| socket.poll_recv(cx, buffer)).await?;
        Ok(&self.buffer)
    }
}

/// Lets everything through but what the socket of that port causes. All messages of one reading
/// have one cause, so the first one tells.
fn all_but(port: u32) -> [SockFilter; 4] {
    // The filter reads in network byte order what netlink has in host order.
    let port = u32::from_be_bytes(port.to_ne_bytes());
    let op = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    [
        op(BPF_LD | BPF_W | BPF_ABS, 0, 0, PORT_AT),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, port),
        op(BPF_RET | BPF_K, 0, 0, 0),
        op(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ]
}
