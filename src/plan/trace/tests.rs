// SPDX-License-Identifier: Apache-2.0
//! The verdict table, walked. The same cases meet real packets in conformance/.

use super::*;
use crate::model::IpFamily;
use crate::model::fixture::ip;
use crate::plan::Options;
use crate::plan::fixture::{ipvs_options, options, plan_all, showcase};

const POD: &str = "10.244.1.9";
const HOST: &str = "192.0.2.10";
const OUTSIDE: &str = "198.51.100.9";
const STRANGER: &str = "8.8.8.8";

/// What happens to a TCP packet from there to there, as `10.244.1.5:8080 10.244.2.5:8080*`, where
/// `*` says that the source is masqueraded.
fn fate(options: &Options, source: &str, destination: &str) -> String {
    let state = showcase();
    let ruleset = plan_all(&state, options, IpFamily::V4).ruleset();
    let world = World {
        local: state.local_addresses().clone(),
        ..World::default()
    };
    let (address, port) = destination.split_once(':').expect("address:port");
    let packet = Packet {
        source: ip(source),
        destination: ip(address),
        protocol: Protocol::Tcp,
        port: port.parse().expect("a port"),
        interface: (source != HOST).then(|| "eth0".into()),
    };
    let fates = trace(&ruleset, &world, &packet);
    let name = |fate: &Fate| match fate {
        Fate::Endpoint(target, masqueraded) => {
            format!("{}{}", target.address, if *masqueraded { "*" } else { "" })
        }
        other => format!("{other:?}"),
    };
    fates.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn verdict_table() {
    let (one, two) = ("10.244.1.5", "10.244.2.5");
    let both = format!("{one} {two}");
    let hidden = format!("{one}* {two}*");
    let cases = [
        // ClusterIP
        (POD, "10.96.0.10:80", format!("{both} 10.244.2.6")),
        (HOST, "10.96.0.10:80", format!("{hidden} 10.244.2.6*")),
        (OUTSIDE, "10.96.0.10:80", format!("{hidden} 10.244.2.6*")),
        (POD, "10.96.0.10:81", "Rejected".into()),
        (POD, "10.96.7.7:80", "Dropped".into()),
        (POD, "10.96.0.50:80", "Rejected".into()),
        (one, "10.96.0.20:80", format!("{one}* {two}")),
        // internal policy Local
        (POD, "10.96.0.60:80", "Dropped".into()),
        (POD, "10.96.0.61:80", one.into()),
        // external policy Cluster
        (OUTSIDE, "192.0.2.10:30443", hidden.clone()),
        (OUTSIDE, "198.51.100.7:80", hidden.clone()),
        (STRANGER, "198.51.100.7:80", hidden.clone()),
        (POD, "192.0.2.10:30443", hidden.clone()),
        (OUTSIDE, "192.0.2.10:30099", "Untouched".into()),
        (OUTSIDE, "192.0.2.10:30050", "Rejected".into()),
        (HOST, "192.0.2.10:30050", "Untouched".into()),
        // source ranges
        (OUTSIDE, "203.0.113.30:80", hidden.clone()),
        (STRANGER, "203.0.113.30:80", "Dropped".into()),
        (POD, "203.0.113.30:80", "Dropped".into()),
        (OUTSIDE, "203.0.113.50:80", "Rejected".into()),
        (STRANGER, "203.0.113.50:80", "Dropped".into()),
        // external policy Local
        (OUTSIDE, "203.0.113.20:80", one.into()),
        (OUTSIDE, "192.0.2.10:30080", one.into()),
        (POD, "203.0.113.20:80", both.clone()),
        (HOST, "192.0.2.10:30080", hidden.clone()),
        (OUTSIDE, "203.0.113.21:80", "Dropped".into()),
        (OUTSIDE, "192.0.2.10:30081", "Dropped".into()),
        (POD, "203.0.113.21:80", two.into()),
        (HOST, "203.0.113.21:80", format!("{two}*")),
        // sticky, nothing remembered yet
        (POD, "10.96.0.40:80", both.clone()),
        (OUTSIDE, "203.0.113.40:80", one.into()),
        (OUTSIDE, "203.0.113.61:80", hidden),
        // nobody's
        (POD, "10.244.2.5:8080", "Untouched".into()),
    ];
    for (source, destination, expected) in &cases {
        let got = fate(&options(), source, destination);
        assert_eq!(got, *expected, "{source} -> {destination}");
    }
    let other_in_ipvs_mode = [
        // A virtual server without real servers says so to the host, too.
        (HOST, "192.0.2.10:30050", "Rejected"),
    ];
    for (source, destination, expected) in &cases {
        let mut other = other_in_ipvs_mode.iter();
        let other = other.find(|(s, d, _)| (s, d) == (source, destination));
        let expected = other.map_or(&**expected, |(_, _, fate)| *fate);
        let got = fate(&ipvs_options(), source, destination);
        assert_eq!(got, expected, "IPVS: {source} -> {destination}");
    }
}

#[test]
fn a_bound_address_serves_nothing_but_services() {
    let options = ipvs_options();
    for source in [POD, HOST, OUTSIDE] {
        for vip in ["10.96.0.10", "203.0.113.20", "198.51.100.7"] {
            let ssh = format!("{vip}:22");
            assert_eq!(fate(&options, source, &ssh), "Rejected", "{source} {ssh}");
        }
        assert_eq!(fate(&options, source, "192.0.2.10:22"), "Untouched");
    }
}
