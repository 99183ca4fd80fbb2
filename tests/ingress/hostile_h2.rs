// SPDX-License-Identifier: Apache-2.0
//! HTTP/2: what ordinary clients and gRPC do, and frames that nobody should send.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferrule::ingress::table::UpstreamProtocol;
use h2::client::SendRequest;
use hyper::http::{HeaderMap, Request, Response};

use super::frames::wire::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, WINDOW_UPDATE, begin, frame,
    head,
};
use super::rig::{Endpoint, PATIENCE, Plan, Rig, eventually};

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let limited = tokio::time::timeout(2 * PATIENCE, future);
        limited.await.expect("it hangs")
    })
}

pub(crate) async fn client(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.example{path}"))
        .body(())
        .unwrap()
}

async fn body(response: Response<h2::RecvStream>) -> (Vec<u8>, Option<HeaderMap>) {
    let mut stream = response.into_body();
    let mut all = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part.unwrap();
        let _ = stream.flow_control().release_capacity(part.len());
        all.extend_from_slice(&part);
    }
    (all, stream.trailers().await.unwrap())
}

#[test]
fn many_requests_share_a_connection() {
    let rig = Plan::to(&[Endpoint::echo().address]).start();
    block_on(async {
        let mut client = client(rig.http).await;
        let mut waiting = Vec::new();
        for n in 0..100 {
            client = client.ready().await.unwrap();
            let (response, mut upload) = client.send_request(get(&format!("/{n}")), false).unwrap();
            upload.send_data(Bytes::from_static(b"abc"), true).unwrap();
            waiting.push(response);
        }
        for (n, response) in waiting.into_iter().enumerate() {
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            let (body, _) = body(response).await;
            let body = String::from_utf8(body).unwrap();
            assert!(
                body.starts_with(&format!("GET /{n} HTTP/1.1\r\n")),
                "{body}"
            );
            assert!(body.contains("host: a.example\r\n"), "{body}");
        }
    });
}

#[test]
fn heads_that_are_wrong_are_answered() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let request = || Request::builder().uri("http://a.example/");
    let many = (0..150).fold(request(), |r, n| r.header(format!("x-{n}"), "y"));
    let cookies = (0..3).fold(request(), |r, n| r.header("cookie", format!("c{n}=1")));
    block_on(async {
        for (request, expected) in [
            (many, 431),
            (request().header("host", "b.example"), 400),
            (request().header("content-length", "9999999"), 413),
            (request().uri("http://b.example/"), 404),
            (request().uri("http://a.example/../x"), 400),
            (cookies, 200),
        ] {
            let mut client = client(rig.http).await;
            let request = request.body(()).unwrap();
            let long = expected == 413;
            let (response, _upload) = client.send_request(request, !long).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), expected);
        }
    });
    let seen = echo.requests();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("cookie: c0=1; c1=1; c2=1\r\n"), "{seen:?}");
}

/// A gRPC server: answers with trailers, or with trailers only.
async fn grpc(listener: tokio::net::TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut answer))) = connection.accept().await {
                assert_eq!(request.headers()["te"], "trailers");
                assert_eq!(request.uri().authority().unwrap(), "a.example");
                let only = request.uri().path() == "/only";
                let response = Response::builder().header("content-type", "application/grpc");
                if only {
                    let response = response.header("grpc-status", "5").body(()).unwrap();
                    answer.send_response(response, true).unwrap();
                    continue;
                }
                let mut stream = answer
                    .send_response(response.body(()).unwrap(), false)
                    .unwrap();
                let mut upload = request.into_body();
                tokio::spawn(async move {
                    while let Some(Ok(part)) = upload.data().await {
                        let _ = upload.flow_control().release_capacity(part.len());
                        stream.send_data(part, false).unwrap();
                    }
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    stream.send_trailers(trailers).unwrap();
                });
            }
        });
    }
}

#[test]
fn grpc_works_with_streams_and_trailers() {
    block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut plan = Plan::to(&[listener.local_addr().unwrap()]);
        plan.protocol = UpstreamProtocol::H2c;
        tokio::spawn(grpc(listener));
        let rig = plan.start();
        let mut client = client(rig.http).await;
        let call = |path: &str| {
            let uri = format!("http://a.example{path}");
            Request::post(uri)
                .header("te", "trailers")
                .body(())
                .unwrap()
        };
        for _ in 0..10 {
            let (response, mut upload) = client.send_request(call("/echo"), false).unwrap();
            upload.send_data(Bytes::from_static(b"one"), false).unwrap();
            let response = response.await.unwrap();
            upload.send_data(Bytes::from_static(b"two"), true).unwrap();
            let (body, trailers) = body(response).await;
            assert_eq!(body, b"onetwo");
            assert_eq!(trailers.unwrap()["grpc-status"], "0");
        }
        let (response, _) = client.send_request(call("/only"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "5");
    });
}

