// SPDX-License-Identifier: Apache-2.0
//! A client and a server with the node between them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ferrule::backend::netlink::{NLM_F_ACK, NLM_F_REQUEST, Socket, Writer};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, gettid};

/// `IPCTNL_MSG_CT_DELETE` of `NFNL_SUBSYS_CTNETLINK`; without a tuple: all of them.
const DELETE: u16 = 1 << 8 | 2;

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Load {
    /// A request of `ab` to nginx
    Http,
    /// A few bytes both ways
    Bare,
}

/// The client, which works when it is asked to, and the server.
pub(crate) struct Network {
    orders: Sender<usize>,
    done: Receiver<Result<()>>,
    nginx: Option<Child>,
}

impl Network {
    /// Moves this thread to the node's namespace, and starts both ends.
    pub(crate) fn build(load: Load, scratch: &Path) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("needs root")?;
        run("ip link set lo up")?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let (orders, inbox) = channel();
        let (outbox, done) = channel();
        // nginx gives its directory to somebody else, where the agent cannot make a socket.
        let directory = scratch.join("nginx");
        fs::create_dir(&directory)?;
        let (started, server) = channel();
        end("s", "10.244.2", move || {
            few_waiting()?;
            match load {
                Load::Bare => serve_all(),
                Load::Http => Ok(started.send(nginx(&directory)?)?),
            }
        })?;
        let nginx = match load {
            Load::Bare => None,
            Load::Http => Some(server.recv().context("nginx does not start")?),
        };
        end("c", "10.244.1", move || {
            few_waiting()?;
            for count in inbox {
                let result = match load {
                    Load::Bare => (0..count).try_for_each(|_| ask()),
                    Load::Http => ab(count),
                };
                outbox.send(result)?;
            }
            Ok(())
        })?;
        Ok(Self {
            orders,
            done,
            nginx,
        })
    }

    /// Makes connections one after the other.
    pub(crate) fn connect(&self, count: usize) -> Result<()> {
        self.orders.send(count)?;
        self.done.recv()?
    }

    /// CPU time of both ends, nanoseconds: this process, those that it has waited for, and nginx.
    pub(crate) fn cpu(&self) -> Result<u64> {
        let of = |who| -> Result<u64> {
            let usage = getrusage(who)?;
            let (user, system) = (usage.user_time(), usage.system_time());
            let seconds = (user.tv_sec() + system.tv_sec()) as u64;
            Ok(seconds * 1_000_000_000 + (user.tv_usec() + system.tv_usec()) as u64 * 1000)
        };
        let nginx = self.nginx.as_ref().map(|nginx| process(nginx.id()));
        let nginx = nginx.transpose()?.unwrap_or_default();
        Ok(of(UsageWho::RUSAGE_SELF)? + of(UsageWho::RUSAGE_CHILDREN)? + nginx)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(nginx) = &mut self.nginx {
            let _ = nginx.kill();
            let _ = nginx.wait();
        }
    }
}

/// CPU time of all threads of a process, those that have ended too, nanoseconds.
pub(crate) fn process(id: u32) -> Result<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(id)?))?;
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Ports of connections that have ended are free at once; to look for a free one among thousands
/// would cost more than all the rest.
fn few_waiting() -> Result<()> {
    Ok(fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "256")?)
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

fn serve_all() -> Result<()> {
    let listener = TcpListener::bind("10.244.2.2:8080")?;
    for stream in listener.incoming() {
        let _ = serve(stream?);
    }
    Ok(())
}

/// One process that serves a file of 1,000 bytes, and closes.
fn nginx(directory: &Path) -> Result<Child> {
    fs::write(directory.join("index.html"), [b'x'; 1000])?;
    let place = directory.display();
    let configuration = format!(
        "daemon off; master_process off; pid {place}/pid; error_log /dev/null;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; keepalive_timeout 0; sendfile on; client_body_temp_path {place};\n\
         proxy_temp_path {place}; fastcgi_temp_path {place}; uwsgi_temp_path {place};\n\
         scgi_temp_path {place}; server {{ listen 10.244.2.2:8080; root {place}; }} }}"
    );
    let path = directory.join("nginx.conf");
    fs::write(&path, configuration)?;
    let mut nginx = Command::new("nginx");
    nginx.arg("-c").arg(&path).stderr(Stdio::null());
    let child = nginx.spawn().context("nginx")?;
    for _ in 0..500 {
        if TcpStream::connect("10.244.2.2:8080").is_ok() {
            return Ok(child);
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("nginx does not listen")
}

/// Connections, eight at a time.
fn ab(count: usize) -> Result<()> {
    let count = count.to_string();
    let output = Command::new("ab")
        .args(["-q", "-d", "-n", &count, "-c", "8", "http://10.96.0.10/"])
        .output()
        .context("ab (apache2-utils)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let complete = format!("Complete requests:      {count}\n");
    ensure!(
        text.contains(&complete) && text.contains("Failed requests:        0\n"),
        "{text}"
    );
    Ok(())
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
                .inspect_err(|_| thread::sleep(Duration::from_millis(10)))
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
