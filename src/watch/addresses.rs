// SPDX-License-Identifier: Apache-2.0
//! The addresses of this network namespace's interfaces, over rtnetlink.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc::Sender;
use tracing::warn;

use super::Error;
use crate::model::Event;

/// The link that IPVS mode, kube-proxy's too, binds Services' addresses to. What is also bound
/// elsewhere is the node's own.
const SERVICES: &str = "kube-ipvs0";
/// When to open the socket again after it has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The addresses of all interfaces, in order, without loopback and IPv6 link-local ones, which mean
/// nothing without their interface, and without those of `kube-ipvs0`, which are Services'. IPv4 link-local ones stay, as in kube-proxy (`isValidForSet`).
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// If rtnetlink can't be reached or refuses.
pub async fn list() -> Result<Vec<IpAddr>, Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|e| Error::Addresses(e.to_string()))?;
    let connection = tokio::spawn(connection);
    let addresses = dump(&handle, services()).await;
    connection.abort();
    addresses
}

/// Sends [`Event::LocalAddresses`] now and at each change, until nobody receives events any more.
/// Changes that come together make one event.
pub async fn run(events: Sender<Event>) {
    let mut last = None;
    loop {
        tokio::select! {
            () = events.closed() => return,
            result = follow(&events, &mut last) => match result {
                Ok(()) => return,
                Err(error) => warn!("{error}"),
            },
        }
        // Queues overflow and sockets fail; what was missed meanwhile is in the next dump.
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(events: &Sender<Event>, last: &mut Option<Vec<IpAddr>>) -> Result<(), Error> {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups)
        .map_err(|e| Error::Addresses(e.to_string()))?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    loop {
        let services = services();
        let now = dump(&handle, services).await?;
        if last.as_ref() != Some(&now) {
            *last = Some(now.clone());
            if events.send(Event::LocalAddresses(now)).await.is_err() {
                return Ok(());
            }
        }
        loop {
            let Some((message, _)) = messages.next().await else {
                return Err(Error::Addresses("the socket was closed".into()));
            };
            let mut concerned = concerns(&message, services);
            while let Some(Some((more, _))) = messages.next().now_or_never() {
                concerned |= concerns(&more, services);
            }
            if concerned {
                break;
            }
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The index of the link with Services' addresses, if it is there.
fn services() -> Option<u32> {
    nix::net::if_::if_nametoindex(SERVICES).ok()
}

async fn dump(handle: &Handle, services: Option<u32>) -> Result<Vec<IpAddr>, Error> {
    let messages = handle.address().get().execute();
    let addresses: BTreeSet<IpAddr> = messages
        .try_filter_map(async |message| Ok(relevant(&message, services)))
        .try_collect()
        .await
        .map_err(|e| Error::Addresses(e.to_string()))?;
    Ok(addresses.into_iter().collect())
}

/// Pods come and go with link-local addresses on their interfaces, which change nothing; Services
/// with addresses on a link of their own.
fn concerns(message: &NetlinkMessage<RouteNetlinkMessage>, services: Option<u32>) -> bool {
    match &message.payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address),
        ) => relevant(address, services).is_some(),
        _ => true,
    }
}

/// On a point-to-point link `IFA_ADDRESS` is the other end's, `IFA_LOCAL` ours; IPv6 often has only
/// the former (linux/if_addr.h).
fn relevant(message: &AddressMessage, services: Option<u32>) -> Option<IpAddr> {
    if Some(message.header.index) == services {
        return None;
    }
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let ip = local.or(address)?;
    let link_local = matches!(ip, IpAddr::V6(a) if a.is_unicast_link_local());
    (!ip.is_loopback() && !ip.is_unspecified() && !link_local).then_some(ip)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::backend::testing::in_namespace;

    fn message(attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.attributes = attributes;
        message
    }

    #[test]
    fn which_addresses_count() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let one = |text| relevant(&message(vec![AddressAttribute::Address(ip(text))]), None);
        assert_eq!(one("192.0.2.1"), Some(ip("192.0.2.1")));
        assert_eq!(one("2001:db8::1"), Some(ip("2001:db8::1")));
        assert_eq!(one("169.254.20.10"), Some(ip("169.254.20.10")));
        for none in ["127.0.0.1", "127.8.0.1", "::1", "fe80::1"] {
            assert_eq!(one(none), None, "{none}");
        }
        let peer = AddressAttribute::Address(ip("192.0.2.9"));
        let own = AddressAttribute::Local(ip("192.0.2.1"));
        assert_eq!(
            relevant(&message(vec![peer, own]), None),
            Some(ip("192.0.2.1"))
        );
        assert_eq!(relevant(&message(vec![]), None), None);
    }

    #[tokio::test]
    async fn the_first_event_is_the_list() {
        let (events, mut received) = tokio::sync::mpsc::channel(4);
        let task = tokio::spawn(run(events));
        let first = received.recv().await;
        assert_eq!(
            first,
            Some(Event::LocalAddresses(list().await.expect("a list")))
        );
        drop(received);
        task.await.expect("ends when nobody listens");
    }

    fn set(arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.expect("ip runs").success(), "ip {arguments}");
    }

    /// Runs with a network namespace that has `lo` and the pair `ours` and `theirs`.
    fn with_links(body: impl Future<Output = ()> + Send + 'static) {
        in_namespace(|| {
            set("link set lo up");
            set("link add ours type veth peer name theirs");
            set("link set theirs up");
            set("link set ours up");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(body);
        });
    }

    #[test]
    fn tentative_addresses_count_and_each_once() {
        with_links(async {
            set("address add 2001:db8::1/64 dev ours");
            set("address add 192.0.2.1 peer 192.0.2.2 dev ours");
            set("address add 192.0.2.1/24 dev theirs");
            let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
            let expected = [ip("192.0.2.1"), ip("2001:db8::1")];
            assert_eq!(list().await.expect("a list"), expected);
        });
    }

    /// Whatever kind of link has that name.
    #[test]
    fn addresses_of_services_do_not_count() {
        with_links(async {
            let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
            let (events, mut received) = tokio::sync::mpsc::channel(8);
            tokio::spawn(run(events));
            let none = Some(Event::LocalAddresses(vec![]));
            assert_eq!(received.recv().await, none);
            set("link set theirs down");
            set("link set theirs name kube-ipvs0");
            set("address add 192.0.2.1/32 dev kube-ipvs0");
            set("address add 192.0.2.2/32 dev kube-ipvs0");
            set("address add 192.0.2.2/32 dev ours");
            let own = vec![ip("192.0.2.2")];
            assert_eq!(list().await.expect("a list"), own);
            assert_eq!(received.recv().await, Some(Event::LocalAddresses(own)));
        });
    }

    #[test]
    fn addresses_come_and_go() {
        with_links(async {
            let (events, mut received) = tokio::sync::mpsc::channel(8);
            tokio::spawn(run(events));
            let none = Some(Event::LocalAddresses(vec![]));
            assert_eq!(received.recv().await, none);
            set("address add 192.0.2.7/32 dev ours");
            let one = vec!["192.0.2.7".parse().expect("an address")];
            assert_eq!(received.recv().await, Some(Event::LocalAddresses(one)));
            set("address del 192.0.2.7/32 dev ours");
            assert_eq!(received.recv().await, none);
        });
    }
}
