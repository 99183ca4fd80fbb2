// SPDX-License-Identifier: Apache-2.0
//! Who may come in by address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses that may come in and that may not. The default lets everybody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Who may, and nobody else; empty for everybody.
    pub allow: Vec<IpNet>,
    /// Who may not; asked first.
    pub deny: Vec<IpNet>,
}

/// What one way to keep somebody out says of a request, as nginx's `satisfy` combines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// Let in.
    Granted,
    /// Kept out.
    Refused,
    /// Nothing.
    Silent,
}

impl Access {
    /// What the lists say of an address, in nginx's order: `deny` before `allow`, and whoever is in
    /// neither is kept out if there is somebody who may.
    pub fn of(&self, address: IpAddr) -> Ruling {
        let address = address.to_canonical();
        let within = |list: &[IpNet]| list.iter().any(|net| net.contains(&address));
        if within(&self.deny) {
            Ruling::Refused
        } else if self.allow.is_empty() {
            Ruling::Silent
        } else if within(&self.allow) {
            Ruling::Granted
        } else {
            Ruling::Refused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(text: &str) -> Vec<IpNet> {
        text.split_whitespace()
            .map(|net| net.parse().expect("a network"))
            .collect()
    }

    #[test]
    fn deny_goes_before_allow_and_silence_is_neither() {
        use Ruling::{Granted, Refused, Silent};
        for (allow, deny, address, expected) in [
            ("", "", "192.0.2.1", Silent),
            ("192.0.2.0/24", "", "192.0.2.1", Granted),
            ("192.0.2.0/24", "", "198.51.100.1", Refused),
            ("192.0.2.0/24", "", "::ffff:192.0.2.1", Granted),
            ("", "192.0.2.0/24", "192.0.2.1", Refused),
            ("", "192.0.2.0/24", "198.51.100.1", Silent),
            ("192.0.2.0/24", "192.0.2.1/32", "192.0.2.1", Refused),
            ("192.0.2.0/24", "192.0.2.1/32", "192.0.2.2", Granted),
            ("2001:db8::/32", "", "2001:db8::1", Granted),
            ("2001:db8::/32", "", "192.0.2.1", Refused),
            ("10.1.2.3/8", "", "10.9.9.9", Granted),
        ] {
            let access = Access {
                allow: nets(allow),
                deny: nets(deny),
            };
            let address = address.parse().expect("an address");
            assert_eq!(access.of(address), expected, "{allow} {deny} {address}");
        }
    }
}
