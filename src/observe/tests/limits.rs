// SPDX-License-Identifier: Apache-2.0
//! What clients cannot do by being slow or many.

use std::convert::Infallible;
use std::future::ready;

use hyper::StatusCode;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::http::{CONNECTIONS, LIFETIME, PATIENCE, TEXT, answer, plain};
use super::super::serve::raise_file_limit;
use super::pages::{everything, metrics_port};
use super::*;

/// Whether the peer has closed, which takes no time by the tests' clock.
async fn ended(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let reading = stream.read_to_end(&mut rest);
    tokio::time::timeout(Duration::from_millis(500), reading)
        .await
        .is_ok()
}

/// Lets this much time pass by the runtime's clock.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn served_by(body: Vec<u8>) -> (SocketAddr, JoinHandle<Infallible>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = Bytes::from(body);
    let handler = move |_| ready(plain(StatusCode::OK, TEXT, body.clone()));
    (address, tokio::spawn(answer(listener, handler)))
}

#[tokio::test]
async fn a_client_has_to_send_its_request_in_time() {
    let (address, _task) = served_by(b"ok".to_vec()).await;
    let mut silent = connect(address).await;
    let mut slow = connect(address).await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        .await
        .unwrap();
    let mut idle = connect(address).await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut some = [0; 15];
    idle.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 200 OK");
    for stream in [&mut silent, &mut slow, &mut idle] {
        assert!(!ended(stream).await, "too early");
    }
    pass(PATIENCE / 2).await;
    slow.write_all(b"one-more-byte").await.unwrap();
    pass(PATIENCE / 2 + Duration::from_secs(1)).await;
    for stream in [&mut silent, &mut slow, &mut idle] {
        assert!(ended(stream).await, "bytes now and then do not count");
    }
}

#[tokio::test]
async fn a_client_has_to_read_the_answer_in_time() {
    const SIZE: usize = 64 << 20;
    let (address, _task) = served_by(vec![b'x'; SIZE]).await;
    let mut stream = connect(address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut some = [0; 15];
    stream.read_exact(&mut some).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    pass(LIFETIME + Duration::from_secs(1)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    pass(PATIENCE + Duration::from_secs(1)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < SIZE, "the whole answer came: {}", rest.len());
}

#[tokio::test]
async fn idle_connections_keep_nobody_out() {
    let (address, _task) = served_by(b"ok".to_vec()).await;
    let mut oldest = connect(address).await;
    let mut others = Vec::new();
    for _ in 1..CONNECTIONS {
        others.push(connect(address).await);
    }
    assert!(!ended(&mut oldest).await, "there is room for these");
    for _ in 0..8 {
        let asked = tokio::time::timeout(Duration::from_secs(5), get(address, "/"));
        assert_eq!(asked.await.expect("an answer at the limit").code, 200);
    }
    assert!(ended(&mut oldest).await, "the oldest had to go");
    let newest = others.last_mut().unwrap();
    assert!(!ended(newest).await, "the youngest stays");
}

#[test]
fn as_many_files_as_are_allowed_may_be_open() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).unwrap();
    raise_file_limit();
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
}

#[tokio::test]
async fn a_body_has_to_come_in_time() {
    let (address, _served, _) = metrics_port(everything());
    let mut stream = connect(address).await;
    let request = "PUT /debug/flags/v HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    pass(PATIENCE + Duration::from_secs(1)).await;
    let mut some = [0; 12];
    stream.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 400");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (address, _served, _) = metrics_port(everything());
    let mut stream = connect(address).await;
    let (mut reader, mut writer) = stream.split();
    let head = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    let (_, some) = tokio::join!(writer.write_all(head.as_bytes()), async {
        let mut some = [0; 12];
        reader.read_exact(&mut some).await.map(|_| some)
    });
    assert_eq!(&some.unwrap(), b"HTTP/1.1 431");
}
