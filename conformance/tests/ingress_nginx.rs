// SPDX-License-Identifier: Apache-2.0
//! The cases of conformance/ingress-nginx, and a fixed part of them on both proxies.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use ferrule_conformance::ingress_nginx::nginx::process;
use ferrule_conformance::ingress_nginx::{allowed, case};

/// The annotations that must work, and those that users rely on all the same.
#[rustfmt::skip]
const ANNOTATIONS: &[&str] = &[
    "affinity", "affinity-canary-behavior", "affinity-mode", "allowlist-source-range", "app-root",
    "auth-always-set-cookie", "auth-cache-duration", "auth-cache-key", "auth-method",
    "auth-proxy-set-headers", "auth-realm", "auth-request-redirect", "auth-response-headers",
    "auth-secret", "auth-secret-type", "auth-signin", "auth-tls-error-page", "auth-tls-match-cn",
    "auth-tls-pass-certificate-to-upstream", "auth-tls-secret", "auth-tls-verify-client",
    "auth-tls-verify-depth", "auth-type", "auth-url", "backend-protocol", "canary",
    "canary-by-cookie", "canary-by-header", "canary-by-header-pattern", "canary-by-header-value",
    "canary-weight", "canary-weight-total", "configuration-snippet", "connection-proxy-header",
    "cors-allow-credentials", "cors-allow-headers", "cors-allow-methods", "cors-allow-origin",
    "cors-expose-headers", "cors-max-age", "custom-headers", "custom-http-errors",
    "default-backend", "denylist-source-range", "enable-access-log", "enable-cors",
    "force-ssl-redirect", "from-to-www-redirect", "limit-allowlist", "limit-burst-multiplier",
    "limit-connections", "limit-rate", "limit-rate-after", "limit-rpm", "limit-rps",
    "limit-whitelist", "load-balance", "mirror-host", "mirror-request-body", "mirror-target",
    "permanent-redirect", "permanent-redirect-code", "proxy-body-size", "proxy-buffer-size",
    "proxy-buffers-number", "proxy-connect-timeout", "proxy-http-version", "proxy-next-upstream",
    "proxy-next-upstream-timeout", "proxy-next-upstream-tries", "proxy-read-timeout",
    "proxy-request-buffering", "proxy-send-timeout", "proxy-ssl-name", "proxy-ssl-secret",
    "proxy-ssl-verify", "rate-limit", "relative-redirects", "rewrite-target", "satisfy",
    "server-alias", "server-snippet", "service-upstream", "session-cookie-change-on-failure",
    "session-cookie-conditional-samesite-none", "session-cookie-domain", "session-cookie-expires",
    "session-cookie-max-age", "session-cookie-name", "session-cookie-path",
    "session-cookie-samesite", "session-cookie-secure", "ssl-ciphers", "ssl-passthrough",
    "ssl-redirect", "temporal-redirect", "temporal-redirect-code", "upstream-hash-by",
    "upstream-hash-by-subset", "upstream-hash-by-subset-size", "upstream-vhost", "use-regex",
    "whitelist-source-range", "x-forwarded-prefix",
];

/// What `make test` runs: every so many-th case.
const PART: &str = "6";
/// Where the results of all cases are. Whatever agreed there must agree.
const RESULTS: &str = "results/ingress-nginx.json";

#[test]
fn every_annotation_has_a_case_or_a_reason_and_every_case_a_source() {
    let (cases, allowed) = (case::load().unwrap(), allowed::load().unwrap());
    assert!(cases.len() >= 400, "{} cases", cases.len());
    let covered: BTreeSet<&str> = cases.iter().flat_map(case::Case::subjects).collect();
    for name in ANNOTATIONS {
        let said = allowed.uncovered.contains_key(*name);
        assert!(
            covered.contains(name) != said,
            "{name}: a case, or a reason why there is none"
        );
    }
    for case in &cases {
        assert!(case.source.len() > 10, "{} has no source", case.name);
        assert!(!case.requests.is_empty(), "{} asks nothing", case.name);
        let silent = case.requests.iter().any(|request| request.expect.is_none());
        assert!(!silent, "{} does not say what nginx answers", case.name);
    }
    for entry in &allowed.differences {
        let known = cases.iter().any(|case| entry.names(&case.name));
        assert!(
            known,
            "allowed.yaml names a case that is not there: {:?}",
            entry.cases
        );
    }
}

#[test]
fn nginx_and_ferrule_do_the_same() {
    if !ferrule_conformance::privileged().unwrap() {
        return;
    }
    if let Some(package) = process::missing() {
        let must = std::env::var("REQUIRE_ROOT").as_deref() == Ok("1");
        assert!(!must, "{package} is missing");
        println!("SKIP: {package} is missing");
        return;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_ferrule-differential-ingress"));
    let sidecar = program.with_file_name("ferrule-ingress");
    assert!(sidecar.exists(), "run it with --workspace");
    let output = Command::new(program)
        .args(["--every", PART, "--recorded"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(RESULTS))
        .env("FERRULE_INGRESS_BIN", sidecar)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{error}");
}
