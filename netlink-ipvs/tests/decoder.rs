// SPDX-License-Identifier: Apache-2.0
//! Properties of the decoder: whatever the bytes are it does not panic, and what it has read it
//! writes again as it was.

use netlink_ipvs::{Command, Destination, IpvsMessage, Scheduler, Service, ServiceKey};
use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::GenlHeader;
use proptest::prelude::*;

fn decode(command: u8, bytes: &[u8]) -> Option<IpvsMessage> {
    let header = GenlHeader {
        cmd: command,
        version: 1,
    };
    IpvsMessage::parse_with_param(bytes, header).ok()
}

fn encode(message: &IpvsMessage) -> Vec<u8> {
    let mut bytes = vec![0xaa; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// Asks for all that can be read from a message.
fn read_all(message: &IpvsMessage) {
    let _ = message.service();
    let _ = message.destination(2);
    let _ = message.destination(10);
    let _ = message.destination(99);
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((payload.len() as u16 + 4).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

prop_compose! {
    /// Attributes with plausible numbers and lengths, and sometimes with flags.
    fn attributes()(
        parts in prop::collection::vec(
            (0u16..20, prop::bool::weighted(0.05), prop_oneof![
                prop::collection::vec(any::<u8>(), 0..24),
                prop::sample::select(vec![1usize, 2, 4, 8, 16]).prop_flat_map(|n| {
                    prop::collection::vec(any::<u8>(), n)
                }),
            ]),
            0..12,
        ),
    ) -> Vec<u8> {
        let flagged = |kind: u16, flag: bool| if flag { kind | 0x8000 } else { kind };
        parts.iter().flat_map(|(kind, flag, payload)| {
            attribute(flagged(*kind, *flag), payload)
        }).collect()
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        command in 0u8..20,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Some(message) = decode(command, &bytes) {
            read_all(&message);
            prop_assert_eq!(decode(command, &encode(&message)), Some(message));
        }
    }

    /// Random bytes rarely have true lengths; these do, on both levels.
    #[test]
    fn what_is_read_is_written_again_as_it_was(
        command in 0u8..20,
        kind in 0u16..8,
        inner in attributes(),
        outer in attributes(),
    ) {
        let bytes = [attribute(kind, &inner), outer].concat();
        let message = decode(command, &bytes).expect("all lengths are true");
        read_all(&message);
        prop_assert_eq!(encode(&message), bytes);
    }

    #[test]
    fn cut_off_messages_are_survived(inner in attributes(), keep in 0.0f64..1.0) {
        let bytes = attribute(1, &inner);
        let kept = &bytes[..(bytes.len() as f64 * keep) as usize];
        if let Some(message) = decode(1, kept) {
            read_all(&message);
        }
    }

    #[test]
    fn services_come_back(
        mark in any::<Option<u32>>(),
        protocol in any::<u16>(),
        address in any::<std::net::IpAddr>(),
        port in any::<u16>(),
        scheduler in "[a-z]{1,15}",
        flags in any::<u32>(),
        timeout in any::<u32>(),
        engine in prop::option::of("[a-z]{1,15}"),
    ) {
        let address = std::net::SocketAddr::new(address, port);
        let family = if address.is_ipv4() { 2 } else { 10 };
        let key = match mark {
            Some(mark) => ServiceKey::Fwmark { family, mark },
            None => ServiceKey::Address { protocol, address },
        };
        let mut service = Service::new(key);
        service.scheduler = Scheduler::from(scheduler.as_str());
        (service.flags, service.timeout, service.persistence_engine) = (flags, timeout, engine);
        let sent = IpvsMessage::new_service(&service);
        let received = decode(Command::NewService.into(), &encode(&sent)).expect("our own message");
        prop_assert_eq!(&received, &sent);
        prop_assert_eq!(received.service().expect("has one").expect("is whole"), service);
    }

    #[test]
    fn destinations_come_back(
        address in any::<std::net::SocketAddr>(),
        method in any::<u32>(),
        weight in any::<i32>(),
        thresholds in any::<(u32, u32)>(),
    ) {
        // Scope and flow label do not travel.
        let address = std::net::SocketAddr::new(address.ip(), address.port());
        let mut destination = Destination::new(address);
        destination.forwarding = method.into();
        destination.weight = weight;
        (destination.upper_threshold, destination.lower_threshold) = thresholds;
        let key = ServiceKey::Fwmark { family: 2, mark: 1 };
        let sent = IpvsMessage::new_destination(&key, &destination);
        let received = decode(5, &encode(&sent)).expect("our own message");
        // The family of the destination itself counts, not that of the service.
        prop_assert_eq!(received.destination(2).expect("has one").expect("is whole"), destination);
    }
}
