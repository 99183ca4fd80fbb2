// SPDX-License-Identifier: Apache-2.0
//! What endpoints are sent, what clients get back, and what happens when an endpoint fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ferrule::ingress::action::template::Template;
use ferrule::ingress::balance::Hashed;
use ferrule::ingress::table::Balance;

use super::rig::{Endpoint, Plan, eventually, header, target};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";

#[test]
fn endpoints_are_told_who_the_client_is() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let answer = rig.ask(
        "GET /a%2Fb/../c?d=%20 HTTP/1.1\r\nHost: A.example:8080\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nProxy: evil\r\nX_Real_IP: evil\r\n\
         X-Secret: evil\r\nConnection: keep-alive, X-Secret, X-Forwarded-For\r\nKeep-Alive: 5\r\n\
         TE: trailers\r\nAccept: x\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    let seen = answer.body;
    assert!(
        seen.starts_with("GET /a%2Fb/../c?d=%20 HTTP/1.1\r\n"),
        "{seen}"
    );
    let port = rig.http.port().to_string();
    for (name, value) in [
        ("Host", Some("A.example:8080")),
        ("X-Real-IP", Some("127.0.0.1")),
        ("X-Forwarded-For", Some("127.0.0.1")),
        ("X-Forwarded-Host", Some("A.example:8080")),
        ("X-Original-Forwarded-Host", Some("evil")),
        ("X-Forwarded-Port", Some(port.as_str())),
        ("X-Forwarded-Proto", Some("http")),
        ("X-Forwarded-Scheme", Some("http")),
        ("X-Scheme", Some("http")),
        ("Accept", Some("x")),
        ("Proxy", None),
        ("X_Real_IP", None),
        ("X-Secret", None),
        ("Connection", None),
        ("Keep-Alive", None),
        ("TE", None),
    ] {
        assert_eq!(header(&seen, name), value, "{name}\n{seen}");
    }
    assert_eq!(header(&seen, "X-Request-ID").map(str::len), Some(32));
}

#[test]
fn trusted_proxies_are_believed() {
    let echo = Endpoint::echo();
    let mut plan = Plan::to(&[echo.address]);
    plan.settings.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    plan.settings.use_forwarded_headers = true;
    let ask = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 9.9.9.9, 192.0.2.7\r\n\
               X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\nX-Request-ID: me\r\n\r\n";
    let seen = plan.start().ask(ask).body;
    assert_eq!(header(&seen, "X-Real-IP"), Some("192.0.2.7"), "{seen}");
    assert_eq!(header(&seen, "X-Forwarded-For"), Some("192.0.2.7"));
    assert_eq!(header(&seen, "X-Forwarded-Proto"), Some("https"));
    assert_eq!(header(&seen, "X-Forwarded-Host"), Some("b.example"));
    assert_eq!(header(&seen, "X-Request-ID"), Some("me"));
    plan.settings.full_forwarded_for = true;
    let seen = plan.start().ask(ask).body;
    let chain = header(&seen, "X-Forwarded-For");
    assert_eq!(chain, Some("9.9.9.9, 192.0.2.7, 127.0.0.1"));
}

#[test]
fn the_proxy_protocol_names_the_client_of_a_trusted_balancer() {
    let echo = Endpoint::echo();
    let mut plan = Plan::to(&[echo.address]);
    plan.settings.proxy_protocol = true;
    plan.settings.trusted = vec!["127.0.0.1/32".parse().unwrap()];
    let rig = plan.start();
    let told = format!("PROXY TCP4 192.0.2.7 192.0.2.8 1 80\r\n{GET}");
    assert_eq!(header(&rig.ask(told).body, "X-Real-IP"), Some("192.0.2.7"));
    assert_eq!(rig.ask(GET).status, 0, "the header is missing");
    plan.settings.trusted.clear();
    let rig = plan.start();
    assert_eq!(rig.ask(GET).status, 200);
    assert_eq!(
        rig.ask("PROXY TCP4 1.2.3.4 1.2.3.4 1 80\r\n\r\n").status,
        400
    );
}

