// SPDX-License-Identifier: Apache-2.0
//! The addresses of this host's interfaces, which NodePorts may be served on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

use crate::model::Event;

/// Interfaces come up with several addresses, and IPv6 ones change twice before they settle: wait
/// so long for more before looking.
const COALESCE: Duration = Duration::from_millis(100);
/// Between attempts, if the kernel can't be asked.
const RETRY: Duration = Duration::from_secs(5);
/// The source in reports.
const NAME: &str = "local addresses";

/// Why the kernel could not be asked for addresses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("netlink socket for addresses")]
    Socket(#[from] std::io::Error),
    /// The kernel refused, or the socket failed.
    #[error("netlink dump of addresses")]
    Dump(#[from] rtnetlink::Error),
    /// The connection to the kernel ended.
    #[error("netlink socket for addresses closed")]
    Closed,
}

/// The addresses of all interfaces of this network namespace, each once and in order, without
/// loopback and IPv6 link-local ones. Tentative IPv6 addresses count, and IPv4 link-local ones do:
/// kube-proxy leaves out the same (`isValidForSet` of its IPVS mode; its nftables mode leaves out
/// only loopback, but an IPv6 link-local address without its interface means nothing).
///
/// # Errors
///
/// See [`Error`].
pub async fn list() -> Result<Vec<IpAddr>, Error> {
    let (connection, handle, _messages) = new_connection()?;
    tokio::select! {
        addresses = dump(&handle) => addresses,
        () = connection => Err(Error::Closed),
    }
}

/// Sends [`Event::LocalAddresses`] at first and on each change. Errors are sent as
/// [`Event::Source`], and then it tries again. Ends only when `events` is closed.
pub async fn run(events: Sender<Event>) {
    let mut sent = None;
    let mut trouble = None;
    loop {
        let error = tokio::select! {
            () = events.closed() => return,
            Err(error) = follow(&events, &mut sent, &mut trouble) => error,
        };
        let reason = super::client::one_line(&error);
        if trouble.as_ref() != Some(&reason) {
            trouble = Some(reason.clone());
            report(&events, reason).await;
        }
        sleep(RETRY).await;
    }
}

async fn report(events: &Sender<Event>, reason: String) {
    let name = NAME.to_owned();
    // Whether anyone receives is looked at elsewhere.
    let _ = events.send(Event::Source { name, reason }).await;
}

/// Sends the addresses for as long as the kernel tells of changes.
async fn follow(
    events: &Sender<Event>,
    sent: &mut Option<Vec<IpAddr>>,
    trouble: &mut Option<String>,
) -> Result<std::convert::Infallible, Error> {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut changes) = new_multicast_connection(&groups)?;
    let work = async {
        loop {
            // What changes during the dump is announced after it, so none of it is missed.
            let found = dump(&handle).await?;
            if trouble.take().is_some() {
                report(events, String::new()).await;
            }
            if sent.as_ref() != Some(&found) {
                *sent = Some(found.clone());
                let _ = events.send(Event::LocalAddresses(found)).await;
            }
            // Any message will do, and one that says that messages were lost as well.
            changes.next().await.ok_or(Error::Closed)?;
            sleep(COALESCE).await;
            while changes.try_recv().is_ok() {}
        }
    };
    tokio::select! {
        result = work => result,
        () = connection => Err(Error::Closed),
    }
}

async fn dump(handle: &Handle) -> Result<Vec<IpAddr>, Error> {
    let mut found = BTreeSet::new();
    let mut messages = std::pin::pin!(handle.address().get().execute());
    while let Some(message) = messages.try_next().await? {
        found.extend(own_address(&message).filter(counts));
    }
    Ok(found.into_iter().collect())
}

/// The interface's own address: on a point-to-point link the other attribute is the peer's.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let attributes = || message.attributes.iter();
    let local = attributes().find_map(|a| match a {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes().find_map(|a| match a {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn counts(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !a.is_loopback(),
        IpAddr::V6(a) => !a.is_loopback() && !a.is_unicast_link_local(),
    }
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

    #[test]
    fn own_addresses_count_even_tentative_ones_but_no_link_local_ipv6() {
        in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                ip("link set lo up");
                ip("link add ours type veth peer name theirs");
                ip("link set theirs up");
                ip("link set ours up");
                ip("address add 2001:db8::1/64 dev ours");
                ip("address add fe80::1/64 dev ours nodad");
                ip("address add 169.254.0.9/16 dev ours");
                ip("address add 192.0.2.1 peer 192.0.2.2 dev ours");
                ip("address add 192.0.2.1/24 dev theirs");
                let found: Vec<String> = list()
                    .await
                    .expect("a list")
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                assert_eq!(found, ["169.254.0.9", "192.0.2.1", "2001:db8::1"]);
            });
        });
    }
}
