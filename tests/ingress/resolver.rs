// SPDX-License-Identifier: Apache-2.0
//! ExternalNames, asked from a DNS server of the test's own: the system's resolver, in namespaces of
//! its own, where that server is the only one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrule::ingress::resolve;
use ferrule::model::{Event, IngressEvent};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use tokio::sync::{mpsc, watch};

use super::rig::PATIENCE;

type Zone = Arc<Mutex<BTreeMap<String, Answer>>>;

/// What the server says of a name.
#[derive(Clone)]
enum Answer {
    /// These addresses, those that are of the family that is asked for.
    Addresses(Vec<IpAddr>),
    /// SERVFAIL.
    Failure,
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// Answers questions for A and AAAA (RFC 1035); names that are not in the zone do not exist.
fn serve(socket: &UdpSocket, zone: &Zone) {
    let mut buffer = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let query = &buffer[..length];
        let mut labels = Vec::new();
        let mut at = 12;
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
            at = end;
        }
        let question = &query[12..at + 5];
        let wants_v4 = query[at + 2] == 1;
        let found = zone.lock().unwrap().get(&labels.join(".")).cloned();
        let (code, addresses) = match found {
            None => (3, Vec::new()),
            Some(Answer::Failure) => (2, Vec::new()),
            Some(Answer::Addresses(all)) => {
                let family = all.into_iter().filter(|a| a.is_ipv4() == wants_v4);
                (0, family.collect())
            }
        };
        // An answer, with recursion, and one question.
        let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1];
        answer.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(question);
        for address in addresses {
            let bytes = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            // The name of the question, type and class, a second to live.
            answer.extend([0xc0, 12, query[at + 1], query[at + 2], 0, 1, 0, 0, 0, 1, 0]);
            answer.push(u8::try_from(bytes.len()).unwrap());
            answer.extend(bytes);
        }
        let _ = socket.send_to(&answer, client);
    }
}

/// The next word of the resolver.
async fn next(events: &mut mpsc::Receiver<Event>) -> (String, Vec<String>) {
    let event = tokio::time::timeout(PATIENCE * 2, events.recv()).await;
    let Some(Event::Ingress(event)) = event.expect("in time") else {
        panic!("the resolver has ended");
    };
    let IngressEvent::Resolved(name, addresses) = *event else {
        panic!("{event:?}");
    };
    let addresses = addresses.iter().map(ToString::to_string);
    (name.to_string(), addresses.collect())
}

async fn story(zone: Zone) {
    let names = |names: &[&str]| -> Arc<BTreeSet<Arc<str>>> {
        Arc::new(names.iter().map(|name| Arc::from(*name)).collect())
    };
    let set = |name: &str, answer: Answer| {
        zone.lock().unwrap().insert(name.to_owned(), answer);
    };
    let addresses = |all: &[&str]| {
        Answer::Addresses(all.iter().map(|address| address.parse().unwrap()).collect())
    };
    set(
        "api.example.com",
        addresses(&["192.0.2.9", "2001:db8::1", "192.0.2.1"]),
    );
    let (wanted, received) = watch::channel(names(&["api.example.com"]));
    let (sender, mut events) = mpsc::channel(8);
    let resolving = tokio::spawn(resolve::run(received, sender, Duration::from_millis(200)));
    let all = ["192.0.2.1", "192.0.2.9", "2001:db8::1"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(next(&mut events).await, ("api.example.com".into(), all));

    // A name that comes is asked for at once, and no search domain is tried.
    set("db.example.com", addresses(&["192.0.2.5"]));
    set("short.search.test", addresses(&["192.0.2.66"]));
    wanted.send_replace(names(&["api.example.com", "db.example.com", "short"]));
    let five = vec!["192.0.2.5".to_owned()];
    assert_eq!(next(&mut events).await, ("db.example.com".into(), five));

    // Failures and names that are gone keep their addresses; others replace them.
    set("api.example.com", Answer::Failure);
    zone.lock().unwrap().remove("db.example.com");
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(events.try_recv().is_err(), "nothing is said");
    set("api.example.com", addresses(&["192.0.2.7"]));
    let seven = vec!["192.0.2.7".to_owned()];
    assert_eq!(
        next(&mut events).await,
        ("api.example.com".into(), seven.clone())
    );

    // One that went and comes back is told again.
    wanted.send_replace(names(&[]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    wanted.send_replace(names(&["api.example.com"]));
    assert_eq!(next(&mut events).await, ("api.example.com".into(), seven));
    drop(events);
    let ended = tokio::time::timeout(PATIENCE * 2, resolving).await;
    ended.expect("it ends").unwrap();
}

/// On a thread of its own, as the namespaces are the thread's.
#[test]
fn names_are_asked_for_again_and_again() {
    if !geteuid().is_root() {
        let must = std::env::var_os("REQUIRE_ROOT").is_some_and(|value| value == "1");
        assert!(!must, "needs root");
        println!("SKIP: needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let text = "nameserver 127.0.0.1\nsearch search.test\noptions timeout:1 attempts:2\n";
    std::fs::write(&file, text).unwrap();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        run("mount", &["--make-rprivate", "/"]);
        run(
            "mount",
            &["--bind", file.to_str().unwrap(), "/etc/resolv.conf"],
        );
        run("ip", &["link", "set", "lo", "up"]);
        let (zone, socket) = (Zone::default(), UdpSocket::bind("127.0.0.1:53").unwrap());
        let served = zone.clone();
        std::thread::spawn(move || serve(&socket, &served));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(story(zone));
    });
    thread.join().unwrap();
}
