// SPDX-License-Identifier: Apache-2.0
//! TCP: connections.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Port;
use crate::ingress::idle;
use crate::ingress::serve::listen::bind;
use crate::ingress::serve::proxy_protocol;
use crate::ingress::serve::trusted;

/// Pause after a failed accept, say for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// Until an endpoint is connected, as in ingress-nginx.
const CONNECT: Duration = Duration::from_secs(5);
/// Until a load balancer has said who the client is.
const PROXY: Duration = Duration::from_secs(5);
/// The most endpoints that are tried.
const TRIES: usize = 3;

/// Accepts connections for ever; an error if the port cannot be opened.
pub(super) async fn serve(port: Rc<Port>, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::from_std(bind(address)?)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) if port.open.count() >= port.connections => {
                // At once, without a queue of connections that are closing.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            Ok((stream, peer)) => {
                let (port, counted) = (port.clone(), port.open.one());
                tokio::task::spawn_local(async move {
                    if let Err(error) = pass(&port, stream, peer).await {
                        let port = port.number;
                        tracing::debug!(port, %peer, %error, "a connection is not passed on");
                    }
                    drop(counted);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn pass(port: &Port, mut client: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let (stream, settings) = (port.stream.borrow().clone(), port.settings());
    let (mut from, mut first) = (peer, BytesMut::new());
    if stream.takes_proxy {
        let told = timeout(PROXY, proxy_protocol::read(&client, &mut first)).await??;
        from = told
            .filter(|_| trusted(&settings, peer.ip()))
            .unwrap_or(peer);
    }
    let mut endpoint = connect(port).await?;
    if stream.sends_proxy {
        let header = proxy_protocol::write(from, client.local_addr()?);
        endpoint.write_all(header.as_bytes()).await?;
    }
    endpoint.write_all(&first).await?;
    drop(first);
    idle::copy(&mut client, &mut endpoint, settings.stream_timeout).await;
    Ok(())
}

async fn connect(port: &Port) -> io::Result<TcpStream> {
    let mut last = io::Error::other("no endpoint");
    for target in port.targets().into_iter().take(TRIES) {
        let address = SocketAddr::new(target.address, target.port);
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(late) => last = late.into(),
        }
    }
    Err(last)
}
