// SPDX-License-Identifier: Apache-2.0
//! The program follows its configuration file: with the real kernel, in a network namespace.

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ferrule::backend::testing;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::{OBJECTS, Proxy};

/// What no step may take longer than, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon a change is in the kernel.
const SOON: Duration = Duration::from_secs(1);

fn file(body: &str) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
         mode: nftables\nmetricsBindAddress: 127.0.0.1:10249\n{body}\n"
    )
}

impl Proxy {
    fn start(body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("objects")).unwrap();
        fs::write(dir.path().join("objects/all.yaml"), OBJECTS).unwrap();
        fs::write(dir.path().join("config"), file(body)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ferrule"))
            .arg("--config")
            .arg(dir.path().join("config"))
            .arg("--manifests")
            .arg(dir.path().join("objects"))
            .arg("--admin-socket")
            .arg(dir.path().join("socket"))
            .arg("--hostname-override=n1")
            .stdin(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until something holds; how long that took.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(self) {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "{what}: ended:\n{}", self.log());
            let waited = begun.elapsed();
            assert!(
                waited < PATIENCE,
                "{what}: not in {waited:?}:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(5));
        }
        begun.elapsed()
    }

    /// Writes the file and waits for a word in the table.
    fn change(&mut self, body: &str, word: &str, there: bool) -> Duration {
        fs::write(self.config(), file(body)).unwrap();
        self.until(word, |_| table().contains(word) == there)
    }

    fn logged(&mut self, words: &str, times: usize) {
        self.until(words, |proxy| proxy.log().matches(words).count() >= times);
    }

    fn files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(path).unwrap().count()
    }

    fn name(&self) -> String {
        let path = format!("/proc/{}/comm", self.child.id());
        fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

/// The table without its owner, whom it has not for a moment when the program starts anew.
fn table() -> String {
    let output = Command::new("nft")
        .args(["list", "table", "ip", "ferrule"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let of_owner = |line: &&str| line.starts_with("table ip ") || line.starts_with("\tflags ");
    let lines = text.split_inclusive('\n').filter(|line| !of_owner(line));
    lines.collect()
}

/// The status line of a health check.
fn health(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.lines().next()?.to_owned())
}

fn healthy(port: u16) -> bool {
    health(port).is_some_and(|line| line.contains(" 200 "))
}

/// In a namespace of its own, with loopback.
fn in_namespace(body: impl FnOnce() + Send + 'static) {
    testing::in_namespace(|| {
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status()
            .unwrap();
        assert!(up.success());
        body();
    });
}

#[test]
fn the_rules_follow_the_file_within_a_second() {
    in_namespace(|| {
        let mut proxy = Proxy::start("clusterCIDR: 10.1.0.0/16");
        proxy.until("the first rules", |_| table().contains("10.1.0.0/16"));
        proxy.logged("in step", 1);
        let mut took = Vec::new();
        for number in 2..8 {
            let cidr = format!("10.{number}.0.0/16");
            took.push(proxy.change(&format!("clusterCIDR: {cidr}"), &cidr, true));
        }
        took.push(proxy.change("detectLocalMode: NodeCIDR", "10.7.0.0/16", false));
        eprintln!("edits were in the kernel after {took:?}");
        let best = took.iter().min().unwrap();
        assert!(*best < SOON, "{took:?}");
        assert!(!proxy.log().contains("starting anew"), "{}", proxy.log());
        assert!(
            proxy.log().contains("live=\"clusterCIDR\""),
            "{}",
            proxy.log()
        );
        assert!(!proxy.log().contains("DEBUG"), "{}", proxy.log());
        // Without an effect on rules.
        fs::write(
            proxy.config(),
            file("detectLocalMode: NodeCIDR\nlogging: {verbosity: 4}"),
        )
        .unwrap();
        proxy.logged("live=\"logging.verbosity\"", 1);
        proxy.change(
            "clusterCIDR: 10.9.0.0/16\nlogging: {verbosity: 4}",
            "10.9.0.0/16",
            true,
        );
        proxy.logged("DEBUG", 1);
    });
}

#[test]
fn a_bad_file_or_none_leaves_all_as_it_is() {
    in_namespace(|| {
        let mut proxy = Proxy::start("clusterCIDR: 10.1.0.0/16");
        proxy.until("the first rules", |_| table().contains("10.1.0.0/16"));
        proxy.logged("in step", 1);
        let before = table();
        let bad = "clusterCIDR: 10.2.0.0/16\noomScoreAdj: 5000\niptables: {masqueradeBit: 99}";
        fs::write(proxy.config(), file(bad)).unwrap();
        proxy.logged("the configuration is left as it is", 1);
        let log = proxy.log();
        let line = log
            .lines()
            .find(|line| line.contains("left as it is"))
            .unwrap();
        assert!(
            line.contains("oomScoreAdj: ") && line.contains("iptables.masqueradeBit: "),
            "{line}"
        );
        fs::write(proxy.config(), "a: [").unwrap();
        proxy.logged("the configuration is left as it is", 2);
        fs::remove_file(proxy.config()).unwrap();
        proxy.logged("No such file or directory", 1);
        assert_eq!(table(), before);
        assert!(healthy(10256));
        proxy.change("clusterCIDR: 10.3.0.0/16", "10.3.0.0/16", true);
        proxy.logged("can be used again", 1);
    });
}

#[test]
fn a_field_that_takes_a_new_start_gets_one_in_the_same_process() {
    in_namespace(|| {
        let mut proxy = Proxy::start("clusterCIDR: 10.1.0.0/16");
        proxy.until("the first rules", |_| table().contains("10.1.0.0/16"));
        proxy.until("health", |_| healthy(10256));
        let (before, files, name) = (table(), proxy.files(), proxy.name());
        assert_eq!(name, "ferrule");
        for (times, port) in [(1, 10300), (2, 10301)] {
            let body = format!("clusterCIDR: 10.1.0.0/16\nhealthzBindAddress: 127.0.0.1:{port}");
            fs::write(proxy.config(), file(&body)).unwrap();
            proxy.logged("starting anew", times);
            assert!(
                proxy.log().contains("fields=\"healthzBindAddress\""),
                "{}",
                proxy.log()
            );
            // `until` fails if the process has ended, so it is the same one.
            let took = proxy.until("health at the new port", |_| healthy(port));
            eprintln!("healthy again after {took:?}");
            assert_eq!(table(), before, "the rules stay");
            assert!(!healthy(10256), "the old listener is closed");
        }
        assert_eq!(proxy.name(), name);
        proxy.until("no file is left open", |proxy| proxy.files() <= files);
        // It still follows the file, and ends as asked.
        let body = "clusterCIDR: 10.4.0.0/16\nhealthzBindAddress: 127.0.0.1:10301";
        proxy.change(body, "10.4.0.0/16", true);
        kill(Pid::from_raw(proxy.child.id() as i32), Signal::SIGTERM).unwrap();
        let status = proxy.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", proxy.log());
        assert!(table().contains("10.4.0.0/16"), "the rules stay");
    });
}
