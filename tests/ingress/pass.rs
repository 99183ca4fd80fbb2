// SPDX-License-Identifier: Apache-2.0
//! TCP and UDP ports that are passed on byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ferrule::ingress::pass::{Open, Options, run};
use ferrule::ingress::table::{Settings, Stream, Streams, Table};
use ferrule::model::{Protocol, Target};
use tokio::sync::watch;

use super::rig::{Client, Endpoint, PATIENCE, Served, eventually};

/// Ports of this process.
struct Passing {
    streams: watch::Sender<Arc<Streams>>,
    open: Open,
    table: Arc<ArcSwap<Table>>,
    _runtime: tokio::runtime::Runtime,
}

impl Passing {
    fn start() -> Self {
        let streams = watch::Sender::new(Arc::default());
        let (open, table) = (Open::default(), Arc::new(ArcSwap::default()));
        let options = Options {
            addresses: vec!["127.0.0.1".parse().unwrap()],
            threads: 2,
            connections: 100,
            table: table.clone(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build();
        let runtime = runtime.unwrap();
        drop(runtime.spawn(run(options, streams.subscribe(), open.clone())));
        Self {
            streams,
            open,
            table,
            _runtime: runtime,
        }
    }

    fn set(&self, streams: &[(Protocol, u16, Stream)]) {
        let each = streams
            .iter()
            .map(|(p, n, s)| ((*p, *n), Arc::new(s.clone())));
        self.streams.send_replace(Arc::new(each.collect()));
    }
}

fn to(endpoints: &[SocketAddr]) -> Stream {
    let target = |address: &SocketAddr| Target {
        address: address.ip(),
        port: address.port(),
    };
    Stream {
        service: "default/x:1".into(),
        endpoints: endpoints.iter().map(target).collect(),
        takes_proxy: false,
        sends_proxy: false,
    }
}

/// Sends back what it gets, after its name.
fn shouting(name: &'static str) -> Endpoint {
    Endpoint::serving(move |served: Served, _| {
        let mut stream = served.client.stream;
        let mut buffer = [0; 1000];
        let _ = stream.write_all(name.as_bytes());
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..count]);
        }
    })
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn connections_go_to_an_endpoint_and_ports_come_and_go() {
    let passing = Passing::start();
    let port = Endpoint::nobody().port();
    let (one, two) = (shouting("one"), shouting("two"));
    passing.set(&[(Protocol::Tcp, port, to(&[Endpoint::nobody(), one.address]))]);
    eventually("it listens", || TcpStream::connect(at(port)).is_ok());
    let mut first = Client::connect(at(port));
    assert_eq!(first.exactly(3), b"one");
    for _ in 0..50 {
        first.send("abc");
        assert_eq!(first.exactly(3), b"abc");
    }
    // Other endpoints are for those who come now.
    passing.set(&[(Protocol::Tcp, port, to(&[two.address]))]);
    eventually("the other one answers", || {
        Client::connect(at(port)).exactly(3) == b"two"
    });
    passing.set(&[]);
    eventually("it is closed", || TcpStream::connect(at(port)).is_err());
    first.send("abc");
    assert_eq!(first.exactly(3), b"abc", "who is there stays");
    assert!(passing.open.count() >= 1);
    drop(first);
    eventually("all have ended", || passing.open.count() == 0);
    assert!(two.connections() > 0);
}

/// A client that has said all still hears the rest.
#[test]
fn either_side_may_end_first() {
    let passing = Passing::start();
    let port = Endpoint::nobody().port();
    let endpoint = Endpoint::serving(|mut served, _| {
        let mut all = Vec::new();
        let _ = served.client.stream.read_to_end(&mut all);
        all.reverse();
        served.client.send(all);
    });
    passing.set(&[(Protocol::Tcp, port, to(&[endpoint.address]))]);
    eventually("it listens", || TcpStream::connect(at(port)).is_ok());
    let mut stream = TcpStream::connect(at(port)).unwrap();
    stream.write_all(b"abc").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "cba");
}

