// SPDX-License-Identifier: Apache-2.0
//! Real connections over loopback. No rules here: with no address of the node that serves
//! NodePorts, connections go to the ClusterIP, which is a server of the test.

mod ports;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::*;
use crate::model::fixture::{port, service, state};
use crate::model::{Event, Observed, Service};

const V4: [IpFamily; 1] = [IpFamily::V4];
/// Long enough for any machine, and never waited for if all is well.
const LIMIT: Duration = Duration::from_secs(10);

/// A proxy with a state of its own.
struct Proxy {
    node_ports: NodePorts,
    state: State,
}

impl Proxy {
    fn start(connections: usize) -> Self {
        let mut proxy = Self {
            node_ports: NodePorts::bounded(connections).unwrap(),
            state: state(&[], &[]),
        };
        let changes = Changes {
            everything: true,
            node: true,
            ..Changes::default()
        };
        proxy.update(changes);
        proxy
    }

    fn update(&mut self, changes: Changes) {
        self.node_ports.update(&self.state, &changes, &V4, |_| None);
    }

    fn apply(&mut self, services: &[Service]) {
        let mut all = Changes::default();
        for s in services {
            let event = Event::Service(s.name.clone(), Observed::new(s.clone()));
            all.merge(self.state.apply(event));
        }
        self.update(all);
    }

    fn delete(&mut self, service: &Service) {
        let event = Event::Service(service.name.clone(), Observed::gone());
        let changes = self.state.apply(event);
        self.update(changes);
    }
}

/// A Service with a NodePort, whose ClusterIP and port are those of a server.
fn at(name: &str, server: SocketAddr, node_port: u16) -> Service {
    let mut service = service(name, &server.ip().to_string());
    service.ports = vec![port(server.port())];
    service.ports[0].node_port = Some(node_port);
    service
}

/// Runs for each connection; the server ends with the test's process.
fn server(each: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            thread::spawn(move || each(stream));
        }
    });
    address
}

fn says(word: &'static str) -> SocketAddr {
    server(move |mut stream| drop(stream.write_all(word.as_bytes())))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn dial(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// All that the port has to say, or the kind of error.
fn hear(port: u16) -> Result<String, ErrorKind> {
    let mut text = String::new();
    let read = dial(port).and_then(|mut s| s.read_to_string(&mut text));
    read.map(|_| text).map_err(|e| e.kind())
}

/// Waits until it is so.
fn eventually(what: &str, check: impl Fn() -> bool) {
    let begun = Instant::now();
    while !check() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn ports_follow_services() {
    let (web, api) = (says("web"), says("api"));
    let (one, two) = (free_port(), free_port());
    let mut proxy = Proxy::start(10);
    proxy.apply(&[at("web", web, one), at("api", api, two)]);
    eventually("web opens", || hear(one).as_deref() == Ok("web"));
    eventually("api opens", || hear(two).as_deref() == Ok("api"));
    // They swap, and nobody is refused meanwhile.
    proxy.apply(&[at("web", web, two), at("api", api, one)]);
    assert_eq!(hear(one).as_deref(), Ok("api"));
    assert_eq!(hear(two).as_deref(), Ok("web"));
    proxy.delete(&at("web", web, two));
    eventually("web closes", || {
        hear(two) == Err(ErrorKind::ConnectionRefused)
    });
    assert_eq!(hear(one).as_deref(), Ok("api"));
    drop(proxy);
    eventually("all closes", || {
        hear(one) == Err(ErrorKind::ConnectionRefused)
    });
}

#[test]
fn a_port_that_another_program_has_is_taken_when_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port();
    let (other, web) = (free_port(), says("web"));
    let mut proxy = Proxy::start(10);
    proxy.apply(&[at("web", web, number), at("api", web, other)]);
    eventually("others open", || hear(other).is_ok());
    drop(taken);
    eventually("it opens", || hear(number).as_deref() == Ok("web"));
}

#[test]
fn a_connection_outlives_its_port_and_bytes_arrive_as_they_were_sent() {
    const BYTES: usize = 8 << 20;
    let echo = server(|mut stream| {
        let mut reader = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut reader, &mut stream);
    });
    let number = free_port();
    let web = at("web", echo, number);
    let mut proxy = Proxy::start(10);
    proxy.apply(std::slice::from_ref(&web));
    eventually("it opens", || dial(number).is_ok());
    let mut client = dial(number).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    proxy.delete(&web);
    eventually("it closes", || dial(number).is_err());
    let sent: Vec<u8> = (0..BYTES as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut writer = client.try_clone().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == sent, "{} bytes came back", received.len());
}

#[test]
fn either_side_may_end_first() {
    // The server answers only after the client's end.
    let count = server(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream
            .write_all(format!("{} bytes", heard.len()).as_bytes())
            .unwrap();
    });
    // The server ends first, and goes on listening.
    let (sender, told) = std::sync::mpsc::channel();
    let first = server(move |mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        sender.send(heard).unwrap();
    });
    let (one, two) = (free_port(), free_port());
    let mut proxy = Proxy::start(10);
    proxy.apply(&[at("count", count, one), at("first", first, two)]);
    eventually("they open", || dial(one).is_ok() && dial(two).is_ok());
    let mut client = dial(one).unwrap();
    client.write_all(b"12345").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "5 bytes");

    let mut client = dial(two).unwrap();
    assert_eq!(
        client.read(&mut [0]).unwrap(),
        0,
        "the server's end is told"
    );
    client.write_all(b"late").unwrap();
    drop(client);
    eventually("it is heard", || {
        told.try_iter().any(|heard| heard == "late")
    });
}

#[test]
fn what_fails_behind_is_a_reset_in_front() {
    let resets = server(|mut stream| {
        // Closed with something unread, the kernel answers with a reset.
        let _ = stream.write_all(b"half");
        let _ = stream.peek(&mut [0]);
    });
    let nobody: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let (one, two) = (free_port(), free_port());
    let mut proxy = Proxy::start(10);
    proxy.apply(&[at("resets", resets, one), at("nobody", nobody, two)]);
    eventually("they open", || dial(one).is_ok() && dial(two).is_ok());
    let mut client = dial(one).unwrap();
    client.write_all(b"unread").unwrap();
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let begun = Instant::now();
    assert_eq!(hear(two), Err(ErrorKind::ConnectionReset));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn connections_over_the_limit_are_reset_until_others_end() {
    let silent = server(|mut stream| drop(stream.read(&mut [0])));
    let number = free_port();
    let mut proxy = Proxy::start(2);
    proxy.apply(&[at("silent", silent, number)]);
    eventually("it opens", || dial(number).is_ok());
    // Those of the line above may still be counted.
    let mut held = Vec::new();
    eventually("two are held", || {
        hear_end(number, Duration::from_millis(100)).is_none()
    });
    for _ in 0..2 {
        held.push(dial(number).unwrap());
    }
    eventually("a third is reset", || {
        hear_end(number, LIMIT) == Some(ErrorKind::ConnectionReset)
    });
    held.clear();
    eventually("one more is served", || {
        hear_end(number, Duration::from_millis(100)).is_none()
    });
}

/// The error that a new connection ends with, or nothing if it goes on for so long.
fn hear_end(port: u16, limit: Duration) -> Option<ErrorKind> {
    let mut stream = dial(port).ok()?;
    stream.set_read_timeout(Some(limit)).unwrap();
    match stream.read(&mut [0]) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => None,
        Err(e) => Some(e.kind()),
        Ok(_) => Some(ErrorKind::UnexpectedEof),
    }
}
