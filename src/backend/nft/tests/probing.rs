// SPDX-License-Identifier: Apache-2.0
//! The probe passes here, leaves nothing, and says in one line what is missing.

use std::process::Command;

use super::super::probe::probe;
use crate::backend::nft::Kernel;
use crate::backend::testing::{in_namespace, skip};
use crate::model::IpFamily;

#[test]
fn the_probe_passes_and_leaves_nothing() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let before = kernel.generation().unwrap();
        probe(&mut kernel, &IpFamily::ALL).unwrap();
        assert_eq!(kernel.generation().unwrap(), before);
        if super::has_nft() {
            assert_eq!(super::nft("nft", &["list", "ruleset"], ""), "");
        }
    });
}

/// Runs itself again without the right, as capabilities are a process's.
#[test]
fn a_missing_right_is_named() {
    const MARK: &str = "FERRULE_TEST_WITHOUT_NET_ADMIN";
    const NAME: &str = "backend::nft::tests::probing::a_missing_right_is_named";
    if std::env::var_os(MARK).is_some() {
        let mut kernel = Kernel::open().unwrap();
        let error = probe(&mut kernel, &[IpFamily::V4]).unwrap_err();
        assert_eq!(error.to_string(), "needs CAP_NET_ADMIN");
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        return skip("taking a right away takes root");
    }
    let again = Command::new("setpriv")
        .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(MARK, "1")
        .output();
    match again {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{text}"
            );
        }
        Err(e) => skip(&format!("no setpriv: {e}")),
    }
}