#[test]
fn the_proxy_protocol_is_read_and_written() {
    let passing = Passing::start();
    let (plain, both) = (Endpoint::nobody().port(), Endpoint::nobody().port());
    let endpoint = Endpoint::serving(|mut served, _| {
        let line = served.client.until(b"\r\n").unwrap_or_default();
        let rest = served.client.until(b"!").unwrap_or_default();
        served.client.send(format!("{line}{rest}\n\n"));
    });
    let stream = Stream {
        sends_proxy: true,
        ..to(&[endpoint.address])
    };
    let reading = Stream {
        takes_proxy: true,
        ..stream.clone()
    };
    passing.set(&[
        (Protocol::Tcp, plain, stream),
        (Protocol::Tcp, both, reading),
    ]);
    for port in [plain, both] {
        eventually("it listens", || TcpStream::connect(at(port)).is_ok());
    }
    let ask = |port: u16, text: &str| {
        let mut client = Client::connect(at(port));
        let own = client.stream.local_addr().unwrap().port();
        client.send(text);
        (client.until(b"\n\n").unwrap_or_default(), own)
    };
    let (answer, own) = ask(plain, "hi!");
    assert_eq!(
        answer,
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {plain}\r\nhi!\n\n")
    );
    let told = "PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\nhi!";
    let (answer, own) = ask(both, told);
    let untrusted = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {both}\r\nhi!\n\n");
    assert_eq!(answer, untrusted);
    passing.table.store(Arc::new(Table {
        settings: Arc::new(Settings {
            trusted: vec!["127.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        }),
        ..Table::default()
    }));
    let (answer, _) = ask(both, told);
    assert_eq!(
        answer,
        format!("PROXY TCP4 192.0.2.7 127.0.0.1 1000 {both}\r\nhi!\n\n")
    );
    assert_eq!(ask(both, "hi!").0, "", "the header is missing");
}

#[test]
fn what_is_quiet_for_too_long_ends() {
    let passing = Passing::start();
    passing.table.store(Arc::new(Table {
        settings: Arc::new(Settings {
            stream_timeout: Duration::from_secs(2),
            ..Settings::default()
        }),
        ..Table::default()
    }));
    let port = Endpoint::nobody().port();
    passing.set(&[(Protocol::Tcp, port, to(&[shouting("x").address]))]);
    eventually("it listens", || TcpStream::connect(at(port)).is_ok());
    let mut client = Client::connect(at(port));
    assert_eq!(client.exactly(1), b"x");
    assert!(client.closes_within(PATIENCE));
}

/// Answers each datagram with its name and the number of the client's flow.
fn answering(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 70_000];
        while let Ok((count, client)) = socket.recv_from(&mut buffer) {
            let answer = [name.as_bytes(), &buffer[..count]].concat();
            let _ = socket.send_to(&answer, client);
            // A second answer, as some protocols have.
            let _ = socket.send_to(b"more", client);
        }
    });
    address
}

#[test]
fn datagrams_go_both_ways() {
    let passing = Passing::start();
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    passing.set(&[(Protocol::Udp, port, to(&[answering("one ")]))]);
    let client = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(at(port)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        socket
    };
    let ask = |socket: &UdpSocket, text: &[u8]| {
        let mut buffer = vec![0; 70_000];
        socket.send(text).ok()?;
        let count = socket.recv(&mut buffer).ok()?;
        buffer.truncate(count);
        let mut second = [0; 10];
        let second = socket.recv(&mut second).ok()?;
        (second == 4).then(|| String::from_utf8_lossy(&buffer).into_owned())
    };
    let first = client();
    eventually("it answers", || {
        ask(&first, b"abc").as_deref() == Some("one abc")
    });
    let clients: Vec<_> = (0..40).map(|_| client()).collect();
    for (n, socket) in clients.iter().enumerate() {
        let text = format!("{n}");
        eventually("each is answered", || {
            ask(socket, text.as_bytes()).as_deref() == Some(&format!("one {n}"))
        });
    }
    let large = [b'x'; 20_000];
    eventually("a large one", || {
        ask(&first, &large).is_some_and(|a| a.len() == 20_004)
    });
    // A flow whose endpoint is gone finds another.
    passing.set(&[(Protocol::Udp, port, to(&[answering("two ")]))]);
    eventually("the other answers", || {
        ask(&first, b"abc").as_deref() == Some("two abc")
    });
    passing.set(&[]);
    eventually("it is closed", || ask(&first, b"abc").is_none());
}
