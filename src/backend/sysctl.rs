// SPDX-License-Identifier: Apache-2.0
//! The kernel's settings: of connection tracking (kube-proxy: `pkg/proxy/conntrack/sysctls.go`),
//! and those that IPVS mode needs (`NewProxier` of `pkg/proxy/ipvs`).

use std::fs;
use std::io;
use std::path::Path;

/// Where settings are.
const DIRECTORY: &str = "/proc/sys";
/// Without it the rest of netfilter does not see what IPVS has translated.
pub const IPVS_CONNTRACK: &str = "net/ipv4/vs/conntrack";

/// Which processors are online, as `0-3,5`.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// How many processors the machine has. Limits of the own container do not count: the table of
/// connections is the machine's.
pub fn processors() -> u64 {
    let online = fs::read_to_string(ONLINE).ok();
    let counted = online.and_then(|list| count(list.trim()));
    counted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as u64))
}

/// How many numbers a list of ranges has.
fn count(list: &str) -> Option<u64> {
    let length = |range: &str| {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u64, u64) = (low.parse().ok()?, high.parse().ok()?);
        (high.checked_sub(low)?).checked_add(1)
    };
    list.split(',').map(length).sum()
}

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its file below `/proc/sys`, as `net/netfilter/nf_conntrack_max`.
    pub path: &'static str,
    /// The value that it should have.
    pub value: u64,
    /// A larger value is left as it is (kube-proxy lowers `nf_conntrack_max`, which would have the
    /// kernel drop new connections of a table that is fuller).
    pub at_least: bool,
}

impl Setting {
    /// The last part of its path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// The version of the running kernel, as 6 and 1; 0 and 0 if it cannot be told.
pub fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version(&release).unwrap_or_default()
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What IPVS mode sets on a kernel. `net.ipv4.vs` is there once IPVS is.
pub fn ipvs(strict_arp: bool, kernel: (u32, u32)) -> Vec<Setting> {
    // Until 4.1 there is none; from 5.9 on its default no longer costs a second for each port that
    // a client uses again.
    let reuse = ((4, 1)..(5, 9)).contains(&kernel);
    let all = [
        (true, IPVS_CONNTRACK, 1),
        (reuse, "net/ipv4/vs/conn_reuse_mode", 0),
        (true, "net/ipv4/vs/expire_nodest_conn", 1),
        (true, "net/ipv4/vs/expire_quiescent_template", 1),
        (true, "net/ipv4/ip_forward", 1),
        (strict_arp, "net/ipv4/conf/all/arp_ignore", 1),
        (strict_arp, "net/ipv4/conf/all/arp_announce", 2),
    ];
    let wanted = all.into_iter().filter(|(wanted, ..)| *wanted);
    let setting = |(_, path, value)| Setting {
        path,
        value,
        at_least: false,
    };
    wanted.map(setting).collect()
}

/// Gives a setting its value. What has it already is not written, since some containers may only
/// read it.
///
/// # Errors
/// If there is no such setting, or it may not be changed.
pub fn apply(setting: &Setting) -> io::Result<()> {
    write(Path::new(DIRECTORY), setting)
}

fn write(directory: &Path, setting: &Setting) -> io::Result<()> {
    let path = directory.join(setting.path);
    let present: Option<u64> = fs::read_to_string(&path)?.trim().parse().ok();
    let done = match setting.at_least {
        true => present.is_some_and(|present| present >= setting.value),
        false => present == Some(setting.value),
    };
    if done {
        Ok(())
    } else {
        fs::write(&path, setting.value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted() {
        let cases = [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-3,5,8-9", Some(7)),
            ("", None),
            ("3-0", None),
            ("a", None),
        ];
        for (list, expected) in cases {
            assert_eq!(count(list), expected, "{list:?}");
        }
        assert!(processors() > 0);
    }

    #[test]
    fn ipvs_mode_sets_what_kube_proxy_sets() {
        let shown = |strict, kernel| {
            let settings = ipvs(strict, kernel).into_iter();
            let show = |s: Setting| format!("{}={}", s.name(), s.value);
            settings.map(show).collect::<Vec<_>>().join(" ")
        };
        let always = "expire_nodest_conn=1 expire_quiescent_template=1 ip_forward=1";
        let new = format!("conntrack=1 {always}");
        let old = format!("conntrack=1 conn_reuse_mode=0 {always}");
        for (kernel, expected) in [
            ((4, 0), &new),
            ((4, 1), &old),
            ((5, 8), &old),
            ((5, 9), &new),
            ((6, 1), &new),
        ] {
            assert_eq!(shown(false, kernel), *expected, "{kernel:?}");
        }
        let strict = format!("{new} arp_ignore=1 arp_announce=2");
        assert_eq!(shown(true, (6, 1)), strict);
    }

    #[test]
    fn the_version_of_a_kernel_is_read() {
        for (release, expected) in [
            ("6.1.0-18-amd64\n", Some((6, 1))),
            ("5.15.133.1-microsoft", Some((5, 15))),
            ("4.19+", Some((4, 19))),
            ("linux", None),
            ("6", None),
        ] {
            assert_eq!(version(release), expected, "{release:?}");
        }
        assert!(kernel() > (3, 0));
    }

    #[test]
    fn a_setting_is_written_when_it_differs_and_a_limit_is_never_lowered() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("nf_conntrack_max");
        let check = |before: &str, value, at_least, after: &str| {
            fs::write(&file, before).expect("written");
            let setting = Setting {
                path: "nf_conntrack_max",
                value,
                at_least,
            };
            write(directory.path(), &setting).expect("applied");
            assert_eq!(fs::read_to_string(&file).expect("read"), after);
        };
        check("60\n", 3600, false, "3600");
        check("7200\n", 3600, false, "3600");
        check("3600\n", 3600, false, "3600\n");
        check("100\n", 200, true, "200");
        check("300\n", 200, true, "300\n");
        let missing = Setting {
            path: "none",
            value: 1,
            at_least: false,
        };
        assert!(write(directory.path(), &missing).is_err());
    }
}
