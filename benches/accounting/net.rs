// SPDX-License-Identifier: Apache-2.0
//! A client and a server with the node between them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use ferrule::backend::netlink::{NLM_F_ACK, NLM_F_REQUEST, Socket, Writer};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

/// `IPCTNL_MSG_CT_DELETE` of `NFNL_SUBSYS_CTNETLINK`; without a tuple: all of them.
const DELETE: u16 = 1 << 8 | 2;

/// The client, which works when it is asked to.
pub(crate) struct Network {
    orders: Sender<usize>,
    done: Receiver<Result<()>>,
}

impl Network {
    /// Moves this thread to the node's namespace, and starts both ends.
    pub(crate) fn build() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("needs root")?;
        run("ip link set lo up")?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let (orders, inbox) = channel();
        let (outbox, done) = channel();
        let server = end("s", "10.244.2", || {
            let listener = TcpListener::bind("10.244.2.2:8080")?;
            for stream in listener.incoming() {
                let _ = serve(stream?);
            }
            Ok(())
        })?;
        ensure!(server > 0, "no server");
        end("c", "10.244.1", move || {
            // Ports of connections that have ended are free at once; to look for a free one among
            // thousands would cost more than all the rest.
            fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "256")?;
            for count in inbox {
                let result = (0..count).try_for_each(|_| ask());
                outbox.send(result)?;
            }
            Ok(())
        })?;
        Ok(Self { orders, done })
    }

    /// Makes connections one after the other.
    pub(crate) fn connect(&self, count: usize) -> Result<()> {
        self.orders.send(count)?;
        self.done.recv()?
    }
}

/// Ends all flows of the node, with their events.
pub(crate) fn flush() -> Result<()> {
    let mut request = Writer::new();
    request.message(DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, |w| w.nfgenmsg(0, 0));
    let failures = Socket::netfilter()?.acknowledged(request.as_bytes())?;
    ensure!(failures.is_empty(), "{failures:?}");
    Ok(())
}

/// A thread in a namespace of its own, connected to this one's.
fn end(
    name: &'static str,
    network: &'static str,
    body: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<i32> {
    let (ready, wait) = channel();
    let (go, gone) = channel::<()>();
    thread::spawn(move || -> Result<()> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        ready.send(gettid().as_raw())?;
        gone.recv()?;
        run("ip link set lo up")?;
        run(&format!("ip address add {network}.2/24 dev {name}1"))?;
        run(&format!("ip link set {name}1 up"))?;
        run(&format!("ip route add default via {network}.1"))?;
        ready.send(0)?;
        body()
    });
    let thread = wait.recv()?;
    run(&format!(
        "ip link add {name}0 type veth peer name {name}1 netns {thread}"
    ))?;
    run(&format!("ip address add {network}.1/24 dev {name}0"))?;
    run(&format!("ip link set {name}0 up"))?;
    go.send(())?;
    wait.recv().context("the other end has failed")?;
    Ok(thread)
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let mut request = [0; 100];
    stream.read_exact(&mut request)?;
    stream.write_all(&[0; 1000])?;
    Ok(())
}

fn ask() -> Result<()> {
    let service = SocketAddr::from(([10, 96, 0, 10], 80));
    let mut stream = (0..500)
        .find_map(|_| {
            let stream = TcpStream::connect(service);
            stream
                .inspect_err(|_| thread::sleep(std::time::Duration::from_millis(10)))
                .ok()
        })
        .ok_or_else(|| anyhow!("no connection to {service}"))?;
    stream.write_all(&[0; 100])?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::with_capacity(1024);
    stream.read_to_end(&mut answer)?;
    ensure!(answer.len() == 1000, "{} bytes", answer.len());
    Ok(())
}

fn run(command: &str) -> Result<()> {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command}: {text}");
    Ok(())
}
