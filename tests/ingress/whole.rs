// SPDX-License-Identifier: Apache-2.0
//! Bodies of requests that are waited for, sent once more, or passed on as they come.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrule::ingress::table::{Behaviour, UpstreamProtocol};

use super::rig::{Client, Endpoint, Plan, Rig, eventually};
use super::world::World;

/// Bytes of a body that are kept.
const KEPT: usize = 1 << 20;
/// Bodies of that length that are kept at a time.
const BODIES: usize = 64;
/// For what must not happen.
const A_WHILE: Duration = Duration::from_millis(200);

/// Endpoints that hang up on each request, with what they were sent.
fn hanging_up(count: usize) -> (Vec<SocketAddr>, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let endpoint = || {
        let seen = seen.clone();
        Endpoint::serving(move |mut served, _| {
            seen.lock().unwrap().extend(served.request());
            served.close();
        })
    };
    let all = (0..count).map(|_| endpoint().address).collect();
    (all, seen)
}

fn plan(endpoints: &[SocketAddr]) -> Plan {
    let mut plan = Plan::to(endpoints);
    plan.route.keeps_bodies = true;
    plan.route.body_limit = 0;
    plan
}

fn of_length(method: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A request whose body has begun.
fn begun(body: &str) -> String {
    let length = body.len();
    format!(
        "PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
         {length:x}\r\n{body}\r\n"
    )
}

fn in_chunks(body: &str) -> String {
    begun(body) + "0\r\n\r\n"
}

#[test]
fn a_body_is_sent_again_to_the_next_endpoint() {
    let body = "0123456789".repeat(10_000);
    for request in [of_length("PUT", &body), in_chunks(&body)] {
        let (addresses, seen) = hanging_up(3);
        assert_eq!(plan(&addresses).start().ask(&request).status, 502);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 3);
        for seen in &*seen {
            assert!(seen.ends_with(&body) && seen.contains("content-length: 100000\r\n"));
        }
    }
    // One of them answers in the end.
    let (mut addresses, seen) = hanging_up(2);
    addresses.push(Endpoint::echo().address);
    let rig = plan(&addresses).start();
    for _ in 0..6 {
        let answer = rig.ask(of_length("PUT", &body));
        assert!(answer.status == 200 && answer.body.ends_with(&body));
    }
    assert!(!seen.lock().unwrap().is_empty());
}

#[test]
fn a_body_is_sent_again_only_if_that_is_harmless() {
    let long = "x".repeat(KEPT + 1);
    for (method, body, keeps, non_idempotent, times) in [
        ("POST", "x", true, false, 1),
        ("POST", "x", true, true, 3),
        ("PATCH", "x", true, false, 1),
        ("DELETE", "x", true, false, 3),
        ("PUT", "x", false, true, 1),
        ("PUT", &long, true, true, 1),
    ] {
        let (addresses, seen) = hanging_up(3);
        let mut plan = plan(&addresses);
        plan.route.keeps_bodies = keeps;
        plan.route.retry_non_idempotent = non_idempotent;
        let answer = plan.start().ask(of_length(method, body));
        assert_eq!(answer.status, 502);
        let seen = seen.lock().unwrap().len();
        assert_eq!(seen, times, "{method} of {} bytes", body.len());
    }
}

/// Whether the endpoint has been asked while a request's body has not ended.
fn streams(rig: &Rig, endpoint: &Endpoint) -> bool {
    let before = endpoint.requests().len();
    let mut client = rig.connect();
    client.send(begun("some"));
    std::thread::sleep(A_WHILE);
    endpoint.requests().len() > before
}

#[test]
fn no_endpoint_is_asked_before_the_body_has_come() {
    let endpoint = Endpoint::echo();
    let rig = plan(&[endpoint.address]).start();
    let mut client = rig.connect();
    client.send(begun("some"));
    std::thread::sleep(A_WHILE);
    assert_eq!(endpoint.connections(), 0);
    let answer = client.ask("5\r\n text\r\n0\r\n\r\n");
    assert!(answer.body.ends_with("\r\n\r\nsome text"), "{answer:?}");
    assert!(answer.body.contains("content-length: 9\r\n"), "{answer:?}");
    assert!(!answer.body.contains("transfer-encoding"), "{answer:?}");
    // A client that wants to be asked for its body is.
    let head = "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 3";
    assert_eq!(client.ask(format!("{head}\r\n\r\n")).status, 100);
    assert!(client.ask("abc").body.ends_with("\r\n\r\nabc"));
    // Otherwise it is asked at once.
    let mut plan = plan(&[endpoint.address]);
    plan.route.keeps_bodies = false;
    let rig = plan.start();
    eventually("it is asked", || streams(&rig, &endpoint));
}

