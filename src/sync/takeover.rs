// SPDX-License-Identifier: Apache-2.0
//! Takes over from kube-proxy: once our rules are in force, what it left goes. Beside the loop,
//! which goes on meanwhile.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tracing::{info, warn};

use crate::backend::leftovers::{self, NodePort, Remains, Step, Swept};
use crate::backend::nft::Kernel;

/// How often to look whether kube-proxy is back. It writes its rules anew within 30 s of finding
/// them gone (its canary, or the retry after a failed sync).
const LOOK: Duration = Duration::from_secs(60);
/// How long until a removal that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How often to look whether virtual servers have lost their connections.
const LOOK_AT_SERVERS: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// What becomes of the virtual servers that an IPVS mode left, kube-proxy's or our own.
#[derive(Debug, Clone)]
pub struct Drain {
    /// How long they may keep connections. None in IPVS mode, where those on the link are the
    /// engine's.
    pub bound: Option<Duration>,
    /// NodePorts that our table had before this process wrote it.
    pub node_ports: HashSet<NodePort>,
    /// Nothing at these addresses is touched.
    pub excluded: Vec<IpNet>,
}

/// Hands the word that our rules are in force to the thread that removes theirs.
#[derive(Debug)]
pub struct Takeover {
    /// None once the word is given. The thread ends with its sender.
    begin: Option<Sender<()>>,
    _running: Sender<()>,
}

impl Takeover {
    /// Starts the thread. It waits for [`Takeover::rules_in_force`]. Without a drain virtual servers
    /// are left alone.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start(kernel: Kernel, drain: Option<Drain>) -> std::io::Result<Self> {
        let (begin, word) = channel();
        let (running, stopped) = channel();
        thread::Builder::new()
            .name("takeover".into())
            .spawn(move || {
                if word.recv().is_ok() {
                    work(kernel, &stopped, LOOK, drain.as_ref());
                }
            })?;
        Ok(Self {
            begin: Some(begin),
            _running: running,
        })
    }

    /// Our rules are in force, in all families. Only the first call does something.
    pub fn rules_in_force(&mut self) {
        if let Some(begin) = self.begin.take() {
            // Without the thread there is nothing to be done.
            let _ = begin.send(());
        }
    }
}

/// Removes, until that works; then looks, until kube-proxy is seen or the proxy stops.
fn work(mut kernel: Kernel, stopped: &Receiver<()>, look: Duration, given: Option<&Drain>) {
    let mut warned = false;
    loop {
        match leftovers::sweep(&mut kernel) {
            Ok(swept) => {
                report(&swept, "kube-proxy");
                break;
            }
            Err(error) if !warned => {
                warn!("kube-proxy's rules stay for now: {error}");
                warned = true;
            }
            Err(_) => {}
        }
        if !goes_on(stopped, RETRY) {
            return;
        }
    }
    if let Some(given) = given
        && !take_servers(&mut kernel, stopped, given)
    {
        return;
    }
    while goes_on(stopped, look) {
        if let Ok(Some(rules)) = leftovers::present(&mut kernel) {
            // No removal again: two that write against each other are worse than two rulesets.
            warn!(
                "kube-proxy runs beside ferrule: {rules} has come back. Stop it; the next start of \
                 ferrule removes what it leaves"
            );
            return;
        }
    }
}

/// Virtual servers go, by and by, and at last what tells whose they are. Returns whether the proxy
/// goes on.
fn take_servers(kernel: &mut Kernel, stopped: &Receiver<()>, given: &Drain) -> bool {
    let done = match given.bound {
        Some(bound) if !drain(kernel, stopped, given, bound) => return false,
        Some(_) => Ok(Swept::default()),
        None => leftovers::sweep_node_ports(kernel, &given.excluded),
    };
    for done in [done, leftovers::sweep_sets()] {
        match done {
            Ok(swept) => report(&swept, "an IPVS mode"),
            Err(error) => warn!("something of an IPVS mode stays: {error}"),
        }
    }
    true
}