#[test]
fn responses_come_back_without_what_was_of_one_hop() {
    let endpoint = Endpoint::serving(|mut served, _| {
        while served.request().is_some() {
            served.client.send(
                "HTTP/1.1 201 Made\r\nServer: x\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\
                 Keep-Alive: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    let rig = Plan::to(&[endpoint.address]).start();
    let answer = rig.ask(GET);
    assert_eq!((answer.status, answer.body.as_str()), (201, "ok"));
    assert!(answer.head.starts_with("HTTP/1.1 201 Made\r\n"));
    assert_eq!(
        answer.head.matches("set-cookie").count(),
        2,
        "{}",
        answer.head
    );
    for name in ["Server", "X-Secret", "Keep-Alive", "Connection"] {
        assert_eq!(answer.header(name), None, "{}", answer.head);
    }
}

#[test]
fn connections_are_used_again_on_both_sides() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start_with(|options| options.threads = 1);
    let mut client = rig.connect();
    for _ in 0..50 {
        assert_eq!(client.ask(GET).status, 200);
        assert_eq!(client.ask(POST).status, 200);
    }
    assert_eq!(echo.connections(), 1);
}

#[test]
fn a_connection_ends_after_so_many_requests() {
    let echo = Endpoint::echo();
    let mut plan = Plan::to(&[echo.address]);
    plan.settings.keep_alive_requests = 3;
    let rig = plan.start();
    let mut client = rig.connect();
    assert_eq!(client.ask(GET).header("connection"), None);
    assert_eq!(client.ask(GET).status, 200);
    assert_eq!(client.ask(GET).header("connection"), Some("close"));
    assert!(client.closes_within(Duration::from_secs(1)));
}

#[test]
fn so_does_that_of_an_old_client() {
    let echo = Endpoint::echo();
    let mut plan = Plan::to(&[echo.address]);
    plan.settings.keep_alive_requests = 3;
    let rig = plan.start();
    let mut client = rig.connect();
    let mut ask = || {
        client.send("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: Keep-Alive\r\n\r\n");
        let answer = client.answer(false);
        let lines = answer.head.to_ascii_lowercase();
        let said = lines
            .lines()
            .filter_map(|line| line.strip_prefix("connection: "));
        said.collect::<Vec<_>>().join(", ")
    };
    assert_eq!([ask(), ask(), ask()], ["keep-alive", "keep-alive", "close"]);
    assert!(client.closes_within(Duration::from_secs(1)));
}

#[test]
fn head_has_a_length_and_no_body() {
    let endpoint = Endpoint::serving(|mut served, _| {
        while served.request().is_some() {
            served
                .client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
        }
    });
    let rig = Plan::to(&[endpoint.address]).start_with(|options| options.threads = 1);
    let mut client = rig.connect();
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let answer = client.answer(true);
        assert_eq!(answer.header("content-length"), Some("5000"));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn an_old_client_is_answered_in_its_version() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let answer = rig.ask("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert!(answer.head.starts_with("HTTP/1.0 200"), "{}", answer.head);
    assert!(answer.body.starts_with("GET / HTTP/1.1"));
}

#[test]
fn expect_is_answered_only_once_the_body_is_wanted() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let expect = |host: &str, length: usize| {
        format!(
            "PUT / HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    assert_eq!(rig.ask(expect("a.example", 9_999_999)).status, 413);
    assert_eq!(rig.ask(expect("b.example", 3)).status, 404);
    let mut client = rig.connect();
    assert_eq!(client.ask(expect("a.example", 3)).status, 100);
    let answer = client.ask("abc");
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with("abc") && header(&answer.body, "expect").is_none());
}

#[test]
fn bodies_are_passed_on_as_they_come() {
    let endpoint = Endpoint::serving(|mut served, _| {
        while served.head().is_some() {
            // Each part of the response answers a part of the request.
            served
                .client
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..3 {
                let chunk = served.client.until(b"\r\n").unwrap();
                assert_eq!(chunk, "3\r\n");
                let part = served.client.exactly(5);
                served.client.send([b"3\r\n", &part[..]].concat());
            }
            assert_eq!(
                served.client.until(b"0\r\n\r\n").as_deref(),
                Some("0\r\n\r\n")
            );
            served.client.send("0\r\n\r\n");
        }
    });
    let rig = Plan::to(&[endpoint.address]).start_with(|options| options.threads = 1);
    let mut client = rig.connect();
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        );
        let head = client.until(b"\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(client.exactly(8), b"3\r\nabc\r\n");
        for part in ["3\r\ndef\r\n", "3\r\nghi\r\n"] {
            client.send(part);
            assert_eq!(client.exactly(8), part.as_bytes());
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.exactly(5), b"0\r\n\r\n");
    }
    assert_eq!(endpoint.connections(), 1);
}

/// A client that does not read holds up the endpoint, and no memory fills.
#[test]
fn a_client_that_does_not_read_holds_up_the_endpoint() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let endpoint = Endpoint::serving(move |mut served, _| {
        use std::io::Write;
        served.request();
        served
            .client
            .send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let part = [b'x'; 65_536];
        while served.client.stream.write_all(&part).is_ok() {
            counter.fetch_add(part.len(), Ordering::SeqCst);
        }
    });
    let rig = Plan::to(&[endpoint.address]).start();
    let mut client = rig.connect();
    client.send(GET);
    let mut last = usize::MAX;
    eventually("the endpoint stops", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sent.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now && now > 0
    });
    assert!(last < 30_000_000, "{last} bytes went somewhere");
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_passed_over() {
    let echo = Endpoint::echo();
    let nobody = Endpoint::nobody();
    let rig = Plan::to(&[nobody, echo.address]).start();
    for _ in 0..20 {
        assert_eq!(rig.ask(GET).status, 200);
        assert_eq!(rig.ask(POST).status, 200, "nothing had been sent");
    }
    assert_eq!(Plan::to(&[nobody]).start().ask(GET).status, 502);
    assert_eq!(Plan::to(&[]).start().ask(GET).status, 503);
    let mut plan = Plan::to(&[nobody, Endpoint::nobody(), echo.address]);
    plan.route.tries = 1;
    let rig = plan.start();
    let statuses: Vec<u16> = (0..9).map(|_| rig.ask(GET).status).collect();
    assert!(
        statuses.contains(&502) && statuses.contains(&200),
        "{statuses:?}"
    );
}

/// Closes connections once a second request has come on them, as an endpoint does whose
/// keep-alive has just ended.
fn impatient() -> Endpoint {
    Endpoint::serving(|mut served, _| {
        let Some(request) = served.request() else {
            return;
        };
        served.answer(&request);
        served.head();
        served.close();
    })
}

#[test]
fn what_an_endpoint_may_have_seen_is_sent_again_only_if_that_is_harmless() {
    let endpoint = impatient();
    let rig = Plan::to(&[endpoint.address]).start_with(|options| options.threads = 1);
    let mut client = rig.connect();
    for _ in 0..5 {
        assert_eq!(client.ask(GET).status, 200);
    }
    assert_eq!(endpoint.connections(), 5);
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.ask(post).status, 502, "it may have been done");
    assert_eq!(client.ask(post).status, 200);
    let mut plan = Plan::to(&[impatient().address]);
    plan.route.retry_non_idempotent = true;
    let rig = plan.start_with(|options| options.threads = 1);
    let mut client = rig.connect();
    assert_eq!(
        (client.ask(post).status, client.ask(post).status),
        (200, 200)
    );
}

#[test]
fn an_endpoint_that_speaks_nonsense_is_a_bad_gateway() {
    for nonsense in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "",
    ] {
        let endpoint = Endpoint::serving(move |mut served, _| {
            served.request();
            served.client.send(nonsense);
            served.close();
        });
        let rig = Plan::to(&[endpoint.address]).start();
        assert_eq!(rig.ask(GET).status, 502, "{nonsense}");
    }
    let endpoint = Endpoint::serving(|mut served, _| {
        served.request();
        let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(200_000));
        served.client.send(head);
    });
    assert_eq!(Plan::to(&[endpoint.address]).start().ask(GET).status, 502);
}