#[test]
fn what_is_too_long_to_be_kept_goes_on_as_it_comes() {
    let endpoint = Endpoint::echo();
    let rig = plan(&[endpoint.address]).start();
    let long = "x".repeat(KEPT);
    let mut client = rig.connect();
    client.send(begun(&long));
    std::thread::sleep(A_WHILE);
    assert_eq!(endpoint.connections(), 0, "it may end here");
    client.send("4\r\nmore\r\n");
    eventually("it is asked", || endpoint.requests().len() == 1);
    let answer = client.ask("4\r\nlast\r\n0\r\n\r\n");
    assert!(answer.body.contains("transfer-encoding: chunked\r\n"));
    assert!(answer.body.ends_with(&format!("\r\n\r\n{long}morelast")));
    // One that says how long it is need not be waited for at all.
    let mut client = rig.connect();
    let body = long + "y";
    let (head, rest) = {
        let request = of_length("PUT", &body);
        let end = request.len() - body.len();
        (request[..end].to_owned(), body)
    };
    client.send(head);
    eventually("it is asked", || endpoint.requests().len() == 2);
    assert!(client.ask(&rest).body.ends_with(&rest));
    // Trailers would be lost in a body of known length.
    let trailers = begun("abc") + "0\r\nX-Sum: 1\r\n\r\n";
    let answer = client.ask(trailers);
    assert!(answer.body.contains("transfer-encoding: chunked\r\n"));
}

#[test]
fn bodies_that_end_badly_reach_no_endpoint() {
    let endpoint = Endpoint::echo();
    let mut plan = plan(&[endpoint.address]);
    plan.route.body_limit = 10;
    plan.settings.body_timeout = A_WHILE;
    let rig = plan.start();
    for (request, status) in [
        (in_chunks("01234567890"), 413),
        (of_length("PUT", "01234567890"), 413),
        (begun("0123"), 408),
        (begun("0123") + "nonsense\r\n", 400),
    ] {
        let mut client = rig.connect();
        assert_eq!(client.ask(&request).status, status, "{request}");
        assert!(client.closes_within(Duration::from_secs(10)), "{request}");
    }
    // A client that goes away.
    rig.connect().send(begun("0123"));
    assert_eq!(rig.ask(in_chunks("0123456789")).status, 200);
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn all_bodies_together_have_a_bound() {
    let endpoint = Endpoint::echo();
    let rig = plan(&[endpoint.address]).start();
    let text = begun(&"x".repeat(KEPT));
    let mut clients: Vec<Client> = (0..BODIES).map(|_| rig.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(&text));
    eventually("there is no room", || streams(&rig, &endpoint));
    // They are served all the same.
    assert!(rig.ask(in_chunks("abc")).body.ends_with("\r\n\r\nabc"));
    let answer = clients[0].ask("0\r\n\r\n");
    assert_eq!((answer.status, answer.body.len() > KEPT), (200, true));
    drop(clients);
    eventually("there is room again", || {
        let answer = rig.ask(in_chunks("abc"));
        answer.body.contains("content-length: 3\r\n")
    });
}

#[test]
fn calls_of_grpc_are_never_waited_for() {
    let endpoint = Endpoint::serving(|mut served, _| drop(served.client.until(b"PRI * HTTP/2.0")));
    let mut plan = plan(&[endpoint.address]);
    plan.protocol = UpstreamProtocol::H2c;
    let rig = plan.start();
    let mut client = rig.connect();
    client.send(begun("some"));
    eventually("it is asked", || endpoint.connections() > 0);
}

/// A world of a behaviour, whose Service has these endpoints.
fn world(behaviour: Behaviour, annotations: &[(&str, &str)], count: usize) -> Option<Kept> {
    let mut world = World::new()?;
    if behaviour == Behaviour::IngressNginx {
        world.behaves_as_ingress_nginx();
    }
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let endpoint = || {
        let bodies = bodies.clone();
        Endpoint::serving_at(world.own(), move |mut served, _| {
            while let Some(request) = served.request() {
                let body = request.split_once("\r\n\r\n").unwrap().1.to_owned();
                bodies.lock().unwrap().push(body);
                served.client.send(busy);
            }
        })
    };
    let addresses: Vec<_> = (0..count).map(|_| endpoint().address).collect();
    world.service("web", &addresses);
    world.ingress("web", "web", annotations);
    world.start(&[]);
    eventually("it serves", || world.get("/", &[]).body == "busy");
    bodies.lock().unwrap().clear();
    Some(Kept { world, bodies })
}

struct Kept {
    world: World,
    bodies: Arc<Mutex<Vec<String>>>,
}

#[test]
fn annotations_decide_what_is_sent_again() {
    let again = ("proxy-next-upstream", "http_503 non_idempotent");
    let on = ("proxy-request-buffering", "on");
    let off = ("proxy-request-buffering", "off");
    let (spec, nginx) = (Behaviour::Spec, Behaviour::IngressNginx);
    for (behaviour, annotations, count, times) in [
        (nginx, &[again][..], 3, 3),
        (nginx, &[again, off], 3, 1),
        (spec, &[again], 3, 1),
        (spec, &[again, on], 3, 3),
        (nginx, &[("proxy-next-upstream", "http_503")], 3, 1),
        // The same endpoint once more.
        (nginx, &[again], 1, 3),
        (nginx, &[again, ("proxy-next-upstream-tries", "5")], 2, 5),
        (nginx, &[again, ("proxy-next-upstream-tries", "99")], 2, 16),
        (nginx, &[again, ("proxy-next-upstream-tries", "0")], 2, 2),
        (spec, &[again, on], 1, 1),
    ] {
        let Some(kept) = world(behaviour, annotations, count) else {
            return;
        };
        let answer = kept.world.send("POST", "/", &["Content-Length: 4"], "text");
        assert_eq!((answer.status, &*answer.body), (503, "busy"));
        let bodies = kept.bodies.lock().unwrap();
        let expected = vec!["text"; times];
        assert_eq!(*bodies, expected, "{behaviour:?} {annotations:?} {count}");
    }
}
