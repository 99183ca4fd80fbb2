// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::ingress::action::handshake::Versions;
use crate::ingress::annotation::known::Risk;
use crate::ingress::table::Behaviour;
use crate::ingress::table::How;

fn read_all(data: &[(&str, &str)]) -> Configured {
    read_as(Behaviour::Spec, data)
}

fn read_as(behaviour: Behaviour, data: &[(&str, &str)]) -> Configured {
    let data = data
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    read(
        &Settings::default(),
        (&RouteSettings::default(), behaviour),
        &data,
    )
}

impl Configured {
    pub(in crate::ingress::catalog) fn spec(&self) -> Defaults {
        self.defaults.of(Behaviour::Spec).clone()
    }
}

#[test]
fn keys_of_ingress_nginx_mean_the_same() {
    let all = read_all(&[
        ("client-header-timeout", "7"),
        ("keep-alive", "0"),
        ("keep-alive-requests", "10"),
        ("proxy-body-size", "8m"),
        ("proxy-read-timeout", " 61 "),
        ("proxy-real-ip-cidr", "10.0.0.0/8, 192.0.2.1 2001:db8::/32"),
        ("use-forwarded-headers", "true"),
        ("worker-shutdown-timeout", "4m"),
        ("server-tokens", "false"),
        ("enable-brotli", "False"),
    ]);
    assert_eq!(all.notes, [""; 0]);
    let settings = &all.settings;
    assert_eq!(settings.header_timeout, Duration::from_secs(7));
    assert_eq!(settings.keep_alive, Duration::ZERO);
    assert_eq!(settings.keep_alive_requests, 10);
    assert_eq!(settings.trusted.len(), 3);
    assert!(settings.use_forwarded_headers);
    assert_eq!(settings.shutdown_grace, Some(Duration::from_secs(240)));
    assert_eq!(all.spec().route.body_limit, 8 << 20);
    assert_eq!(all.spec().route.read_timeout, Duration::from_secs(61));
    assert_eq!(all.spec().https, Https::default());
}

