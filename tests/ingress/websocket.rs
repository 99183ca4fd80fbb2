// SPDX-License-Identifier: Apache-2.0
//! WebSockets of real clients and servers (tungstenite), over HTTP/1.1 and over HTTP/2 (RFC 8441).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ferrule::ingress::table::UpstreamProtocol;
use futures_util::{SinkExt, StreamExt};
use h2::client::SendRequest;
use h2::ext::Protocol;
use hyper::http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use super::hostile_h2::{block_on, client};
use super::rig::{Endpoint, Plan, eventually};

/// A server that agrees to the protocol `chat`, sends back what it gets, and ends by `bye`.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
fn agree(
    request: &server::Request,
    mut response: server::Response,
) -> Result<server::Response, server::ErrorResponse> {
    assert_eq!(request.uri().path(), "/chat");
    assert_eq!(request.headers()["host"], "a.example");
    assert_eq!(request.headers()["x-forwarded-proto"], "http");
    let protocol = request.headers().get("sec-websocket-protocol");
    if let Some(protocol) = protocol {
        let headers = response.headers_mut();
        headers.insert("sec-websocket-protocol", protocol.clone());
    }
    Ok(response)
}

async fn answer(stream: TcpStream) {
    let mut socket = accept_hdr_async(stream, agree).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text.as_str() == "bye" => socket.close(None).await.unwrap(),
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
            _ => {}
        }
    }
}

/// Talks as people and programs do, and lets the server end it.
async fn talk<S>(mut socket: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let large = Bytes::from(vec![7; 300_000]);
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::binary(large),
        Message::text("ünïcödé"),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket
        .send(Message::Ping(Bytes::from_static(b"?")))
        .await
        .unwrap();
    let pong = socket.next().await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"?")));
    socket.send(Message::text("bye")).await.unwrap();
    let last = socket.next().await.unwrap().unwrap();
    assert!(matches!(last, Message::Close(_)), "{last:?}");
    assert!(socket.next().await.is_none_or(|end| end.is_err()));
}

#[test]
fn over_http_1() {
    block_on(async {
        let rig = Plan::to(&[echo().await]).start();
        for _ in 0..3 {
            let stream = TcpStream::connect(rig.http).await.unwrap();
            let mut request = "ws://a.example/chat".into_client_request().unwrap();
            let headers = request.headers_mut();
            headers.insert("sec-websocket-protocol", "chat".parse().unwrap());
            let (socket, response) = client_async(request, stream).await.unwrap();
            assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
            talk(socket).await;
        }
    });
}

/// What asks for a WebSocket over HTTP/2.
fn connect() -> Request<()> {
    Request::connect("http://a.example/chat")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
}

