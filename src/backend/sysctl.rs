// SPDX-License-Identifier: Apache-2.0
//! The kernel's settings of connection tracking (kube-proxy: `pkg/proxy/conntrack/sysctls.go`).

use std::fs;
use std::io;
use std::path::Path;

/// Where the settings of connection tracking are.
const DIRECTORY: &str = "/proc/sys/net/netfilter";

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

/// A setting of connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its file, as `nf_conntrack_max`.
    pub name: &'static str,
    /// The value that it should have.
    pub value: u64,
    /// A larger value is left as it is (kube-proxy lowers `nf_conntrack_max`, which would have the
    /// kernel drop new connections of a table that is fuller).
    pub at_least: bool,
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
    let path = directory.join(setting.name);
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
    fn a_setting_is_written_when_it_differs_and_a_limit_is_never_lowered() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("nf_conntrack_max");
        let check = |before: &str, value, at_least, after: &str| {
            fs::write(&file, before).expect("written");
            let setting = Setting {
                name: "nf_conntrack_max",
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
            name: "none",
            value: 1,
            at_least: false,
        };
        assert!(write(directory.path(), &missing).is_err());
    }
}