/// Floods a connection until it is closed; `frames` gives what is sent for the nth stream.
fn flood(rig: &Rig, most: u32, frames: impl Fn(u32) -> Vec<u8>) {
    use std::io::Write;
    let mut client = begin(rig, &[]);
    for n in 0..most {
        let sent = client.stream.write_all(&frames(2 * n + 1));
        if n % 500 == 0 {
            rig.check();
        }
        if sent.is_err() {
            return;
        }
    }
    assert!(
        client.closes_within(Duration::from_secs(5)),
        "the flood goes on"
    );
    rig.check();
}

#[test]
fn rapid_resets_end_the_connection() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    flood(&rig, 20_000, |stream| {
        let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head());
        frames.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        frames
    });
}

#[test]
fn streams_that_make_us_reset_them_end_the_connection() {
    let rig = Plan::to(&[Endpoint::echo().address]).start();
    flood(&rig, 20_000, |stream| {
        let mut frames = frame(HEADERS, END_HEADERS, stream, &head());
        frames.extend(frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 0]));
        frames
    });
}

#[test]
fn an_endless_head_ends_the_connection() {
    let rig = Plan::to(&[Endpoint::echo().address]).start();
    let mut line = vec![0x00, 3];
    line.extend(b"x-y");
    line.extend([100]);
    line.extend([b'z'; 100]);
    for lines in [line.repeat(150), Vec::new()] {
        flood(&rig, 20_000, |stream| {
            if stream == 1 {
                frame(HEADERS, 0, 1, &head())
            } else {
                frame(CONTINUATION, 0, 1, &lines)
            }
        });
    }
}

#[test]
fn a_client_that_does_not_read_pongs_fills_no_memory() {
    let rig = Plan::to(&[Endpoint::echo().address]).start();
    let mut plan = Plan::to(&[Endpoint::echo().address]);
    plan.settings.send_timeout = Duration::from_millis(500);
    let limited = plan.start();
    use std::io::Write;
    let mut client = begin(&limited, &[]);
    let pings = frame(PING, 0, 0, &[1; 8]).repeat(1_000);
    client
        .stream
        .set_write_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    let (begun, mut sent) = (Instant::now(), 0);
    while client.stream.write_all(&pings).is_ok() && begun.elapsed() < PATIENCE {
        sent += pings.len();
    }
    assert!(sent < 100_000_000, "{sent} bytes of pings");
    limited.check();
    rig.check();
}

/// A client that opens no window gets its head and holds a stream for `send_timeout`.
#[test]
fn a_client_that_takes_no_data_is_cut_off() {
    let mut plan = Plan::to(&[Endpoint::echo().address]);
    plan.settings.send_timeout = Duration::from_millis(500);
    let rig = plan.start();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut client = begin(&rig, &[0, 4, 0, 0, 0, 0]);
    let begun = Instant::now();
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &head()));
    assert!(
        client.closes_within(Duration::from_secs(8)),
        "it is waited for"
    );
    assert!(begun.elapsed() >= Duration::from_millis(500));
    rig.check();
}

#[test]
fn a_client_that_goes_away_frees_the_endpoint() {
    let endpoint = Endpoint::serving(|mut served, _| {
        served.request();
        // Returns at the end of the connection.
        served.request();
        served.close();
    });
    let rig = Plan::to(&[endpoint.address]).start();
    block_on(async {
        let mut client = client(rig.http).await;
        let (response, mut upload) = client.send_request(get("/"), true).unwrap();
        eventually("it is under way", || endpoint.requests().len() == 1);
        upload.send_reset(h2::Reason::CANCEL);
        drop(response);
        tokio::time::sleep(Duration::from_millis(300)).await;
        // The connection goes on.
        let (_response, _) = client.send_request(get("/"), true).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    eventually("both are seen", || endpoint.requests().len() == 2);
    assert_eq!(endpoint.connections(), 2, "the first cannot serve another");
}
