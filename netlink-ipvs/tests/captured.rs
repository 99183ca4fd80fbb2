// SPDX-License-Identifier: Apache-2.0
//! Answers of a real kernel: `captured/linux-6.1.txt` says which and to what. They are
//! little-endian, as the machine that gave them.
#![cfg(target_endian = "little")]

use netlink_ipvs::{
    BigEndian, Command, Destination, DestinationAttribute, ForwardingMethod, InfoAttribute,
    IpvsAttribute, IpvsMessage, Netmask, Scheduler, Service, ServiceFlags, ServiceKey, Tunnel,
};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;

/// The messages under a title, as bytes.
fn captured(title: &str) -> Vec<Vec<u8>> {
    let lines: Vec<&str> = include_str!("captured/linux-6.1.txt").lines().collect();
    let digits = |line: &str| {
        let pairs = (0..line.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    };
    let found: Vec<_> = lines
        .windows(2)
        .filter(|pair| pair[0] == title)
        .map(|pair| digits(pair[1]))
        .collect();
    assert!(!found.is_empty(), "nothing captured as {title}");
    found
}

/// Decodes messages, and checks that they are encoded again as they were.
fn decoded(title: &str) -> Vec<IpvsMessage> {
    let decode = |bytes: Vec<u8>| {
        let message = NetlinkMessage::<GenlMessage<IpvsMessage>>::deserialize(&bytes)
            .expect("a message of the kernel");
        let mut again = vec![0; message.buffer_len()];
        message.serialize(&mut again);
        assert_eq!(again, bytes);
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => inner.into_parts().1,
            other => panic!("{other:?}"),
        }
    };
    captured(title).into_iter().map(decode).collect()
}

#[test]
fn information_and_timeouts() {
    let info = &decoded("information")[0];
    assert_eq!(info.command, Command::SetInfo);
    assert_eq!(
        info.info,
        [
            InfoAttribute::Version(0x01_02_01),
            InfoAttribute::ConnectionTableSize(4096)
        ]
    );
    let timeouts = &decoded("time-outs")[0];
    assert_eq!(timeouts.command, Command::SetConfig);
    assert_eq!(
        timeouts.attributes,
        [
            IpvsAttribute::TimeoutTcp(900),
            IpvsAttribute::TimeoutTcpFin(120),
            IpvsAttribute::TimeoutUdp(300)
        ]
    );
}

fn service(key: ServiceKey, scheduler: Scheduler, flags: u32) -> Service {
    let mut service = Service::new(key);
    service.scheduler = scheduler;
    service.flags = flags | ServiceFlags::HASHED;
    service
}

#[test]
fn services() {
    let key = |text: &str| ServiceKey::udp(text.parse().unwrap());
    let by_packet = ServiceFlags::ONE_PACKET | ServiceFlags::SCHED_2;
    let maglev = service(key("[2001:db8::1]:53"), Scheduler::MaglevHash, by_packet);
    let mut sip = service(key("192.0.2.1:5060"), Scheduler::RoundRobin, 0);
    sip.set_persistence(60);
    sip.persistence_engine = Some("sip".into());
    let web = ServiceKey::tcp("192.0.2.1:80".parse().unwrap());
    let mut web = service(web, Scheduler::WeightedLeastConnection, 0);
    web.set_persistence(300);
    web.netmask = Netmask::V4([255, 255, 255, 0].into());
    let mark = ServiceKey::Fwmark { family: 2, mark: 7 };
    let mark = service(mark, Scheduler::SourceHash, 0);
    let read: Vec<Service> = decoded("service")
        .iter()
        .map(|m| m.service().unwrap().unwrap())
        .collect();
    assert_eq!(read, [maglev, sip, web, mark]);
}

#[test]
fn destinations() {
    // The family of the service is that of no destination: the kernel names each one's own.
    let read: Vec<Destination> = decoded("destination")
        .iter()
        .map(|m| m.destination(99).unwrap().unwrap())
        .collect();
    let mut expected = [
        "[fd00::1]:5353",
        "10.0.0.2:80",
        "10.0.0.1:8080",
        "10.0.0.3:0",
    ]
    .map(|address| Destination::new(address.parse().unwrap()));
    expected
        .iter_mut()
        .for_each(|d| d.tunnel = Some(Tunnel::default()));
    expected[1].forwarding = ForwardingMethod::Tunnel;
    expected[1].tunnel = Some(Tunnel {
        kind: 1,
        port: 5555,
        flags: 0,
    });
    (
        expected[2].weight,
        expected[2].upper_threshold,
        expected[2].lower_threshold,
    ) = (3, 100, 50);
    (expected[3].weight, expected[3].forwarding) = (0, ForwardingMethod::DirectRoute);
    assert_eq!(read, expected);
}

/// Nothing of what this kernel says is unknown.
#[test]
fn no_attribute_is_left_over() {
    for message in decoded("destination") {
        let IpvsAttribute::Destination(attributes) = &message.attributes[0] else {
            panic!("{message:?}");
        };
        assert_eq!(message.attributes.len(), 1);
        assert!(
            !attributes
                .iter()
                .any(|a| matches!(a, DestinationAttribute::Other(_)))
        );
        assert!(
            attributes
                .iter()
                .any(|a| matches!(a, DestinationAttribute::Port(BigEndian(_))))
        );
    }
    let services = decoded("service");
    assert!(!format!("{services:?}").contains("Other("));
}
