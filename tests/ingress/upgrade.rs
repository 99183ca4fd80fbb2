// SPDX-License-Identifier: Apache-2.0
//! WebSocket and other upgrades.

use std::time::Duration;

use super::rig::{Endpoint, Plan, eventually, header};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

/// Agrees to become a tunnel and sends back what it gets, in capitals.
fn shouting() -> Endpoint {
    Endpoint::serving(|mut served, _| {
        use std::io::{Read, Write};
        let Some(head) = served.head() else { return };
        assert_eq!(header(&head, "upgrade"), Some("websocket"));
        assert_eq!(header(&head, "connection"), Some("upgrade"));
        assert_eq!(header(&head, "sec-websocket-key"), Some("x"));
        served.client.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: y\r\n\r\nhello",
        );
        let mut buffer = [0; 1000];
        while let Ok(count @ 1..) = served.client.stream.read(&mut buffer) {
            buffer[..count].make_ascii_uppercase();
            let _ = served.client.stream.write_all(&buffer[..count]);
        }
    })
}

#[test]
fn a_tunnel_carries_bytes_both_ways() {
    let endpoint = shouting();
    let rig = Plan::to(&[endpoint.address]).start();
    let mut client = rig.connect();
    let answer = client.ask(UPGRADE);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("y"));
    assert_eq!(client.exactly(5), b"hello");
    for _ in 0..100 {
        client.send("abc");
        assert_eq!(client.exactly(3), b"ABC");
    }
    // A table without the endpoint leaves the tunnel alone.
    rig.table
        .store(std::sync::Arc::new(Plan::default().table()));
    client.send("abc");
    assert_eq!(client.exactly(3), b"ABC");
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    let mut plan = Plan::to(&[shouting().address]);
    plan.route.read_timeout = Duration::from_millis(1_500);
    plan.settings.keep_alive = Duration::from_millis(100);
    plan.settings.header_timeout = Duration::from_millis(100);
    let rig = plan.start();
    let mut client = rig.connect();
    assert_eq!(client.ask(UPGRADE).status, 101);
    assert_eq!(client.exactly(5), b"hello");
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(500));
        client.send("abc");
        assert_eq!(client.exactly(3), b"ABC");
    }
    assert!(client.closes_within(Duration::from_secs(5)));
}

/// What follows the request for an upgrade is no tunnel before the endpoint agrees.
#[test]
fn an_upgrade_that_is_refused_is_an_ordinary_request() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let mut client = rig.connect();
    let smuggled = "GET /admin HTTP/1.1\r\nHost: b.example\r\n\r\n";
    client.send(format!("{UPGRADE}{smuggled}"));
    assert_eq!(client.answer(false).status, 200);
    assert_eq!(client.answer(false).status, 404, "a request of its own");
    assert_eq!(echo.requests().len(), 1);
}

#[test]
fn a_tunnel_ends_with_either_side() {
    let endpoint = shouting();
    let rig = Plan::to(&[endpoint.address]).start_with(|options| {
        options.threads = 1;
        options.connections = 1;
    });
    let mut client = rig.connect();
    assert_eq!(client.ask(UPGRADE).status, 101);
    assert!(
        rig.connect().closes_within(Duration::from_secs(1)),
        "it counts"
    );
    drop(client);
    eventually("its place is free", || {
        rig.connect().ask(UPGRADE).status == 101
    });
}