/// A response that breaks off must not look whole.
#[test]
fn a_response_that_breaks_off_breaks_off() {
    let endpoint = Endpoint::serving(|mut served, _| {
        served.request();
        served
            .client
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        served.close();
    });
    let rig = Plan::to(&[endpoint.address]).start();
    let mut client = rig.connect();
    client.send(GET);
    assert!(client.until(b"abc\r\n").is_some());
    assert_eq!(client.until(b"0\r\n\r\n"), None);
}

#[test]
fn a_key_stays_with_its_endpoint() {
    let endpoints: Vec<Endpoint> = (0..5).map(|_| Endpoint::echo()).collect();
    let addresses: Vec<_> = endpoints.iter().map(|e| e.address).collect();
    let mut plan = Plan::to(&addresses);
    let targets: Vec<_> = addresses.iter().map(target).collect();
    let by = Template::parse("$http_x_user").unwrap();
    let hashed = Hashed::new(&targets, None);
    plan.balance = Balance::Hash(Arc::new(by), Arc::new(hashed));
    let rig = plan.start();
    for _ in 0..30 {
        rig.ask("GET / HTTP/1.1\r\nHost: a.example\r\nX-User: me\r\n\r\n");
    }
    let mut counts: Vec<usize> = endpoints.iter().map(|e| e.requests().len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 0, 30]);
    for balance in [Balance::LeastConnections, Balance::PeakEwma] {
        plan.balance = balance;
        let rig = plan.start();
        assert!((0..20).all(|_| rig.ask(GET).status == 200));
    }
}

