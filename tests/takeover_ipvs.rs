// SPDX-License-Identifier: Apache-2.0
//! The program in nftables mode takes over from an IPVS mode that has connections: with the real
//! kernel, in the guest of `make test-ipvs`.

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use ferrule::backend::ipvs::link::Link;
use ferrule::backend::ipvs::{Change, Destination, Ipvs, Service, ServiceKey};
use ferrule::backend::nft::Kernel;
use ferrule::backend::testing::in_namespace;
use ferrule::backend::{Error, Nftables};
use ferrule::model::IpFamily;

use support::{OBJECTS, Proxy};

/// What no step may take longer than, however slow the guest is.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long connections through IPVS are waited for.
const BOUND: Duration = Duration::from_secs(15);
/// Less than the second after which TCP sends a lost SYN again.
const ANSWER: Duration = Duration::from_millis(900);
/// The kernel's counters are as old as that, at most (`net/netfilter/ipvs/ip_vs_est.c`).
const COUNTED: Duration = Duration::from_millis(2_500);
const VIP: &str = "10.96.0.10:80";
const POD: &str = "10.244.1.5:8080";

impl Proxy {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("objects")).unwrap();
        fs::write(dir.path().join("objects/all.yaml"), OBJECTS).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ferrule"))
            .args(["--proxy-mode=nftables", "--hostname-override=n1"])
            .args(["--keep-leftovers=false", "--cluster-cidr=10.244.0.0/16"])
            .args(["--healthz-bind-address=", "--metrics-bind-address="])
            .arg(format!("--ipvs-drain-timeout={}s", BOUND.as_secs()))
            .arg("--admin-socket=")
            .arg("--manifests")
            .arg(dir.path().join("objects"))
            .stdin(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "{what}: ended:\n{}", self.log());
            assert!(begun.elapsed() < PATIENCE, "not: {what}:\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

fn nft(commands: &str) {
    let status = Command::new("nft").arg(commands).status();
    assert!(status.unwrap().success(), "nft {commands}");
}

/// Answers every byte with the same one.
fn serve() {
    let listener = TcpListener::bind(POD).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
}

fn connect() -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&VIP.parse().unwrap(), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let from = stream.local_addr()?;
    let named = |e: std::io::Error| std::io::Error::new(e.kind(), format!("from {from}: {e}"));
    echo(&mut stream).map_err(named)?;
    Ok(stream)
}

fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(&[7])?;
    stream.read_exact(&mut [0])
}

/// Connects again and again; returns how often, and what failed.
struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    client: thread::JoinHandle<Vec<String>>,
}

impl Load {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (stop.clone(), Arc::clone(&count));
        let begun = Instant::now();
        let client = thread::spawn(move || {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let after = begun.elapsed();
                failed.extend(connect().err().map(|e| format!("after {after:?}: {e}")));
                counted.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(5));
            }
            failed
        });
        Self {
            stop,
            count,
            client,
        }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.client.join().unwrap()
    }
}

/// The node, its pod, and what kube-proxy had set up. None, and it says so, without IPVS.
fn leave() -> Option<Ipvs> {
    let mut ipvs = match Ipvs::open() {
        Err(Error::Missing(reason)) if std::env::var_os("REQUIRE_IPVS").is_none() => {
            eprintln!("SKIP: {reason}");
            return None;
        }
        ipvs => ipvs.unwrap(),
    };
    // As kube-proxy has it: what IPVS translates, connection tracking knows. A rule that asks it sets
    // it going.
    fs::write("/proc/sys/net/ipv4/vs/conntrack", "1").unwrap();
    nft("add table ip theirs");
    nft("add chain ip theirs nat { type nat hook output priority -100; }");
    nft("add rule ip theirs nat ct state new accept");
    ip("link set lo up");
    ip("link add eth0 type veth peer name peer");
    ip("link set eth0 up");
    ip("link set peer up");
    ip("address add 192.0.2.10/24 dev eth0");
    ip("route add default via 192.0.2.1");
    ip("address add 10.244.1.5/32 dev lo");
    let vip: SocketAddr = VIP.parse().unwrap();
    Link::open().unwrap().bind(&[vip.ip()]).unwrap();
    let key = ServiceKey::tcp(vip);
    let changes = [
        Change::AddService(Service::new(key)),
        Change::AddDestination(key, Destination::new(POD.parse().unwrap())),
    ];
    assert!(ipvs.apply(&changes).unwrap().is_empty());
    Some(ipvs)
}

/// Connections that IPVS has scheduled so far.
fn scheduled(ipvs: &mut Ipvs) -> u64 {
    let services = ipvs.services().unwrap();
    services.iter().map(|s| s.stats.connections).sum()
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn no_connection_fails_until_the_time_is_over() {
    in_namespace(|| {
        let Some(mut ipvs) = leave() else { return };
        serve();
        let mut old = connect().expect("through IPVS");
        let load = Load::start();
        sleep(Duration::from_secs(1));
        let mut proxy = Proxy::start();
        let mut kernel = Kernel::open().unwrap();
        proxy.until("the table", || {
            kernel.read_table(IpFamily::V4).unwrap().is_some()
        });
        sleep(COUNTED);
        let (by_ipvs, all) = (scheduled(&mut ipvs), load.count());
        assert!(by_ipvs > 1, "IPVS had no part in this");
        sleep(COUNTED);
        assert_eq!(
            scheduled(&mut ipvs),
            by_ipvs,
            "new connections still go there"
        );
        assert!(load.count() > all + 5);
        assert_eq!(load.stop(), [""; 0]);
        let lives = echo(&mut old);
        assert!(lives.is_ok(), "{lives:?}\n{}", proxy.log());

        let new = connect().expect("by the rules");
        let vip: IpAddr = VIP.parse::<SocketAddr>().unwrap().ip();
        assert_eq!(new.local_addr().unwrap().ip(), vip, "while it is bound");
        let mut link = Link::open().unwrap();
        proxy.until("the link is gone", || !link.exists().unwrap());
        assert_eq!(ipvs.services().unwrap(), []);
        for mut stream in [old, new] {
            let begun = Instant::now();
            let error = echo(&mut stream).unwrap_err();
            assert!(begun.elapsed() < ANSWER, "it had to wait: {error}");
        }
        connect().expect("from the node's own address");
        let log = proxy.log();
        assert!(
            log.contains("removed what an IPVS mode left: 1 virtual servers"),
            "{log}"
        );
    });
}
