// SPDX-License-Identifier: Apache-2.0
//! Settles on a mode: the first of those that are asked for that the kernel has.

use anyhow::{Error, Result, anyhow, bail};

use super::parts::families;
use crate::backend::ipvs::{Ipvs, link::Link};
use crate::backend::nft::{Kernel, probe::probe};
use crate::config::{Config, ProxyMode};

/// The configuration in the mode that is to serve, and what there is to say where that is not the
/// first choice; it is logged already.
///
/// # Errors
/// The kernel has none of the modes, with the reasons; or the configuration cannot be read again.
pub(super) fn settle(config: &Config) -> Result<(Config, Vec<String>)> {
    if config.modes.len() == 1 && config.mode != ProxyMode::Ipvs {
        // What the kernel lacks is told where the engine is made.
        return Ok((config.clone(), Vec::new()));
    }
    let chosen = choose(&config.modes, |mode| match mode {
        ProxyMode::Ipvs => has_ipvs(&config.ipvs.options.scheduler),
        ProxyMode::Iptables | ProxyMode::Nftables => Ok(probe(&mut Kernel::open()?, &families())?),
    })?;
    let instead = chosen.mode.served_by();
    let passed = chosen.passed.iter().map(|(mode, reason)| {
        let missed = mode.served_by();
        format!("proxy mode {instead} serves in place of {missed}: {reason:#}")
    });
    let passed: Vec<String> = passed.collect();
    passed.iter().for_each(|note| tracing::warn!("{note}"));
    Ok((config.settled(chosen.mode)?, passed))
}

/// What came of a choice.
#[derive(Debug)]
struct Choice {
    mode: ProxyMode,
    /// Those before it in the list, with the reasons why not.
    passed: Vec<(ProxyMode, Error)>,
}

/// Pure but for what is asked.
fn choose(modes: &[ProxyMode], mut has: impl FnMut(ProxyMode) -> Result<()>) -> Result<Choice> {
    let mut passed = Vec::new();
    for mode in modes.iter().copied() {
        match has(mode) {
            Ok(()) => return Ok(Choice { mode, passed }),
            Err(reason) => passed.push((mode, reason)),
        }
    }
    let reasons = passed
        .iter()
        .map(|(mode, reason)| format!("proxy mode {}: {reason:#}", mode.word()));
    bail!(reasons.collect::<Vec<_>>().join("\n"))
}

/// Whether the kernel has what IPVS mode needs. kube-proxy ends if the scheduler is missing; here
/// rr takes its place.
fn has_ipvs(scheduler: &str) -> Result<()> {
    let advice = "load the module on the node (modprobe ip_vs), or let ferrule take the next mode \
                  of a list (--proxy-mode=ipvs,nftables)";
    let mut ipvs = Ipvs::open().map_err(|e| anyhow!("{e}; {advice}"))?;
    probe(&mut Kernel::open()?, &families())?;
    if !ipvs.has_scheduler(&"rr".into())? {
        bail!("the kernel lacks the IPVS scheduler rr (module ip_vs_rr)");
    }
    if !ipvs.has_scheduler(&scheduler.into())? {
        tracing::warn!(
            "the kernel lacks the IPVS scheduler {scheduler} (module ip_vs_{scheduler}); rr is \
             used in its place"
        );
    }
    // Last, as it leaves something behind.
    Ok(Link::open()?.create()?)
}

#[cfg(test)]
mod tests {
    use super::ProxyMode::{Ipvs, Nftables};
    use super::*;
    use crate::backend::testing::in_namespace;

    fn choice(modes: &[ProxyMode], there: &[ProxyMode]) -> Result<(ProxyMode, Vec<String>)> {
        let mut asked = Vec::new();
        let choice = choose(modes, |mode| {
            asked.push(mode);
            match there.contains(&mode) {
                true => Ok(()),
                false => bail!("no {}", mode.word()),
            }
        })?;
        assert_eq!(
            asked.last(),
            Some(&choice.mode),
            "nothing is asked after it"
        );
        let reasons = choice.passed.iter();
        let reasons = reasons.map(|(mode, reason)| format!("{}: {reason}", mode.word()));
        Ok((choice.mode, reasons.collect()))
    }

    #[test]
    fn the_first_that_the_kernel_has_is_taken() {
        let both = [Ipvs, Nftables];
        assert_eq!(choice(&both, &both).unwrap(), (Ipvs, vec![]));
        assert_eq!(
            choice(&[Nftables, Ipvs], &both).unwrap(),
            (Nftables, vec![])
        );
        let (mode, passed) = choice(&both, &[Nftables]).unwrap();
        assert_eq!((mode, passed), (Nftables, vec!["ipvs: no ipvs".to_owned()]));
        assert_eq!(choice(&[Nftables, Ipvs], &[Ipvs]).unwrap().0, Ipvs);
    }

    /// Where it is missing the reason says what to do.
    #[test]
    #[ignore = "needs a kernel with IPVS: make test-ipvs"]
    fn the_kernel_is_asked() {
        in_namespace(|| match has_ipvs("nonesuch") {
            Ok(()) => assert!(Link::open().unwrap().exists().unwrap()),
            Err(reason) => {
                assert!(std::env::var_os("REQUIRE_IPVS").is_none(), "{reason:#}");
                let reason = reason.to_string();
                assert!(reason.contains("modprobe ip_vs"), "{reason}");
                eprintln!("SKIP: {reason}");
            }
        });
    }

    #[test]
    fn without_any_all_reasons_are_told() {
        let error = choice(&[Ipvs, Nftables], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "proxy mode ipvs: no ipvs\nproxy mode nftables: no nftables"
        );
        let alone = choice(&[Ipvs], &[Nftables]).unwrap_err();
        assert_eq!(alone.to_string(), "proxy mode ipvs: no ipvs");
    }
}