/// One stream of a connection, as bytes both ways.
async fn open(client: &mut SendRequest<Bytes>) -> (Response<()>, DuplexStream) {
    let (response, mut upload) = client.send_request(connect(), false).unwrap();
    let (head, mut download) = response.await.unwrap().into_parts();
    let (ours, theirs) = tokio::io::duplex(10_000);
    let (mut read, mut write) = tokio::io::split(theirs);
    tokio::spawn(async move {
        while let Some(Ok(part)) = download.data().await {
            let _ = download.flow_control().release_capacity(part.len());
            if write.write_all(&part).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    tokio::spawn(async move {
        let mut buffer = [0; 10_000];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            upload.reserve_capacity(count);
            let mut sent = 0;
            while sent < count {
                let Some(Ok(room)) = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await
                else {
                    return;
                };
                let part = Bytes::copy_from_slice(&buffer[sent..(sent + room).min(count)]);
                sent += part.len();
                let _ = upload.send_data(part, false);
            }
        }
        let _ = upload.send_data(Bytes::new(), true);
    });
    (Response::from_parts(head, ()), ours)
}

#[test]
fn over_http_2_beside_other_requests() {
    block_on(async {
        let rig = Plan::to(&[echo().await]).start();
        let mut client = client(rig.http).await;
        while !client.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut sockets = Vec::new();
        for _ in 0..3 {
            let (response, stream) = open(&mut client).await;
            assert_eq!(response.status(), 200);
            let headers = response.headers();
            assert_eq!(headers["sec-websocket-protocol"], "chat");
            for gone in ["sec-websocket-accept", "upgrade", "connection"] {
                assert!(!headers.contains_key(gone), "{headers:?}");
            }
            sockets.push(WebSocketStream::from_raw_socket(stream, Role::Client, None).await);
        }
        // All at a time, on one connection.
        futures_util::future::join_all(sockets.into_iter().map(talk)).await;
    });
}

/// An endpoint that does not agree answers the client with its own status; one that says 200 is no
/// WebSocket, and the client must not take it for one.
#[test]
fn what_an_endpoint_answers_instead() {
    for (said, expected) in [("403 Forbidden", 403), ("302 Found", 302), ("200 OK", 502)] {
        let endpoint = Endpoint::serving(move |mut served, _| {
            while let Some(request) = served.request() {
                assert!(request.starts_with("GET /chat HTTP/1.1\r\n"), "{request}");
                let answer = format!("HTTP/1.1 {said}\r\nContent-Length: 2\r\n\r\nno");
                served.client.send(answer);
            }
        });
        let rig = Plan::to(&[endpoint.address]).start();
        block_on(async {
            let mut client = client(rig.http).await;
            let (response, _upload) = client.send_request(connect(), false).unwrap();
            assert_eq!(response.await.unwrap().status(), expected, "{said}");
        });
    }
    let mut plan = Plan::to(&[Endpoint::nobody()]);
    plan.protocol = UpstreamProtocol::H2c;
    let rig = plan.start();
    block_on(async {
        let mut client = client(rig.http).await;
        let (response, _upload) = client.send_request(connect(), false).unwrap();
        assert_eq!(
            response.await.unwrap().status(),
            501,
            "the endpoint speaks HTTP/2"
        );
    });
}

/// One quiet stream ends alone, though others of its connection are busy.
#[test]
fn a_quiet_stream_ends_alone() {
    block_on(async {
        let mut plan = Plan::to(&[echo().await]);
        plan.route.read_timeout = Duration::from_secs(3);
        let rig = plan.start();
        let mut client = client(rig.http).await;
        let (_, quiet) = open(&mut client).await;
        let (_, busy) = open(&mut client).await;
        let mut quiet = WebSocketStream::from_raw_socket(quiet, Role::Client, None).await;
        let mut busy = WebSocketStream::from_raw_socket(busy, Role::Client, None).await;
        let ended = tokio::spawn(async move { quiet.next().await.is_none_or(|end| end.is_err()) });
        let mut rounds = 0;
        while !ended.is_finished() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            busy.send(Message::text("x")).await.unwrap();
            assert_eq!(busy.next().await.unwrap().unwrap(), Message::text("x"));
            rounds += 1;
        }
        assert!(rounds > 1, "{rounds}");
        assert!(ended.await.unwrap());
        talk(busy).await;
    });
}

/// A stream that the client resets frees the endpoint's connection.
#[test]
fn a_client_that_goes_frees_the_endpoint() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = gone.clone();
    let endpoint = Endpoint::serving(move |mut served, _| {
        served.head();
        served.client.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        );
        // Returns at the end of the connection.
        served.client.until(b"never");
        seen.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    let rig = Plan::to(&[endpoint.address]).start();
    block_on(async {
        let mut client = client(rig.http).await;
        let (response, mut upload) = client.send_request(connect(), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        upload.send_reset(h2::Reason::CANCEL);
        let is_gone = || gone.load(std::sync::atomic::Ordering::SeqCst);
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        for _ in 0..400 {
            if is_gone() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    eventually("it is gone", || {
        gone.load(std::sync::atomic::Ordering::SeqCst)
    });
}
