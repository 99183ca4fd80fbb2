// SPDX-License-Identifier: Apache-2.0
//! The addresses of this host's interfaces, from the kernel.

use std::io;
use std::net::IpAddr;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::mpsc::Sender;

use crate::model::Event;

/// Why the kernel does not tell its addresses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket can't be opened, or ended.
    #[error("route netlink socket")]
    Socket(#[source] io::Error),
    /// The kernel refused to list them.
    #[error("listing addresses")]
    List(#[source] rtnetlink::Error),
}

/// The addresses at present.
///
/// # Errors
/// If the kernel can't be asked.
pub async fn list() -> Result<Vec<IpAddr>, Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Socket)?;
    tokio::spawn(connection);
    read(&handle).await
}

/// Sends the addresses whenever they have changed, until nobody listens.
///
/// # Errors
/// If the kernel can't be asked any more.
pub async fn run(events: Sender<Event>) -> Result<(), Error> {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut news) =
        new_multicast_connection(&groups).map_err(Error::Socket)?;
    tokio::spawn(connection);
    loop {
        let addresses = read(&handle).await?;
        if events.send(Event::LocalAddresses(addresses)).await.is_err() {
            return Ok(());
        }
        if news.next().await.is_none() {
            return Err(Error::Socket(io::ErrorKind::UnexpectedEof.into()));
        }
        // One listing answers all that has happened by now.
        while let Some(Some(_)) = news.next().now_or_never() {}
    }
}

/// All but loopback and IPv6 link-local ones: those can't be told apart by address alone.
async fn read(handle: &Handle) -> Result<Vec<IpAddr>, Error> {
    let messages: Vec<AddressMessage> = handle
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(Error::List)?;
    let link_local = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
    let addresses = messages.iter().filter_map(address);
    Ok(addresses
        .filter(|a| !a.is_loopback() && !link_local(a))
        .collect())
}

/// The own address; of a point-to-point link the other one is the peer's.
fn address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::backend::testing::in_namespace;

    fn ip(arguments: &str) {
        let status = Command::new("ip")
            .args(arguments.split(' '))
            .status()
            .expect("ip runs");
        assert!(status.success(), "ip {arguments}");
    }

    #[test]
    fn addresses_come_and_go() {
        in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                ip("link set lo up");
                let (sender, mut events) = tokio::sync::mpsc::channel(8);
                tokio::spawn(run(sender));
                let none = Event::LocalAddresses(vec![]);
                assert_eq!(events.recv().await, Some(none.clone()), "no loopback");
                ip("address add 192.0.2.7/32 dev lo");
                let one = Event::LocalAddresses(vec!["192.0.2.7".parse().expect("an address")]);
                assert_eq!(events.recv().await, Some(one));
                ip("address del 192.0.2.7/32 dev lo");
                assert_eq!(events.recv().await, Some(none));
            });
        });
    }
}
