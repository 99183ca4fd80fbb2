// SPDX-License-Identifier: Apache-2.0
//! A server in this process, endpoints to hand requests on to, and a client of raw bytes.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use ferrule::ingress::route::PathType;
use ferrule::ingress::serve::{ServeOptions, Server};
use ferrule::ingress::table::{
    Backend, Balance, Route, RouteSettings, Settings, Table, Upstream, UpstreamId, UpstreamProtocol,
};
use ferrule::ingress::tls::Store;
use ferrule::model::{ServiceName, Target};

/// Nothing in these tests takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a server is started with.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) route: RouteSettings,
    pub(crate) protocol: UpstreamProtocol,
    pub(crate) balance: Balance,
    pub(crate) endpoints: Vec<SocketAddr>,
}

impl Plan {
    /// All requests for host `a.example` go to these endpoints.
    pub(crate) fn to(endpoints: &[SocketAddr]) -> Self {
        Self {
            endpoints: endpoints.to_vec(),
            ..Self::default()
        }
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table {
            settings: Arc::new(self.settings.clone()),
            defaults: Arc::new(self.route.clone()),
            ..Table::default()
        };
        let upstream = Upstream {
            id: UpstreamId {
                service: ServiceName::new("default", "web"),
                port: "80".into(),
                protocol: self.protocol,
                variant: "".into(),
            },
            endpoints: self.endpoints.iter().map(target).collect(),
            protocol: self.protocol,
            balance: self.balance.clone(),
            sessions: None,
            tls: None,
        };
        let route = |host: &str, path: &str, backend| {
            Arc::new(Route {
                ingress: ServiceName::new("default", "web"),
                host: host.into(),
                path: path.into(),
                backend,
                settings: Arc::new(self.route.clone()),
                canary: None,
            })
        };
        let mut add = |host: &str, path: &str, backend| {
            let route = route(host, path, backend);
            table.router.add(host, path, PathType::Prefix, route);
        };
        add("teapot.example", "/", Backend::Status(418));
        add("a.example", "/", Backend::Upstream(Arc::new(upstream)));
        table
    }

    pub(crate) fn start(&self) -> Rig {
        self.start_with(|_| ())
    }

    pub(crate) fn start_with(&self, change: impl FnOnce(&mut ServeOptions)) -> Rig {
        let mut options = ServeOptions {
            http: vec!["127.0.0.1:0".parse().unwrap()],
            https: vec!["127.0.0.1:0".parse().unwrap()],
            threads: 2,
            ..ServeOptions::default()
        };
        change(&mut options);
        let table = Arc::new(ArcSwap::from_pointee(self.table()));
        let store = Store::new().unwrap();
        let server = Server::start(options, table.clone(), store.clone()).unwrap();
        Rig {
            http: server.http()[0],
            https: server.https()[0],
            server,
            table,
            store,
        }
    }
}

pub(crate) fn target(address: &SocketAddr) -> Target {
    Target {
        address: address.ip(),
        port: address.port(),
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Rig {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) server: Server,
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) store: Arc<Store>,
}

impl Rig {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.http)
    }

    /// Sends bytes on a connection of their own, and reads what comes until it is closed.
    pub(crate) fn ask(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.send(bytes);
        client.answer(false)
    }

    /// An ordinary request is served.
    pub(crate) fn check(&self) {
        let answer = self.ask("GET /check HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// A connection to the server.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    rest: Vec<u8>,
}

/// A response.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// 0 if there was none.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// The value of a header in a head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim())
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// What cannot be sent because the server has closed shows in the answer.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends a request and reads its response.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer(false)
    }

    /// Reads one response; `head` if it is one without a body.
    pub(crate) fn answer(&mut self, head: bool) -> Answer {
        let Some(text) = self.until(b"\r\n\r\n") else {
            return Answer::default();
        };
        let mut answer = Answer {
            status: text[9..12].parse().unwrap(),
            head: text,
            body: String::new(),
        };
        if head || answer.status < 200 || matches!(answer.status, 204 | 304) {
            return answer;
        }
        let body = match (
            answer.header("content-length"),
            answer.header("transfer-encoding"),
        ) {
            (Some(length), _) => self.exactly(length.parse().unwrap()),
            (None, Some(_)) => self.chunks(),
            (None, None) => {
                let _ = self.stream.read_to_end(&mut self.rest);
                std::mem::take(&mut self.rest)
            }
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        answer
    }

    /// Reads up to and with a mark; None if the connection ends before.
    pub(crate) fn until(&mut self, mark: &[u8]) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            let found = self.rest.windows(mark.len()).position(|part| part == mark);
            if let Some(found) = found {
                let rest = self.rest.split_off(found + mark.len());
                let text = std::mem::replace(&mut self.rest, rest);
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
            }
        }
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = [0; 4096];
        while self.rest.len() < length {
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => panic!("the body broke off"),
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
            }
        }
        let rest = self.rest.split_off(length);
        std::mem::replace(&mut self.rest, rest)
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").expect("a chunk");
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            if length == 0 {
                // Trailers, if any, are kept as part of the body.
                while let Some(line) = self.until(b"\r\n").filter(|line| line != "\r\n") {
                    body.extend_from_slice(line.as_bytes());
                }
                return body;
            }
            body.extend(self.exactly(length));
            assert_eq!(self.exactly(2), b"\r\n");
        }
    }

    /// Whether the connection ended in order, before a byte of the last answer had come.
    pub(crate) fn ended_early(&mut self) -> bool {
        self.rest.is_empty() && matches!(self.stream.read(&mut [0]), Ok(0))
    }

    /// Whether the server has closed, or does within the time.
    pub(crate) fn closes_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// An endpoint, of a thread for each connection. What it has seen can be looked at.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

