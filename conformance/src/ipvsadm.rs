// SPDX-License-Identifier: Apache-2.0
//! `ipvsadm -Sn`, which reads the kernel with code that is not ours.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ferrule::model::IpFamily;

use crate::cluster::SENTINEL;
use crate::netns::{Namespace, cluster_ip};

/// The virtual servers of a node and their real servers, a line each, but not those of the
/// cluster's sentinel, nor real servers that only keep their connections.
///
/// # Errors
/// If there is no `ipvsadm`, or it cannot read.
pub fn list(node: &Namespace) -> Result<BTreeSet<String>> {
    let run = || {
        Command::new("ipvsadm")
            .arg("-Sn")
            .output()
            .context("ipvsadm")
    };
    let output = node.enter(run)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ipvsadm -Sn: {error}");
    Ok(wanted(&String::from_utf8_lossy(&output.stdout)))
}

fn wanted(text: &str) -> BTreeSet<String> {
    let sentinels = IpFamily::ALL.map(|f| std::net::SocketAddr::new(cluster_ip(f, SENTINEL), 0));
    // With the colon, but without the port, which changes.
    let sentinels = sentinels.map(|a| format!(" {}", a.to_string().trim_end_matches('0')));
    let of_sentinel = |line: &str| sentinels.iter().any(|s| line.contains(s.as_str()));
    let lines = text.lines().map(str::trim_end);
    lines
        .filter(|l| !l.is_empty() && !l.ends_with(" -w 0") && !of_sentinel(l))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_and_the_leaving_are_left_out() {
        let text = "-A -t 10.96.0.1:80 -s rr\n\
            -a -t 10.96.0.1:80 -r 10.244.1.10:8080 -m -w 1\n\
            -a -t 10.96.0.1:80 -r 10.244.1.11:8080 -m -w 0\n\
            -A -u 10.96.234.96:1001 -s rr\n\
            -A -u [fd00:10:96::ea60]:1001 -s rr\n\n";
        let lines: Vec<_> = wanted(text).into_iter().collect();
        assert_eq!(
            lines,
            [
                "-A -t 10.96.0.1:80 -s rr",
                "-a -t 10.96.0.1:80 -r 10.244.1.10:8080 -m -w 1"
            ]
        );
    }
}