/// Tables are swapped all the time, with endpoints that come and go, and nobody notices.
#[test]
fn swapping_tables_breaks_no_request() {
    let endpoints: Vec<Endpoint> = (0..4).map(|_| Endpoint::echo()).collect();
    let rig = Arc::new(Plan::to(&[endpoints[0].address]).start());
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (rig, done) = (rig.clone(), done.clone());
            std::thread::spawn(move || {
                let (mut served, mut client) = (0, rig.connect());
                while !done.load(Ordering::SeqCst) {
                    let answer = client.ask(if served % 2 == 0 { GET } else { POST });
                    assert_eq!(answer.status, 200, "{answer:?}");
                    served += 1;
                    if answer.header("connection").is_some() {
                        client = rig.connect();
                    }
                }
                served
            })
        })
        .collect();
    for round in 0..300 {
        let some = [
            endpoints[round % 4].address,
            endpoints[(round + 1) % 4].address,
        ];
        rig.table.store(Arc::new(Plan::to(&some).table()));
        std::thread::sleep(Duration::from_millis(5));
    }
    done.store(true, Ordering::SeqCst);
    let served: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    assert!(served > 100, "{served}");
}

#[test]
fn plain_requests_are_redirected_where_that_is_wanted() {
    let echo = Endpoint::echo();
    let mut plan = Plan::to(&[echo.address]);
    plan.route.https_redirect = Some(308);
    let answer = plan
        .start()
        .ask("GET /x?y HTTP/1.1\r\nHost: a.example:8080\r\n\r\n");
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some("https://a.example/x?y"));
}

/// What is counted, and what the log says of it.
#[test]
fn requests_are_counted_and_logged() {
    use ferrule::ingress::access_log::{AccessLog, Format};
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = AccessLog::start(Format::Json, file.reopen().unwrap()).unwrap();
    let meters = ferrule::ingress::meters::Meters::default();
    let registry = prometheus::Registry::new();
    for collector in meters.collectors() {
        registry.register(collector).unwrap();
    }
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start_with(|options| {
        options.access_log = Some(log);
        options.meters = meters;
    });
    let answer = rig.ask("GET /x?y HTTP/1.1\r\nHost: a.example\r\nUser-Agent: me\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert_eq!(
        rig.ask("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").status,
        404
    );
    assert_eq!(rig.ask("nonsense\r\n\r\n").status, 400);
    let text = || {
        let encoder = prometheus::TextEncoder::new();
        encoder.encode_to_string(&registry.gather()).unwrap()
    };
    for line in [
        "ferrule_ingress_requests_total{status=\"2xx\"} 1",
        "ferrule_ingress_requests_total{status=\"4xx\"} 1",
        "ferrule_ingress_requests_malformed_total 1",
        "ferrule_ingress_connections_accepted_total 3",
        "ferrule_ingress_connections 0",
    ] {
        eventually(line, || text().lines().any(|l| l == line));
    }
    let lines = || std::fs::read_to_string(file.path()).unwrap();
    eventually("both are logged", || lines().lines().count() == 2);
    for part in [
        "\"uri\":\"/x?y\"",
        "\"status\":200",
        "\"user_agent\":\"me\"",
        "\"service\":\"default/web:80\"",
        "\"ingress\":\"web\"",
        &format!("\"upstream_addr\":[\"{}\"]", echo.address),
        "\"status\":404",
    ] {
        assert!(lines().contains(part), "{part}\n{}", lines());
    }
}
