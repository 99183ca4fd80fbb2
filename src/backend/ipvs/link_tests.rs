// SPDX-License-Identifier: Apache-2.0
//! Addresses are tried on loopback, which every namespace has; the dummy link itself where the
//! kernel has one, in the guest of `make test-ipvs`.

use std::process::Command;

use super::*;
use crate::backend::testing::in_namespace;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn run(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip").success(), "ip {arguments}");
}

/// What `ip` and the kernel's files tell: the second opinion.
fn routes_local(address: &str) -> bool {
    let version = if address.contains(':') { "-6" } else { "-4" };
    let output = Command::new("ip")
        .args([version, "route", "get", address])
        .output();
    let text = String::from_utf8(output.expect("ip").stdout).unwrap();
    text.starts_with("local ")
}

/// Stands in for the dummy link.
fn loopback() -> Link {
    Link {
        name: "lo",
        ..Link::open().unwrap()
    }
}

#[test]
fn nothing_is_done_without_the_link() {
    in_namespace(|| {
        let mut link = Link::open().unwrap();
        assert!(!link.exists().unwrap());
        assert_eq!(link.bound().unwrap(), BTreeSet::new());
        link.bind(&[]).unwrap();
        link.unbind(&[ip("192.0.2.1")]).unwrap();
        assert!(!link.remove().unwrap());
        assert!(!link.exists().unwrap());
    });
}

#[test]
fn addresses_come_and_go() {
    in_namespace(|| {
        run("link set lo up");
        run("link add other type veth peer name another");
        run("address add 192.0.2.77/24 dev other");
        let mut link = loopback();
        let before = link.bound().unwrap();
        let two = [ip("192.0.2.1"), ip("2001:db8::1")];
        link.bind(&two).unwrap();
        link.bind(&two).unwrap();
        let now = link.bound().unwrap();
        assert!(now.is_superset(&before) && now.len() == before.len() + 2);
        let elsewhere = link.elsewhere().unwrap();
        assert!(elsewhere.contains(&ip("192.0.2.77")));
        assert!(two.iter().all(|ip| !elsewhere.contains(ip)));
        for address in ["192.0.2.1", "2001:db8::1"] {
            assert!(routes_local(address), "{address}");
        }
        link.unbind(&two).unwrap();
        link.unbind(&two).unwrap();
        assert_eq!(link.bound().unwrap(), before);
    });
}

#[test]
fn what_is_refused_is_named_and_the_rest_is_done() {
    in_namespace(|| {
        run("link set lo up");
        let mut link = loopback();
        let refused = [ip("2001:db8::1"), ip("ff02::1"), ip("::"), ip("192.0.2.1")];
        let error = link.bind(&refused).unwrap_err().to_string();
        assert!(error.starts_with("bind address ff02::1 on lo: "), "{error}");
        assert!(error.ends_with("and 1 more)"), "{error}");
        let bound = link.bound().unwrap();
        assert!(bound.contains(&ip("2001:db8::1")) && bound.contains(&ip("192.0.2.1")));
    });
}

#[test]
fn another_kind_of_link_is_not_removed() {
    in_namespace(|| {
        run("link set lo up");
        let error = loopback().remove().unwrap_err().to_string();
        assert!(error.contains("it is no dummy link"), "{error}");
    });
}

/// In several batches. The kernel compares each with all that are there: 1,000 take 0.04 s, 10,000
/// 1.2 s of its own time.
#[test]
fn thousands_of_addresses_are_bound() {
    in_namespace(|| {
        run("link set lo up");
        let mut link = loopback();
        let many: Vec<IpAddr> = (0..2_000u32)
            .map(|n| IpAddr::from((0x0a60_0001 + n).to_be_bytes()))
            .collect();
        link.bind(&many).unwrap();
        let bound = link.bound().unwrap();
        assert!(many.iter().all(|ip| bound.contains(ip)));
        link.unbind(&many).unwrap();
        let left = link.bound().unwrap();
        assert!(many.iter().all(|ip| !left.contains(ip)));
    });
}

/// Otherwise what is masqueraded might come from a Service's address.
#[test]
fn no_ipv6_address_is_preferred_as_a_source() {
    in_namespace(|| {
        run("link set lo up");
        loopback().bind(&[ip("2001:db8::1")]).unwrap();
        let show = [
            "-6",
            "-oneline",
            "address",
            "show",
            "dev",
            "lo",
            "to",
            "2001:db8::1",
        ];
        let output = Command::new("ip").args(show).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("deprecated") && text.contains("valid_lft forever"),
            "{text}"
        );
    });
}

#[test]
#[ignore = "needs a kernel with dummy links: make test-ipvs"]
fn the_link_is_kube_proxys() {
    in_namespace(|| {
        run("link set lo up");
        let mut link = Link::open().unwrap();
        match link.create() {
            Err(Error::Missing(reason)) if std::env::var_os("REQUIRE_IPVS").is_none() => {
                return eprintln!("SKIP: {reason}");
            }
            done => done.unwrap(),
        }
        link.create().unwrap();
        let output = Command::new("ip").args(["link", "show", NAME]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        assert!(text.contains("NOARP") && !text.contains("UP"), "{text}");
        let two = [ip("192.0.2.1"), ip("2001:db8::1")];
        link.bind(&two).unwrap();
        assert_eq!(link.bound().unwrap(), BTreeSet::from(two));
        for address in ["192.0.2.1", "2001:db8::1"] {
            assert!(routes_local(address), "{address}");
        }
        assert!(link.remove().unwrap());
        assert!(!link.exists().unwrap());
        link.bind(&two).unwrap();
        assert!(link.exists().unwrap(), "made when it is needed");
    });
}
