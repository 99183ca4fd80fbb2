// SPDX-License-Identifier: Apache-2.0
//! gRPC with tonic on both sides: calls of all four kinds, errors in trailers, metadata, deadlines.
//! Messages are plain text, so that nothing has to be generated.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut};
use ferrule::ingress::table::UpstreamProtocol;
use futures_util::stream::{self, Stream, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

use super::hostile_h2::block_on;
use super::rig::{Plan, Rig};

/// Text as it is.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let text = String::from_utf8(bytes.into()).map_err(|_| Status::internal("not UTF-8"))?;
        Ok(Some(text))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// Calls under way that nobody has given up.
type Waiting = Arc<AtomicUsize>;

struct Counted(Waiting);

impl Counted {
    fn new(waiting: &Waiting) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One message in, one out. `fail` fails; `wait` waits for ever, and says in the metadata how long
/// the client does.
async fn unary(request: Request<String>, waiting: Waiting) -> Result<Response<String>, Status> {
    match request.get_ref().as_str() {
        "fail" => {
            let mut status = Status::failed_precondition("not today: ünmöglich\n");
            let details = MetadataValue::from_bytes(b"\x00\xff");
            status.metadata_mut().insert_bin("why-bin", details);
            return Err(status);
        }
        "wait" => {
            assert!(request.metadata().contains_key("grpc-timeout"));
            let _counted = Counted::new(&waiting);
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        _ => {}
    }
    let mut response = Response::new(format!("you said {}", request.get_ref()));
    let given = request.metadata();
    let plain = given.get("x-plain").cloned();
    plain.map(|value| response.metadata_mut().insert("x-plain", value));
    let binary = given.get_bin("x-bin").cloned();
    binary.map(|value| response.metadata_mut().insert_bin("x-bin", value));
    Ok(response)
}

/// Counts to a number, then fails if it is 13.
async fn down(request: Request<String>) -> Result<Response<Answers>, Status> {
    let most: u32 = request
        .get_ref()
        .parse()
        .map_err(|_| Status::invalid_argument("no number"))?;
    let numbers = stream::iter((0..most).map(|n| Ok(n.to_string())));
    let bad = (most == 13).then(|| Err(Status::aborted("unlucky")));
    Ok(Response::new(Box::pin(numbers.chain(stream::iter(bad)))))
}

/// Joins what comes.
async fn up(request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let (mut all, mut messages) = (String::new(), request.into_inner());
    while let Some(text) = messages.message().await? {
        all.push_str(&text);
    }
    Ok(Response::new(all))
}

/// Answers each message at once.
async fn both(request: Request<Streaming<String>>) -> Result<Response<Answers>, Status> {
    let echoed = request
        .into_inner()
        .map(|text| text.map(|text| text.to_uppercase()));
    Ok(Response::new(Box::pin(echoed)))
}

async fn answer(
    request: hyper::Request<Incoming>,
    waiting: Waiting,
) -> Result<hyper::Response<tonic::body::Body>, Infallible> {
    let mut grpc = tonic::server::Grpc::new(Plain);
    assert_eq!(request.headers()["te"], "trailers");
    Ok(match request.uri().path() {
        "/test.Talk/Unary" => {
            grpc.unary(service_fn(|r| unary(r, waiting.clone())), request)
                .await
        }
        "/test.Talk/Down" => grpc.server_streaming(service_fn(down), request).await,
        "/test.Talk/Up" => grpc.client_streaming(service_fn(up), request).await,
        "/test.Talk/Both" => grpc.streaming(service_fn(both), request).await,
        _ => Status::unimplemented("").into_http(),
    })
}

/// A server, and the calls under way on it.
async fn server() -> (SocketAddr, Waiting) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let waiting = Waiting::default();
    let counted = waiting.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let waiting = counted.clone();
            let service =
                hyper::service::service_fn(move |request| answer(request, waiting.clone()));
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (address, waiting)
}

struct Client(tonic::client::Grpc<Channel>);

impl Client {
    async fn connect(rig: &Rig) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", rig.http)).unwrap();
        let endpoint = endpoint.origin("http://a.example".parse().unwrap());
        Self(tonic::client::Grpc::new(endpoint.connect().await.unwrap()))
    }

    async fn ask(&mut self, request: Request<String>) -> Result<Response<String>, Status> {
        self.0.ready().await.unwrap();
        self.0
            .unary(request, "/test.Talk/Unary".parse().unwrap(), Plain)
            .await
    }

    async fn down(&mut self, most: &str) -> Result<Streaming<String>, Status> {
        self.0.ready().await.unwrap();
        let path = "/test.Talk/Down".parse().unwrap();
        let answer = self
            .0
            .server_streaming(Request::new(most.into()), path, Plain)
            .await;
        answer.map(Response::into_inner)
    }
}

async fn start() -> (Rig, Client, Waiting) {
    let (address, waiting) = server().await;
    let mut plan = Plan::to(&[address]);
    plan.protocol = UpstreamProtocol::H2c;
    let rig = plan.start();
    let client = Client::connect(&rig).await;
    (rig, client, waiting)
}

#[test]
fn one_message_each_way() {
    block_on(async {
        let (_rig, mut client, _) = start().await;
        for n in 0..20 {
            let mut request = Request::new(n.to_string());
            let plain = "some text".parse().unwrap();
            request.metadata_mut().insert("x-plain", plain);
            let binary = MetadataValue::from_bytes(b"\x00\x01\xff");
            request.metadata_mut().insert_bin("x-bin", binary);
            let response = client.ask(request).await.unwrap();
            assert_eq!(response.metadata().get("x-plain").unwrap(), "some text");
            let binary = response.metadata().get_bin("x-bin").unwrap();
            assert_eq!(binary.to_bytes().unwrap(), b"\x00\x01\xff"[..]);
            assert_eq!(*response.get_ref(), format!("you said {n}"));
        }
    });
}

#[test]
fn errors_come_as_they_are() {
    block_on(async {
        let (_rig, mut client, _) = start().await;
        let status = client.ask(Request::new("fail".into())).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "not today: ünmöglich\n");
        let details = status.metadata().get_bin("why-bin").unwrap();
        assert_eq!(details.to_bytes().unwrap(), b"\x00\xff"[..]);
        let status = client.down("none").await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let path = "/test.Talk/Nothing".parse().unwrap();
        client.0.ready().await.unwrap();
        let none = client
            .0
            .unary(Request::new(String::new()), path, Plain)
            .await;
        assert_eq!(none.unwrap_err().code(), Code::Unimplemented);
    });
}