/// Lets virtual servers go when they have no connection any more, or when the time is over. Returns
/// whether the proxy goes on.
fn drain(kernel: &mut Kernel, stopped: &Receiver<()>, given: &Drain, bound: Duration) -> bool {
    let begun = Instant::now();
    let (mut remains, mut total, mut told) = (None, Step::default(), false);
    loop {
        match look_at_servers(kernel, &mut remains, given, begun.elapsed() >= bound) {
            Ok(step) => total += step,
            Err(error) if !told => {
                warn!("virtual servers of an IPVS mode stay for now: {error}");
                (told, total.busy) = (true, 1);
            }
            Err(_) => total.busy = 1,
        }
        if total.busy + total.held == 0 {
            break;
        }
        if !told {
            let (servers, held, seconds) = (total.busy, total.held, bound.as_secs());
            info!(
                "{servers} virtual servers keep their connections for up to {seconds} s, and \
                 {held} addresses those of this host"
            );
            told = true;
        }
        if !goes_on(stopped, LOOK_AT_SERVERS) {
            return false;
        }
    }
    let swept = Swept {
        removed: total.removed().collect(),
        left: Vec::new(),
    };
    report(&swept, "an IPVS mode");
    true
}

/// One look; it finds what there is first.
fn look_at_servers(
    kernel: &mut Kernel,
    remains: &mut Option<Remains>,
    given: &Drain,
    all: bool,
) -> Result<Step, crate::backend::Error> {
    if remains.is_none() {
        let now = leftovers::node_ports(kernel)?;
        let ours = given.node_ports.union(&now).copied();
        *remains = Remains::find(&given.excluded, ours)?;
    }
    match remains {
        Some(remains) => remains.step(all),
        None => Ok(Step::default()),
    }
}

/// Waits. False if the proxy has stopped meanwhile.
fn goes_on(stopped: &Receiver<()>, time: Duration) -> bool {
    stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

/// Tells what was removed and what was not; `whose` it was.
pub fn report(swept: &Swept, whose: &str) {
    for removed in &swept.removed {
        info!("removed what {whose} left: {removed}");
    }
    for left in &swept.left {
        warn!("{left}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::backend::nft::tests::{has_nft, nft};
    use crate::backend::testing::in_namespace;

    fn there() -> bool {
        nft("nft", &["list", "tables"], "").contains("kube-proxy")
    }

    fn appears() {
        nft("nft", &["add", "table", "ip", "kube-proxy"], "");
    }

    #[test]
    fn their_rules_go_only_after_the_word() {
        in_namespace(|| {
            if !has_nft() {
                return;
            }
            appears();
            let mut takeover = Takeover::start(Kernel::open().unwrap(), None).unwrap();
            thread::sleep(Duration::from_millis(100));
            assert!(there(), "our rules are not in force yet");
            takeover.rules_in_force();
            let begun = Instant::now();
            while there() {
                assert!(begun.elapsed() < Duration::from_secs(5));
                thread::sleep(Duration::from_millis(5));
            }
            appears();
            takeover.rules_in_force();
            thread::sleep(Duration::from_millis(100));
            assert!(there(), "once is enough");
        });
    }

    #[test]
    fn a_kube_proxy_that_runs_is_not_fought() {
        in_namespace(|| {
            if !has_nft() {
                return;
            }
            appears();
            let (running, stopped) = channel();
            let kernel = Kernel::open().unwrap();
            let look = Duration::from_millis(10);
            let work = thread::spawn(move || work(kernel, &stopped, look, None));
            while there() {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(look * 5);
            assert!(
                !work.is_finished(),
                "it looks for as long as the proxy runs"
            );
            appears();
            work.join().unwrap();
            assert!(there(), "seen, told, and left alone");
            drop(running);
        });
    }

    #[test]
    fn ends_with_the_proxy() {
        in_namespace(|| {
            let (running, stopped) = channel();
            let Ok(kernel) = Kernel::open() else { return };
            let work =
                thread::spawn(move || work(kernel, &stopped, Duration::from_secs(600), None));
            drop(running);
            work.join().unwrap();
        });
    }
}
