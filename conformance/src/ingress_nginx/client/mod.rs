// SPDX-License-Identifier: Apache-2.0
//! Asks a proxy: HTTP/1.1 byte by byte, TLS, and HTTP/2.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::certificates::Certificates;
use super::request::Request;

mod trust;

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// 0 if there was none.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Why there was none, for people.
    pub error: Option<String>,
}

/// Where to, and as who.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// The proxy's address.
    pub proxy: IpAddr,
    /// The client's.
    pub client: IpAddr,
    /// For TLS.
    pub certificates: &'a Certificates,
    /// The name that TLS asks for.
    pub name: &'a str,
}

/// A request's head, names as they are written.
#[derive(Debug, Clone)]
pub struct Head {
    /// Method.
    pub method: String,
    /// Path and query, as they are sent.
    pub path: String,
    /// All headers, Host too.
    pub headers: Vec<(String, String)>,
}

impl Answer {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        found.next().map(|(_, value)| &**value)
    }
}

/// Asks once, on a connection of its own.
#[must_use]
pub fn ask(way: Way<'_>, request: &Request, head: &Head) -> Answer {
    let asked = match (request.https, request.http2) {
        (_, true) => http2(way, request, head),
        (true, false) => tls(way, request).and_then(|stream| http1(stream, request, head)),
        (false, false) => connect(way, 80).and_then(|stream| http1(stream, request, head)),
    };
    asked.unwrap_or_else(|error| Answer {
        error: Some(format!("{error:#}")),
        ..Answer::default()
    })
}

fn connect(way: Way<'_>, port: u16) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(way.client, 0).into())?;
    socket.connect(&SocketAddr::new(way.proxy, port).into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn tls(way: Way<'_>, request: &Request) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = Arc::new(trust::config(way.certificates, request)?);
    let name = ServerName::try_from(way.name.to_owned())?;
    let mut stream = StreamOwned::new(ClientConnection::new(config, name)?, connect(way, 443)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn http1(mut stream: impl Read + Write, request: &Request, head: &Head) -> Result<Answer> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", head.method, head.path).into_bytes();
    for (name, value) in &head.headers {
        write!(bytes, "{name}: {value}\r\n")?;
    }
    let body = request.bytes();
    match (&body, request.chunked) {
        (Some(_), true) => bytes.extend(b"Transfer-Encoding: chunked\r\n"),
        (Some(body), false) => write!(bytes, "Content-Length: {}\r\n", body.len())?,
        (None, _) => {}
    }
    bytes.extend(b"\r\n");
    match (body, request.chunked) {
        (Some(body), true) => {
            for part in body.chunks(4096) {
                write!(bytes, "{:x}\r\n", part.len())?;
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
        (Some(body), false) => bytes.extend(body),
        (None, _) => {}
    }
    // What a proxy does not want to read any more, it may answer all the same.
    let sent = stream.write_all(&bytes).and_then(|()| stream.flush());
    match (read(&mut stream, head.method == "HEAD"), sent) {
        (Ok(answer), _) => Ok(answer),
        (Err(error), Ok(())) => Err(error),
        (Err(_), Err(error)) => Err(error.into()),
    }
}

fn read(stream: &mut impl Read, bodiless: bool) -> Result<Answer> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        more(stream, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let mut answer = Answer {
        status: status.context("no status")?.parse()?,
        ..Answer::default()
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let pair = (name.to_ascii_lowercase(), value.trim().to_owned());
        answer.headers.push(pair);
    }
    let mut rest = bytes.split_off(end + 4);
    if answer.status == 100 {
        bail!("100 Continue was not asked for");
    }
    if bodiless || matches!(answer.status, 204 | 304) {
        return Ok(answer);
    }
    answer.body = match (
        answer.header("content-length"),
        answer.header("transfer-encoding"),
    ) {
        (_, Some(_)) => chunks(stream, rest)?,
        (Some(length), None) => {
            let length = length.parse()?;
            while rest.len() < length {
                more(stream, &mut rest)?;
            }
            rest.truncate(length);
            rest
        }
        (None, None) => {
            while more(stream, &mut rest).is_ok() {}
            rest
        }
    };
    Ok(answer)
}

fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Result<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer)? {
        0 => bail!("closed"),
        count => bytes.extend(&buffer[..count]),
    }
    Ok(())
}

fn chunks(stream: &mut impl Read, mut rest: Vec<u8>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            match rest.windows(2).position(|part| part == b"\r\n") {
                Some(end) => break end,
                None => more(stream, &mut rest)?,
            }
        };
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end])?.trim(), 16)?;
        while rest.len() < end + 2 + length + 2 {
            more(stream, &mut rest)?;
        }
        body.extend(&rest[end + 2..end + 2 + length]);
        rest.drain(..end + 2 + length + 2);
        if length == 0 {
            return Ok(body);
        }
    }
}

fn http2(way: Way<'_>, request: &Request, head: &Head) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let config: ClientConfig = trust::config(way.certificates, request)?;
    let stream = connect(way, 443)?;
    let name = ServerName::try_from(way.name.to_owned())?;
    let host = head.headers.iter().find(|(name, _)| name == "Host");
    let host = host.map_or(way.name, |(_, host)| host);
    let mut asked = http::Request::builder()
        .method(&*head.method)
        .uri(format!("https://{host}{}", head.path));
    for (name, value) in head.headers.iter().filter(|(name, _)| name != "Host") {
        if !name.eq_ignore_ascii_case("connection") {
            asked = asked.header(name, value);
        }
    }
    let asked = asked.body(Full::new(Bytes::from(request.bytes().unwrap_or_default())))?;
    let talk = async move {
        stream.set_nonblocking(true)?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await?;
        tokio::spawn(async move { drop(connection.await) });
        let (head, body) = sender.send_request(asked).await?.into_parts();
        let collected = body.collect().await?;
        let headers = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        Ok(Answer {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: collected.to_bytes().to_vec(),
            error: None,
        })
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, talk).await })?
}
