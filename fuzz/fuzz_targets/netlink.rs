// SPDX-License-Identifier: Apache-2.0
//! Whatever a netlink socket brings is read or refused. See fuzz/run.sh.

#![no_main]

use netlink_ipvs::IpvsMessage;
use netlink_packet_core::ParseableParametrized;
use netlink_packet_generic::GenlHeader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ferrule::backend::nft::fuzzing::check(bytes);
    if let [cmd, rest @ ..] = bytes {
        let header = GenlHeader {
            cmd: *cmd,
            version: 1,
        };
        if let Ok(message) = IpvsMessage::parse_with_param(rest, header) {
            let _ = message.service();
            let _ = message.destination(2);
        }
    }
});