#[test]
fn endpoints_are_chosen_and_asked_again_as_annotations_have_it() {
    let all = read_all(&[
        ("load-balance", "ewma"),
        ("service-upstream", "true"),
        ("proxy-next-upstream", "error http_503 non_idempotent"),
        ("proxy-next-upstream-timeout", "9"),
        ("proxy-http-version", "1.0"),
        ("proxy-buffer-size", "16k"),
        ("proxy-max-temp-file-size", "1024m"),
    ]);
    assert_eq!(all.notes, [""; 0]);
    let route = all.spec().route;
    let choice = route.choice.as_deref().expect("a choice");
    assert_eq!((&choice.how, choice.by_service), (&How::PeakEwma, true));
    assert!(
        route
            .retry
            .on_status(hyper::StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(route.retry_non_idempotent && !route.retry.timeout && route.http10);
    assert_eq!(route.retry.within, Some(Duration::from_secs(9)));
    assert_eq!(route.response_head, Some(16 << 10));
    let plain = read_all(&[
        ("load-balance", "round_robin"),
        ("service-upstream", "false"),
    ]);
    assert_eq!((plain.spec().route.choice, plain.notes), (None, vec![]));
    for key in ["load-balance", "proxy-next-upstream", "proxy-http-version"] {
        assert_eq!(read_all(&[(key, "chash")]).notes.len(), 1, "{key}");
    }
}

#[test]
fn redirects_and_hsts_are_made_of_several_keys() {
    let all = read_all(&[("ssl-redirect", "true"), ("http-redirect-code", "301")]);
    let https = all.spec().https;
    assert!(https.secured && !https.forced);
    assert_eq!(https.status, 301);
    let all = read_all(&[("force-ssl-redirect", "true")]);
    assert!(all.spec().https.forced);
    let all = read_all(&[
        ("no-tls-redirect-locations", "/a, /b"),
        ("preserve-trailing-slash", "true"),
        ("relative-redirects", "true"),
    ]);
    let spec = all.spec();
    assert!(spec.plain_paths.cover("/bc"));
    assert!(!spec.plain_paths.cover("/.well-known/acme-challenge/x"));
    assert_eq!(spec.route.keeps_slash, Some(true));
    assert!(spec.route.relative_redirects);
    let hsts = |data| read_all(data).spec().hsts.header();
    assert_eq!(hsts(&[("hsts-max-age", "5")]), None);
    let long = "max-age=31536000; includeSubDomains";
    assert_eq!(hsts(&[("hsts", "true")]).expect("a header"), long);
    let short = hsts(&[
        ("hsts", "true"),
        ("hsts-max-age", "5"),
        ("hsts-include-subdomains", "false"),
        ("hsts-preload", "true"),
    ]);
    assert_eq!(short.expect("a header"), "max-age=5; preload");
}

#[test]
fn each_behaviour_has_defaults_of_its_own_and_the_config_map_goes_before_them() {
    let of = |data: &[(&str, &str)], behaviour| {
        let defaults = read_all(data).defaults.of(behaviour).clone();
        (defaults.https.secured, defaults.hsts.on)
    };
    let (spec, nginx) = (Behaviour::Spec, Behaviour::IngressNginx);
    assert_eq!(of(&[], spec), (false, false));
    assert_eq!(of(&[], nginx), (true, true));
    let off = [("ssl-redirect", "false"), ("hsts", "false")];
    assert_eq!(of(&off, nginx), (false, false));
    let on = [("ssl-redirect", "true"), ("hsts", "true")];
    assert_eq!(of(&on, spec), (true, true));
}

/// No key of ingress-nginx is without an answer, and none has two.
#[test]
fn every_key_of_ingress_nginx_is_served_or_says_why_not() {
    let explained: Vec<&str> = keys::not_served().flat_map(|(_, names)| names).collect();
    let wrong: Vec<_> = keys::all()
        .filter(|name| serves(name) == explained.contains(name))
        .collect();
    assert_eq!(wrong, [""; 0], "served and not, or neither");
    for (known, _) in KEYS {
        assert!(
            keys::is_known(known),
            "{known}: ingress-nginx has no such key"
        );
    }
}

#[test]
fn what_is_wrong_or_not_served_is_told_by_name() {
    let all = read_all(&[
        ("proxy-read-timeout", "60s"),
        ("proxy-connect-timeout", "0"),
        ("proxy-body-size", "8x"),
        ("use-proxy-protocol", "yes"),
        ("proxy-real-ip-cidr", "here"),
        ("http-redirect-code", "200"),
        ("worker-shutdown-timeout", "soon"),
        ("use-gzip", "always"),
        ("custom-http-errors", "404,200"),
        ("enable-ocsp", "true"),
        ("yyy", ""),
        ("zzz", ""),
    ]);
    assert_eq!(all.settings, Settings::default());
    assert_eq!(all.spec(), Defaults::default());
    assert_eq!(
        all.notes,
        [
            "data[custom-http-errors]: must be statuses from 400 to 599, is \"200\"",
            "data[enable-ocsp]: no OCSP answers are stapled",
            "data[http-redirect-code]: must be 301, 302, 307 or 308, is \"200\"",
            "data[proxy-body-size]: must be a size as 8m, is \"8x\"",
            "data[proxy-connect-timeout]: must be at least 1, is \"0\"",
            "data[proxy-read-timeout]: must be a number of seconds, is \"60s\"",
            "data[proxy-real-ip-cidr]: must be CIDRs, is \"here\"",
            "data[use-gzip]: must be true or false, is \"always\"",
            "data[use-proxy-protocol]: must be true or false, is \"yes\"",
            "data[worker-shutdown-timeout]: must be a time as 240s or 4m, is \"soon\"",
            "not known: yyy, zzz",
        ]
    );
}

#[test]
fn who_is_believed_where_nobody_is_named_is_a_matter_of_behaviour() {
    for key in ["use-forwarded-headers", "use-proxy-protocol"] {
        let spec = read_all(&[(key, "true")]);
        assert!(
            spec.notes[0].contains("nobody is believed"),
            "{:?}",
            spec.notes
        );
        assert!(spec.settings.trusted.is_empty());
        let nginx = |data: &[(&str, &str)]| read_as(Behaviour::IngressNginx, data);
        let all = nginx(&[(key, "true")]);
        assert!(
            all.notes[0].contains("everybody is believed"),
            "{:?}",
            all.notes
        );
        assert_eq!(all.settings.trusted.len(), 2);
        let some = nginx(&[(key, "true"), ("proxy-real-ip-cidr", "10.0.0.0/8")]);
        assert_eq!((some.settings.trusted.len(), some.notes.len()), (1, 0));
    }
    let none = read_as(Behaviour::IngressNginx, &[]);
    assert!(none.settings.trusted.is_empty() && none.notes.is_empty());
}

#[test]
fn what_tls_speaks_and_endpoints_are_told_is_read() {
    let all = read_all(&[
        ("ssl-protocols", "TLSv1.2"),
        (
            "ssl-ciphers",
            "ECDHE-ECDSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256",
        ),
        ("enable-underscores-in-headers", "true"),
        ("proxy-add-original-uri-header", "true"),
        ("use-port-in-redirects", "true"),
        ("annotations-risk-level", "Critical"),
    ]);
    let told = "data[ssl-ciphers]: there is no DHE-RSA-AES128-GCM-SHA256 here";
    assert_eq!(all.notes, [told]);
    let settings = &all.settings;
    assert!(settings.underscores && settings.original_uri);
    assert_eq!(settings.handshake.versions, Some(Versions::Only12));
    assert_eq!(
        settings.handshake.suites.as_deref().map(<[_]>::len),
        Some(1)
    );
    assert!(all.spec().route.port_in_redirects);
    assert_eq!(all.spec().policy.risk, Some(Risk::Critical));
    let odd = read_all(&[
        ("annotations-risk-level", "huge"),
        ("ssl-protocols", "SSLv3"),
    ]);
    assert_eq!(odd.spec().policy.risk, Some(Risk::Low));
    assert_eq!((odd.notes.len(), odd.settings), (2, Settings::default()));
}

#[test]
fn bodies_are_waited_for_as_the_behaviour_or_the_config_map_has_it() {
    let of = |data: &[(&str, &str)]| {
        let read = read_all(data);
        let (spec, nginx) = (Behaviour::Spec, Behaviour::IngressNginx);
        let keeps = |behaviour| read.defaults.of(behaviour).route.keeps_bodies;
        (keeps(spec), keeps(nginx), read.notes.len())
    };
    let key = "proxy-request-buffering";
    assert_eq!(of(&[]), (false, true, 0));
    assert_eq!(of(&[(key, "on")]), (true, true, 0));
    assert_eq!(of(&[(key, "off")]), (false, false, 0));
    assert_eq!(of(&[(key, "perhaps")]), (false, true, 1));
    let size = "client-body-buffer-size";
    assert_eq!(of(&[(size, "16k")]), (false, true, 0));
    assert_eq!(of(&[(size, "2m")]), (false, true, 1));
    let heads = |data: &[(&str, &str)]| {
        let read = read_all(data).defaults;
        let of = |behaviour| read.of(behaviour).route.response_head;
        (of(Behaviour::Spec), of(Behaviour::IngressNginx))
    };
    assert_eq!(heads(&[]), (None, Some(4096)));
    let size = [("proxy-buffer-size", "16k")];
    assert_eq!(heads(&size), (Some(16 << 10), Some(16 << 10)));
}
