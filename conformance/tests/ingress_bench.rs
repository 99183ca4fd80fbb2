// SPDX-License-Identifier: Apache-2.0
//! The benchmark of the Ingress sidecar in its shortest form: every part runs, no number counts.

use std::path::Path;
use std::process::Command;

/// Programs beside the sidecar.
const PROGRAMS: [&str; 3] = ["nginx", "haproxy", "openssl"];

#[test]
fn the_benchmark_runs_from_start_to_end() {
    if !ferrule_conformance::privileged().unwrap() {
        return;
    }
    let missing = PROGRAMS.map(|program| (program, Command::new(program).arg("-v").output()));
    if let Some((program, _)) = missing.iter().find(|(_, output)| output.is_err()) {
        let must = std::env::var("REQUIRE_ROOT").as_deref() == Ok("1");
        assert!(!must, "{program} is missing");
        println!("SKIP: {program} is missing");
        return;
    }
    let bench = Path::new(env!("CARGO_BIN_EXE_ferrule-bench-ingress"));
    let sidecar = bench.with_file_name("ferrule-ingress");
    assert!(sidecar.exists(), "run it with --workspace");
    let output = Command::new(bench)
        .args(["--only", "h1-1k,tls-resumed", "--edits", "--rounds", "1"])
        .args([
            "--seconds",
            "0.6",
            "--ingresses",
            "50",
            "--edits-seconds",
            "1",
        ])
        .env("FERRULE_INGRESS_BIN", sidecar)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if error.contains("at least two processors") {
        println!("SKIP: one processor");
        return;
    }
    assert!(output.status.success(), "{said}{error}");
    for line in [
        "| HTTP/1.1, 1 KB |",
        "new TLS connections, resumed",
        "**0**",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}{error}");
    }
}
