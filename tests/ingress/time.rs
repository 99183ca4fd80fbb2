// SPDX-License-Identifier: Apache-2.0
//! Clients and endpoints that keep others waiting, and the end of a server.

use std::time::{Duration, Instant};

use super::rig::{Client, Endpoint, Plan, Rig, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const SHORT: Duration = Duration::from_millis(400);
/// Well above what a closing connection may take (5 s), for slow machines.
const LONG: Duration = Duration::from_secs(20);

fn impatient(endpoint: &Endpoint) -> Plan {
    let mut plan = Plan::to(&[endpoint.address]);
    plan.settings.header_timeout = SHORT;
    plan.settings.body_timeout = SHORT;
    plan.settings.keep_alive = SHORT;
    plan.route.read_timeout = SHORT;
    plan
}

/// Closed no earlier than it should be, and not much later.
fn closes(rig: &Rig, bytes: &str, drip: Option<&str>) {
    let begun = Instant::now();
    let mut client = rig.connect();
    client.send(bytes);
    if let Some(drip) = drip {
        for _ in 0..8 {
            std::thread::sleep(SHORT / 5);
            client.send(drip);
        }
    }
    assert!(client.closes_within(LONG), "{bytes:?} goes on");
    assert!(begun.elapsed() >= SHORT, "{bytes:?} was cut off");
}

#[test]
fn slow_and_idle_connections_are_closed() {
    let rig = impatient(&Endpoint::echo()).start();
    closes(&rig, "", None);
    closes(&rig, "GET / HT", None);
    closes(&rig, "GET / HTTP/1.1\r\n", Some("X: y\r\n"));
    closes(&rig, "PRI * HT", None);
    closes(&rig, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None);
    let mut client = rig.connect();
    assert_eq!(client.ask(GET).status, 200);
    std::thread::sleep(SHORT / 2);
    assert_eq!(client.ask(GET).status, 200, "idle for half the time");
    assert!(client.closes_within(LONG), "idle");
    let mut client = Client::connect(rig.https);
    assert!(client.closes_within(LONG), "no TLS handshake");
    rig.check();
}

#[test]
fn a_body_that_does_not_come_is_a_timeout() {
    let rig = impatient(&Endpoint::echo()).start();
    let head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nabc";
    let mut client = rig.connect();
    let answer = client.ask(head);
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(client.closes_within(LONG));
    // One that comes slowly is served, though it takes longer than a timeout in all.
    let mut client = rig.connect();
    client.send(head);
    for _ in 0..7 {
        std::thread::sleep(SHORT / 4);
        client.send("x");
    }
    assert_eq!(client.answer(false).status, 200);
}

#[test]
fn an_endpoint_that_does_not_answer_is_a_timeout() {
    let silent = Endpoint::serving(|mut served, _| while served.request().is_some() {});
    let rig = impatient(&silent).start();
    let begun = Instant::now();
    assert_eq!(rig.ask(GET).status, 504);
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG);
    let echo = Endpoint::echo();
    let mut plan = impatient(&silent);
    plan.endpoints.push(echo.address);
    let rig = plan.start();
    assert!(
        (0..4).all(|_| rig.ask(GET).status == 200),
        "the next one is asked"
    );
}

#[test]
fn an_endpoint_that_stops_in_the_middle_is_cut_off() {
    let stops = Endpoint::serving(|mut served, _| {
        served.request();
        served
            .client
            .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        served.request();
    });
    let rig = impatient(&stops).start();
    let mut client = rig.connect();
    client.send(GET);
    assert!(client.until(b"abc").is_some());
    assert!(client.closes_within(LONG));
}

/// An address whose queue of new connections is full does not answer.
#[test]
fn an_endpoint_that_does_not_accept_is_a_timeout() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> = (0..3)
        .map(|_| std::net::TcpStream::connect_timeout(&address, SHORT))
        .collect();
    let mut plan = Plan::to(&[address]);
    plan.route.connect_timeout = SHORT;
    assert_eq!(plan.start().ask(GET).status, 504);
}

#[test]
fn a_drained_server_ends_what_is_under_way_and_takes_nothing_new() {
    let slow = Endpoint::serving(|mut served, _| {
        while served.request().is_some() {
            std::thread::sleep(Duration::from_millis(700));
            served.answer("slow");
        }
    });
    let rig = Plan::to(&[slow.address]).start();
    let (mut busy, mut idle) = (rig.connect(), rig.connect());
    assert_eq!(idle.ask(GET).status, 200);
    busy.send(GET);
    eventually("the request is under way", || slow.requests().len() == 2);
    let mut silent = rig.connect();
    let (http, server) = (rig.http, rig.server);
    let drain = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(server.drain(LONG))
    });
    assert!(idle.closes_within(LONG));
    let answer = busy.answer(false);
    assert_eq!((answer.status, answer.body.as_str()), (200, "slow"));
    assert!(busy.closes_within(LONG));
    assert!(silent.closes_within(LONG));
    assert_eq!(drain.join().unwrap(), 0);
    assert!(std::net::TcpStream::connect(http).is_err());
}

#[test]
fn a_drain_has_a_deadline() {
    let silent = Endpoint::serving(|mut served, _| while served.request().is_some() {});
    let rig = Plan::to(&[silent.address]).start();
    let mut client = rig.connect();
    client.send(GET);
    eventually("the request is under way", || silent.requests().len() == 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let left = runtime.unwrap().block_on(rig.server.drain(SHORT));
    assert_eq!(left, 1);
    assert!(client.closes_within(LONG));
}

#[test]
fn too_many_connections_are_reset_and_the_others_served() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start_with(|options| {
        options.threads = 1;
        options.connections = 3;
    });
    let mut clients: Vec<_> = (0..3).map(|_| rig.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(GET).status, 200);
    }
    assert!(rig.connect().closes_within(LONG));
    assert_eq!(clients[0].ask(GET).status, 200);
    drop(clients.pop());
    eventually("there is a place again", || rig.ask(GET).status == 200);
}