#[test]
fn a_server_streams() {
    block_on(async {
        let (_rig, mut client, _) = start().await;
        for most in [0, 1, 10_000] {
            let numbers = client.down(&most.to_string()).await.unwrap();
            let numbers: Vec<String> = numbers.map(|n| n.unwrap()).collect().await;
            let expected: Vec<String> = (0..most).map(|n: u32| n.to_string()).collect();
            assert_eq!(numbers, expected);
        }
        // An error after messages is in the trailers.
        let answers: Vec<_> = client.down("13").await.unwrap().collect().await;
        assert_eq!(answers.len(), 14);
        let last = answers[13].as_ref().unwrap_err();
        assert_eq!((last.code(), last.message()), (Code::Aborted, "unlucky"));
    });
}

#[test]
fn a_client_streams() {
    block_on(async {
        let (_rig, mut client, _) = start().await;
        let parts = stream::iter((0..500).map(|n| format!("{n},")));
        client.0.ready().await.unwrap();
        let path = "/test.Talk/Up".parse().unwrap();
        let all = client
            .0
            .client_streaming(Request::new(parts), path, Plain)
            .await;
        let expected: String = (0..500).map(|n| format!("{n},")).collect();
        assert_eq!(*all.unwrap().get_ref(), expected);
    });
}

/// Each answer comes before the next question is asked.
#[test]
fn both_sides_stream_in_turn() {
    block_on(async {
        let (_rig, mut client, _) = start().await;
        let (ask, asked) = mpsc::channel::<String>(1);
        let questions = stream::unfold(asked, |mut asked| async move {
            asked.recv().await.map(|text| (text, asked))
        });
        client.0.ready().await.unwrap();
        let path = "/test.Talk/Both".parse().unwrap();
        let answers = client
            .0
            .streaming(Request::new(questions), path, Plain)
            .await;
        let mut answers = answers.unwrap().into_inner();
        for n in 0..50 {
            ask.send(format!("question {n}")).await.unwrap();
            let answer = answers.message().await.unwrap().unwrap();
            assert_eq!(answer, format!("QUESTION {n}"));
        }
        drop(ask);
        assert_eq!(answers.message().await.unwrap(), None);
    });
}

/// The server hears of the deadline, and that the client has given up.
#[test]
fn a_deadline_ends_the_call_on_both_sides() {
    block_on(async {
        let (_rig, mut client, waiting) = start().await;
        let mut request = Request::new("wait".to_owned());
        request.set_timeout(Duration::from_secs(3));
        let asked = tokio::spawn(async move { (client.ask(request).await, client) });
        while waiting.load(Ordering::SeqCst) == 0 {
            assert!(!asked.is_finished(), "it has not come to the server");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (answer, mut client) = asked.await.unwrap();
        let code = answer.unwrap_err().code();
        assert!(
            matches!(code, Code::Cancelled | Code::DeadlineExceeded),
            "{code:?}"
        );
        while waiting.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let after = client.ask(Request::new("x".into())).await;
        assert_eq!(*after.unwrap().get_ref(), "you said x");
    });
}

/// No endpoint, nobody at its address, and no route.
#[test]
fn without_a_server_it_is_unavailable() {
    block_on(async {
        for endpoints in [vec![], vec![super::rig::Endpoint::nobody()]] {
            let mut plan = Plan::to(&endpoints);
            plan.protocol = UpstreamProtocol::H2c;
            let rig = plan.start();
            let mut client = Client::connect(&rig).await;
            let status = client.ask(Request::new("x".into())).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
        let rig = Plan::default().start();
        rig.table.store(Arc::default());
        let mut client = Client::connect(&rig).await;
        let status = client.ask(Request::new("x".into())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    });
}
