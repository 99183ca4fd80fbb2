// SPDX-License-Identifier: Apache-2.0
//! Against the kernel, with ipvsadm as the second opinion where it is there. `make test-ipvs` runs
//! them in a guest that has IPVS; there nothing may be skipped.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use netlink_ipvs::ForwardingMethod;
use nix::libc;

use super::*;
use crate::backend::testing::{in_namespace, skip};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Runs a body in a new network namespace with IPVS. `REQUIRE_IPVS=1` forbids to skip it.
fn with_ipvs(body: impl FnOnce(&mut Ipvs) + Send + 'static) {
    in_namespace(|| match Ipvs::open() {
        Ok(mut ipvs) => {
            // Before the first address there is no table of local routes, and without that table
            // the kernel takes every IPv4 address for a broadcast one: EINVAL for real servers.
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(up.expect("ip").success());
            body(&mut ipvs);
        }
        Err(Error::Missing(reason)) => {
            assert!(std::env::var_os("REQUIRE_IPVS").is_none(), "{reason}");
            eprintln!("SKIP: {reason}");
        }
        Err(e) => panic!("{e}"),
    });
}

/// What `ipvsadm -Sn` prints. None, and it says so, if there is none.
fn ipvsadm() -> Option<String> {
    let output = match Command::new("ipvsadm").arg("-Sn").output() {
        Ok(output) => output,
        Err(e) => {
            skip(&format!("ipvsadm: {e}"));
            return None;
        }
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn done(ipvs: &mut Ipvs, changes: &[Change]) {
    let refusals = ipvs.apply(changes).unwrap();
    assert!(refusals.is_empty(), "{refusals:?}");
}

fn errnos(ipvs: &mut Ipvs, changes: &[Change]) -> Vec<(usize, i32)> {
    let refusals = ipvs.apply(changes).unwrap();
    refusals
        .iter()
        .map(|r| (r.index, r.error.errno().unwrap()))
        .collect()
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn what_is_written_is_read_back() {
    with_ipvs(|ipvs| {
        assert_eq!(ipvs.services().unwrap(), []);
        let v4 = ServiceKey::tcp(at("192.0.2.1:80"));
        let v6 = ServiceKey::udp(at("[2001:db8::1]:53"));
        let mut sticky = Service::new(v4);
        sticky.set_persistence(10_800);
        let mut each_packet = Service::new(v6);
        each_packet.scheduler = Scheduler::SourceHash;
        each_packet.flags = ServiceFlags::ONE_PACKET | ServiceFlags::SCHED_2;
        let mut heavy = Destination::new(at("10.0.0.2:8080"));
        heavy.weight = 7;
        heavy.upper_threshold = 100;
        done(
            ipvs,
            &[
                Change::AddService(sticky.clone()),
                Change::AddService(each_packet.clone()),
                Change::AddDestination(v4, Destination::new(at("10.0.0.1:8080"))),
                Change::AddDestination(v4, heavy.clone()),
                Change::AddDestination(v6, Destination::new(at("[fd00::1]:5353"))),
            ],
        );
        let mut services = ipvs.services().unwrap();
        services
            .iter_mut()
            .for_each(|s| s.flags &= !ServiceFlags::HASHED);
        services.sort_by_key(|s| s.key);
        assert_eq!(services, [sticky, each_packet]);
        let mut servers = ipvs.destinations(&v4).unwrap();
        servers.sort_by_key(|d| d.address);
        servers.iter_mut().for_each(|d| d.tunnel = None);
        assert_eq!(servers, [Destination::new(at("10.0.0.1:8080")), heavy]);
        assert_eq!(ipvs.destinations(&v6).unwrap().len(), 1);
        if let Some(text) = ipvsadm() {
            for line in [
                "-A -t 192.0.2.1:80 -s rr -p 10800",
                "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1",
                "-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 7",
                "-A -u [2001:db8::1]:53 -s sh -o -b sh-port",
                "-a -u [2001:db8::1]:53 -r [fd00::1]:5353 -m -w 1",
            ] {
                assert!(text.contains(line), "no {line:?} in\n{text}");
            }
        }
    });
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn changes_are_applied_one_by_one() {
    with_ipvs(|ipvs| {
        let key = ServiceKey::sctp(at("192.0.2.1:80"));
        let other = ServiceKey::tcp(at("192.0.2.2:80"));
        let server = Destination::new(at("10.0.0.1:80"));
        let mut strange = Service::new(other);
        strange.scheduler = Scheduler::Other("nonesuch".into());
        let refused = errnos(
            ipvs,
            &[
                Change::AddService(Service::new(key)),
                Change::AddService(Service::new(key)),
                Change::AddService(strange),
                Change::AddDestination(other, server.clone()),
                Change::EditDestination(key, server.clone()),
                Change::AddDestination(key, server.clone()),
                Change::AddDestination(key, server.clone()),
                Change::DeleteService(other),
            ],
        );
        assert_eq!(
            refused,
            [
                (1, libc::EEXIST),
                (2, libc::ENOENT),
                (3, libc::ESRCH),
                (4, libc::ENOENT),
                (6, libc::EEXIST),
                (7, libc::ESRCH),
            ]
        );
        let mut drained = server.clone();
        drained.weight = 0;
        done(ipvs, &[Change::EditDestination(key, drained)]);
        assert_eq!(ipvs.destinations(&key).unwrap()[0].weight, 0);
        done(ipvs, &[Change::DeleteDestination(key, server.clone())]);
        assert_eq!(ipvs.destinations(&key).unwrap(), []);
        let refusal = &ipvs
            .apply(&[Change::DeleteDestination(key, server)])
            .unwrap()[0];
        assert_eq!(
            refusal.error.to_string(),
            "delete real server 10.0.0.1:80 of sctp 192.0.2.1:80: \
             No such file or directory (os error 2)"
        );
        assert_eq!(ipvs.services().unwrap().len(), 1);
        assert_eq!(ipvs.destinations(&other).unwrap(), []);
    });
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn every_scheduler_is_there_and_no_other() {
    with_ipvs(|ipvs| {
        for scheduler in Scheduler::ALL {
            // Since Linux 5.13; not in every distribution.
            if *scheduler != Scheduler::PowerOfTwo {
                assert!(ipvs.has_scheduler(scheduler).unwrap(), "{scheduler}");
            }
        }
        let none = Scheduler::Other("nonesuch".into());
        assert!(!ipvs.has_scheduler(&none).unwrap());
        assert_eq!(ipvs.services().unwrap(), []);
    });
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn timeouts_of_nought_stay() {
    with_ipvs(|ipvs| {
        let before = ipvs.timeouts().unwrap();
        assert_eq!((before.tcp, before.tcp_fin, before.udp), (900, 120, 300));
        let udp = Timeouts {
            udp: 17,
            ..Timeouts::default()
        };
        ipvs.set_timeouts(udp).unwrap();
        assert_eq!(ipvs.timeouts().unwrap(), Timeouts { udp: 17, ..before });
        let endless = Timeouts {
            tcp: u32::MAX,
            ..Timeouts::default()
        };
        let refused = ipvs.set_timeouts(endless).unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EINVAL));
    });
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn virtual_servers_of_others_are_read() {
    with_ipvs(|ipvs| {
        let run = |line: &str| Command::new("ipvsadm").args(line.split(' ')).status();
        match run("-A -f 7 -s wlc -p 60 -M 255.255.255.0") {
            Ok(status) => assert!(status.success()),
            Err(e) => return skip(&format!("ipvsadm: {e}")),
        }
        for line in [
            "-a -f 7 -r 10.0.0.1 -i --tun-type gue --tun-port 5555",
            "-a -f 7 -r 10.0.0.2 -g",
        ] {
            assert!(run(line).unwrap().success(), "{line}");
        }
        let service = &ipvs.services().unwrap()[0];
        assert_eq!(service.key, ServiceKey::Fwmark { family: 2, mark: 7 });
        assert_eq!(service.netmask, Netmask::V4([255, 255, 255, 0].into()));
        assert_eq!(service.scheduler, Scheduler::WeightedLeastConnection);
        let mut servers = ipvs.destinations(&service.key).unwrap();
        servers.sort_by_key(|d| d.address);
        assert_eq!(servers[0].forwarding, ForwardingMethod::Tunnel);
        assert_eq!(servers[0].tunnel.map(|t| (t.kind, t.port)), Some((1, 5555)));
        assert_eq!(servers[1].forwarding, ForwardingMethod::DirectRoute);
    });
}

#[test]
fn what_one_list_leaves_out_another_has() {
    let service = |port: &u16| Service::new(ServiceKey::tcp(at(&format!("192.0.2.1:{port}"))));
    // The ports of each list, and how many lists it takes.
    let both: &[u16] = &[1, 2];
    let disturbed = [&[1_u16][..], &[2]].repeat(READS);
    let cases: [(Vec<&[u16]>, usize); 4] = [
        (vec![both; AGREE], AGREE),
        (
            [&[both, &[2, 3]], &[&[1, 2, 3][..]; AGREE][..]].concat(),
            AGREE + 2,
        ),
        (
            [&[&[1, 1, 2], &[2][..]], &[both; AGREE][..]].concat(),
            AGREE + 2,
        ),
        (disturbed, READS),
    ];
    for (lists, wanted) in cases {
        let mut asked = 0;
        let all = whole(|| {
            asked += 1;
            Ok(lists[asked - 1].iter().map(service).collect())
        });
        let mut keys: Vec<_> = all.unwrap().iter().map(|s| s.key).collect();
        keys.sort();
        let mut expected: Vec<_> = lists[..wanted]
            .concat()
            .iter()
            .map(|p| service(p).key)
            .collect();
        expected.sort();
        expected.dedup();
        assert_eq!((asked, keys), (wanted, expected), "{lists:?}");
    }
    assert!(whole(|| Err(Error::Interrupted)).is_err());
}

/// Virtual servers of other network namespaces are in the same lists of the kernel.
#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn others_do_not_disturb_a_list() {
    with_ipvs(|ipvs| {
        let services = |ports: std::ops::Range<u16>| {
            let at = |port| SocketAddr::new([192, 0, 2, 1].into(), port);
            ports.map(move |port| Service::new(ServiceKey::tcp(at(port))))
        };
        // A part of a list holds some 150.
        let adds: Vec<_> = services(1..500).map(Change::AddService).collect();
        done(ipvs, &adds);
        let stop = AtomicBool::new(false);
        let churn = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let mut others = Ipvs::open().unwrap();
            while !stop.load(Ordering::Relaxed) {
                for service in services(1..20) {
                    let key = service.key;
                    done(&mut others, &[Change::AddService(service)]);
                    done(&mut others, &[Change::DeleteService(key)]);
                }
            }
        };
        let lists = std::thread::scope(|scope| {
            scope.spawn(churn);
            let lists: Vec<_> = (0..3).map(|_| ipvs.services()).collect();
            stop.store(true, Ordering::Relaxed);
            lists
        });
        let counts: Vec<_> = lists.into_iter().map(|l| l.unwrap().len()).collect();
        assert_eq!(counts, [499; 3]);
    });
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn thousands_of_changes_go_through() {
    with_ipvs(|ipvs| {
        let key = |n: u16| ServiceKey::tcp(SocketAddr::new([192, 0, 2, 1].into(), n));
        let adds: Vec<Change> = (1..=2_500)
            .map(|n| Change::AddService(Service::new(key(n))))
            .collect();
        done(ipvs, &adds);
        assert_eq!(ipvs.services().unwrap().len(), 2_500);
        let again = ipvs.apply(&adds).unwrap();
        assert!(again.iter().map(|r| r.index).eq(0..2_500));
        let deletes: Vec<Change> = (1..=2_500).map(|n| Change::DeleteService(key(n))).collect();
        done(ipvs, &deletes);
        assert_eq!(ipvs.services().unwrap(), []);
    });
}
