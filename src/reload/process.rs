// SPDX-License-Identifier: Apache-2.0
//! What the configuration decides about the process and the host, and its new start.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use tracing::{info, warn};

use crate::backend::ipvs::{Ipvs, Timeouts};
use crate::backend::sysctl;
use crate::config::{Config, ProxyMode};

const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";
/// The process's name, as `ps` and `pgrep` show it.
const NAME: &str = "/proc/self/comm";
/// The program that runs, also where its file has been replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// Sets what connection tracking is to have. kube-proxy ends if it can't; the rules work without.
pub fn connection_tracking(config: &Config) {
    for setting in &config.conntrack {
        if let Err(error) = sysctl::apply(setting) {
            let (name, value) = (setting.name(), setting.value);
            warn!("{name} stays as it is, not {value}: {error}");
        }
    }
}

/// Sets what IPVS mode needs of the host; nothing in another mode. What was set stays when the
/// mode or a field changes, as with kube-proxy.
///
/// # Errors
/// IPVS cannot be reached, or does not work together with connection tracking.
pub fn ipvs(config: &Config) -> Result<()> {
    if config.mode != ProxyMode::Ipvs {
        return Ok(());
    }
    let mut ipvs = Ipvs::open()?;
    for setting in sysctl::ipvs(config.ipvs.strict_arp, sysctl::kernel()) {
        let Err(error) = sysctl::apply(&setting) else {
            continue;
        };
        let (path, value) = (setting.path, setting.value);
        if path == sysctl::IPVS_CONNTRACK {
            let needs = format!("IPVS mode needs /proc/sys/{path} to be {value}");
            return Err(anyhow!(error).context(needs));
        }
        warn!("{path} stays as it is, not {value}: {error}");
    }
    if config.ipvs.timeouts != Timeouts::default()
        && let Err(error) = ipvs.set_timeouts(config.ipvs.timeouts)
    {
        warn!("IPVS' time-outs stay as they are: {error}");
    }
    Ok(())
}

/// Sets what the kernel adds to this process's badness, -1000 to 1000. Less than it was takes
/// CAP_SYS_RESOURCE; without, it stays.
pub fn oom_score_adj(value: i32) {
    let present = fs::read_to_string(OOM_SCORE_ADJ).unwrap_or_default();
    if present.trim() == value.to_string() {
        return;
    }
    if let Err(error) = fs::write(OOM_SCORE_ADJ, value.to_string()) {
        let present = present.trim();
        info!("oomScoreAdj stays {present}, not {value}: {error}");
    }
}

/// Executes this program again in this process, with the same arguments and environment. Files
/// and sockets that are open are closed by that; it returns only if it fails.
///
/// # Errors
/// The kernel refuses.
pub fn start_anew() -> Result<Infallible> {
    let program = CString::new(PROGRAM)?;
    let argument = |argument: std::ffi::OsString| CString::new(argument.into_vec());
    let arguments = env::args_os()
        .map(argument)
        .collect::<Result<Vec<_>, _>>()?;
    nix::unistd::execv(&program, &arguments).context("starting anew")
}

/// A process that was started by [`start_anew`] has the name `exe`; this gives it its own again.
pub fn restore_name() {
    if !fs::read(NAME).is_ok_and(|name| name.trim_ascii_end() == b"exe") {
        return;
    }
    let first = env::args_os().next().unwrap_or_default();
    let name = Path::new(&first)
        .file_name()
        .unwrap_or(OsStr::new("ferrule"));
    // For people only.
    let _ = fs::write(NAME, name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::in_namespace;

    fn config(line: &str) -> Config {
        let words = ["ferrule"].into_iter().chain(line.split(' '));
        let cli = crate::cli::parse(words).expect("flags");
        Config::resolve(&cli, None, "n").expect("a configuration")
    }

    #[test]
    #[ignore = "needs a kernel with IPVS: make test-ipvs"]
    fn ipvs_mode_sets_the_host_up() {
        in_namespace(|| {
            if let Err(error) = Ipvs::open() {
                assert!(std::env::var_os("REQUIRE_IPVS").is_none(), "{error}");
                return eprintln!("SKIP: {error}");
            }
            let there = |path: &str| {
                let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{path}"));
                text.expect("a setting").trim().to_owned()
            };
            ipvs(&config("--proxy-mode=nftables --ipvs-tcp-timeout=7s")).expect("nothing");
            assert_eq!(there("vs/conntrack"), "0", "in another mode");
            let line = "--proxy-mode=ipvs --ipvs-strict-arp --ipvs-udp-timeout=17s";
            ipvs(&config(line)).expect("set up");
            for (path, value) in [
                ("vs/conntrack", "1"),
                ("vs/expire_nodest_conn", "1"),
                ("vs/expire_quiescent_template", "1"),
                ("ip_forward", "1"),
                ("conf/all/arp_ignore", "1"),
                ("conf/all/arp_announce", "2"),
            ] {
                assert_eq!(there(path), value, "{path}");
            }
            let timeouts = Ipvs::open().expect("IPVS").timeouts().expect("time-outs");
            assert_eq!((timeouts.tcp, timeouts.udp), (900, 17));
        });
    }
}
