// SPDX-License-Identifier: Apache-2.0
//! Flags of ingress-nginx's controller that mean nothing here, or something that is not served: so
//! that a manifest can be taken over, and nothing be lost without a word.

use std::ffi::OsString;

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is left out: this is how it is.
    Ignored(&'static str),
    /// The program does not start: this is what to do.
    Refused(&'static str),
}

use Fate::{Ignored, Refused};

const NGINX: Fate = Ignored("there is no nginx");
const SYNC: Fate = Ignored("changes are served at once");
const BUCKETS: Fate = Ignored("buckets are ingress-nginx's defaults");
const WEBHOOK: Fate =
    Refused("nothing is checked on admission; remove it and the ValidatingWebhookConfiguration");
const GEOIP: Fate = Refused("there is no GeoIP; remove it");

/// Name, whether a value may be an argument of its own, and what becomes of it.
const FLAGS: &[(&str, bool, Fate)] = &[
    (
        "annotations-prefix",
        true,
        Refused("annotations begin with nginx.ingress.kubernetes.io"),
    ),
    ("bucket-factor", true, BUCKETS),
    (
        "certificate-authority",
        true,
        Refused("name it in a kubeconfig"),
    ),
    ("deep-inspect", false, Ignored("no snippets are served")),
    ("default-server-port", true, NGINX),
    (
        "disable-catch-all",
        false,
        Refused("Ingresses without rules answer what no other does"),
    ),
    ("disable-full-test", false, WEBHOOK),
    (
        "disable-leader-election",
        false,
        Refused("turn status off with --update-status=false"),
    ),
    (
        "disable-svc-external-name",
        false,
        Refused("ExternalNames are served, but for addresses of this host"),
    ),
    (
        "disable-sync-events",
        false,
        Ignored("only what is wrong becomes an Event"),
    ),
    ("dynamic-configuration-retries", true, SYNC),
    ("election-ttl", true, Ignored("the Lease holds for 20 s")),
    (
        "enable-annotation-validation",
        false,
        Ignored("no annotation reaches a template"),
    ),
    (
        "enable-metrics",
        false,
        Ignored("metrics are always served"),
    ),
    (
        "enable-ssl-chain-completion",
        false,
        Refused("put the chain into the Secret"),
    ),
    (
        "enable-ssl-passthrough",
        false,
        Refused("pass a port on with --tcp-services-configmap"),
    ),
    (
        "enable-topology-aware-routing",
        false,
        Ignored("topology hints are always followed"),
    ),
    (
        "exclude-socket-metrics",
        true,
        Ignored("all metrics are served"),
    ),
    ("health-check-path", true, Ignored("it is /healthz")),
    ("health-check-timeout", true, NGINX),
    (
        "ingress-class-by-name",
        false,
        Ignored("classes count by controller"),
    ),
    ("internal-logger-address", true, NGINX),
    ("length-buckets", true, BUCKETS),
    ("maxmind-edition-ids", true, GEOIP),
    ("maxmind-license-key", true, GEOIP),
    ("maxmind-mirror", true, GEOIP),
    (
        "metrics-per-undefined-host",
        false,
        Ignored("only hosts of routes are labels"),
    ),
    ("monitor-max-batch-size", true, NGINX),
    ("post-shutdown-grace-period", true, NGINX),
    ("profiler-address", true, NGINX),
    ("profiler-port", true, NGINX),
    ("profiling", false, NGINX),
    ("ssl-passthrough-proxy-port", true, NGINX),
    ("status-port", true, NGINX),
    (
        "status-update-interval",
        true,
        Ignored("status is compared every 5 s"),
    ),
    ("stream-port", true, NGINX),
    ("sync-period", true, SYNC),
    ("sync-rate-limit", true, SYNC),
    ("time-buckets", true, BUCKETS),
    ("size-buckets", true, BUCKETS),
    (
        "update-status-on-shutdown",
        false,
        Ignored("status stays, as other nodes go on"),
    ),
    ("validating-webhook", true, WEBHOOK),
    ("validating-webhook-certificate", true, WEBHOOK),
    ("validating-webhook-key", true, WEBHOOK),
    (
        "watch-namespace-selector",
        true,
        Refused("name one namespace with --watch-namespace"),
    ),
];

/// What was said in flags that are not served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Foreign {
    /// Flags without effect, one line each.
    pub ignored: Vec<String>,
    /// Flags that cannot be served, one line each.
    pub refused: Vec<String>,
}

/// Takes those flags out of a command line.
pub(super) fn take(argv: impl Iterator<Item = OsString>) -> (Vec<OsString>, Foreign) {
    let (mut rest, mut foreign) = (Vec::new(), Foreign::default());
    let mut argv = argv.peekable();
    while let Some(arg) = argv.next() {
        let text = arg.to_str().and_then(|text| text.strip_prefix("--"));
        let (name, value) = text
            .map(|text| {
                text.split_once('=')
                    .map_or((text, None), |(n, v)| (n, Some(v)))
            })
            .unwrap_or_default();
        let Some((_, takes, fate)) = FLAGS.iter().find(|(known, ..)| *known == name) else {
            rest.push(arg);
            continue;
        };
        match fate {
            // What is off is as it is here.
            Refused(_) if value == Some("false") => {}
            Ignored(why) => foreign
                .ignored
                .push(format!("--{name} has no effect: {why}")),
            Refused(instead) => foreign
                .refused
                .push(format!("--{name} is not served: {instead}")),
        }
        if *takes && value.is_none() {
            argv.next_if(|next| !next.to_string_lossy().starts_with('-'));
        }
    }
    (rest, foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_out_with_their_values() {
        let argv = [
            "x",
            "--sync-period",
            "10m",
            "--profiling=true",
            "--http-port=80",
            "--validating-webhook=:8443",
            "--enable-ssl-passthrough=false",
            "--enable-metrics",
            "--v=2",
        ];
        let (rest, foreign) = take(argv.into_iter().map(OsString::from));
        assert_eq!(rest, ["x", "--http-port=80", "--v=2"]);
        assert_eq!(foreign.ignored.len(), 3);
        assert!(foreign.ignored[0].starts_with("--sync-period has no effect: "));
        assert_eq!(foreign.refused.len(), 1);
        assert!(foreign.refused[0].starts_with("--validating-webhook is not served: "));
    }
}