/// One connection of an endpoint.
pub(crate) struct Served {
    pub(crate) client: Client,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Served {
    /// The next request with its body, None at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<String> {
        let head = self.head()?;
        let body = match (
            header(&head, "content-length"),
            header(&head, "transfer-encoding"),
        ) {
            (Some(length), _) => self.client.exactly(length.parse().unwrap()),
            (None, Some(_)) => self.client.chunks(),
            (None, None) => Vec::new(),
        };
        Some(head + &String::from_utf8_lossy(&body))
    }

    /// The head of the next request.
    pub(crate) fn head(&mut self) -> Option<String> {
        let head = self.client.until(b"\r\n\r\n")?;
        self.requests.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Answers 200 with a body.
    pub(crate) fn answer(&mut self, body: &str) {
        let length = body.len();
        self.client.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }

    pub(crate) fn close(&self) {
        let _ = self.client.stream.shutdown(Shutdown::Both);
    }
}

impl Endpoint {
    /// Answers each request with what it has received.
    pub(crate) fn echo() -> Self {
        Self::serving(|mut served, _| {
            while let Some(request) = served.request() {
                served.answer(&request);
            }
        })
    }

    /// The same at another address of this host.
    pub(crate) fn echo_at(address: IpAddr) -> Self {
        Self::serving_at(address, |mut served, _| {
            while let Some(request) = served.request() {
                served.answer(&request);
            }
        })
    }

    /// Answers as the function does, which is told the number of the connection.
    pub(crate) fn serving(serve: impl Fn(Served, usize) + Send + Sync + 'static) -> Self {
        Self::serving_at(Ipv4Addr::LOCALHOST.into(), serve)
    }

    pub(crate) fn serving_at(
        address: IpAddr,
        serve: impl Fn(Served, usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let endpoint = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (seen, serve) = (endpoint.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let served = Served {
                    client: Client {
                        stream,
                        rest: Vec::new(),
                    },
                    requests: seen.requests.clone(),
                };
                let serve = serve.clone();
                std::thread::spawn(move || serve(served, number));
            }
        });
        endpoint
    }

    /// An address where nobody listens.
    pub(crate) fn nobody() -> SocketAddr {
        free(Ipv4Addr::LOCALHOST.into())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// An address of this host that endpoints may have, which those of loopback may not. What is sent to
/// it stays on this host.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: it only asks for a route.
    let route = socket.connect("192.0.2.1:9");
    let own = route.and_then(|()| socket.local_addr());
    let must = std::env::var_os("REQUIRE_ROOT").is_some_and(|value| value == "1");
    assert!(own.is_ok() || !must, "this host has no address: {own:?}");
    if own.is_err() {
        println!("SKIP: this host has no address");
    }
    own.ok().map(|own| own.ip())
}

/// An address where nobody listens, and no other test will: a port that kernels give to nobody who
/// asks for any (`net.ipv4.ip_local_port_range`), and a different one each time.
pub(crate) fn free(address: IpAddr) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::SeqCst);
        assert!(port < 30_000, "no port is free");
        if TcpListener::bind((address, port)).is_ok() {
            return (address, port).into();
        }
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + 2 * PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
