// SPDX-License-Identifier: Apache-2.0
//! Patterns, rewrites and redirects: as ingress-nginx has them, and as the documentation of Ingress
//! would.

use super::*;
use crate::ingress::table::Behaviour;

/// An Ingress that is read as ingress-nginx does it.
fn nginx(text: &str, created: i64, rules: &[&str], annotations: &[(&str, &str)]) -> Ingress {
    Ingress {
        class: Some("nginx".into()),
        ..spec(text, created, rules, annotations)
    }
}

/// One that is read as the documentation of Ingress has it.
fn spec(text: &str, created: i64, rules: &[&str], annotations: &[(&str, &str)]) -> Ingress {
    let annotations = annotations.iter();
    Ingress {
        annotations: annotations
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..ingress(text, created, rules)
    }
}

type Make = fn(&str, i64, &[&str], &[(&str, &str)]) -> Ingress;

fn serve(ingresses: &[Ingress]) -> (Catalog, Update) {
    let options = Options {
        controllers: vec![CONTROLLER.into(), NGINX_CONTROLLER.into()],
        ..Options::default()
    };
    let class = event(class("nginx", NGINX_CONTROLLER, false));
    catalog(
        options,
        [class].into_iter().chain(ingresses.iter().map(put)),
    )
}

/// The service that answers, with the rewrite, or the redirect; `default` and `none` for nobody.
fn answers(catalog: &Catalog, host: &str, path: &str) -> String {
    let Some(route) = catalog.table().router.find(host, path) else {
        return "none".to_owned();
    };
    if let Some(redirect) = &route.settings.redirect {
        return redirect.describe();
    }
    let who = match &route.backend {
        Backend::Upstream(upstream) => upstream.id.service.name.to_string(),
        Backend::Status(status) => status.to_string(),
        Backend::Default => "default".to_owned(),
    };
    match &route.settings.rewrite {
        Some(rewrite) => format!("{who} as {}", rewrite.target()),
        None => who,
    }
}

#[track_caller]
fn expect(catalog: &Catalog, rows: &[(&str, &str)]) {
    for (path, expected) in rows {
        assert_eq!(answers(catalog, "h.com", path), *expected, "{path}");
    }
}

#[test]
fn slashes_as_nginx_has_them() {
    let rules = [
        "h.com/foo=a",
        "h.com/bar/=b",
        "!h.com/baz/=b",
        "h.com/x/y/=a",
    ];
    let (catalog, _) = serve(&[nginx("i", 1, &rules, &[])]);
    expect(
        &catalog,
        &[
            ("/foo", "a"),
            ("/foo/", "a"),
            ("/foo/x", "a"),
            ("/foobar", "default"),
            ("/bar", "301 /bar/"),
            ("/bar/", "b"),
            ("/bar/x", "b"),
            ("/baz", "301 /baz/"),
            ("/baz/", "b"),
            ("/baz/x", "default"),
            ("/x/y", "301 /x/y/"),
            ("/x", "default"),
            ("/", "default"),
        ],
    );
    let exact = ["h.com/bar/=b", "!h.com/bar=a", "h.com/=a"];
    let (catalog, _) = serve(&[nginx("i", 1, &exact, &[])]);
    expect(&catalog, &[("/bar", "a"), ("/bar/", "b"), ("/x", "a")]);
    let (catalog, _) = serve(&[spec("i", 1, &["h.com/bar/=b"], &[])]);
    expect(&catalog, &[("/bar", "b"), ("/x", "none")]);
}

#[test]
fn implementation_specific_is_prefix_to_ingress_nginx() {
    let mut one = nginx("i", 1, &["h.com/foo=a"], &[]);
    one.rules[0].paths[0].kind = IngressPathType::ImplementationSpecific;
    let mut two = spec("i", 1, &["i.com/foo=a"], &[]);
    two.name = name("j");
    two.rules[0].paths[0].kind = IngressPathType::ImplementationSpecific;
    let (catalog, _) = serve(&[one, two]);
    expect(
        &catalog,
        &[("/foo", "a"), ("/foo/x", "a"), ("/foobar", "default")],
    );
    assert_eq!(answers(&catalog, "i.com", "/foobar"), "a");
}

/// The example of ingress-nginx's page about paths.
#[test]
fn one_rewrite_makes_all_paths_of_its_host_patterns() {
    let (catalog, update) = serve(&[
        nginx(
            "one",
            1,
            &["h.com/foo/bar=a", "h.com/foo/bar/=b", "i.com/foo=a"],
            &[],
        ),
        nginx(
            "two",
            2,
            &["h.com/foo/bar/(.+)=b"],
            &[("rewrite-target", "/$1")],
        ),
    ]);
    expect(
        &catalog,
        &[
            ("/foo/bar/1", "b as /$1"),
            ("/foo/bar/", "b"),
            ("/foo/bar", "a"),
            ("/FOO/Bar", "a"),
            ("/foo/barbar", "a"),
            ("/foo", "default"),
        ],
    );
    assert_eq!(answers(&catalog, "i.com", "/FOO"), "default");
    assert_eq!(update.notes[&name("two")], [""; 0]);
}

/// The example of its warning.
#[test]
fn the_longest_pattern_goes_first_even_before_exact_paths() {
    let rules = [
        "!h.com/foo/bar/bar=a",
        "h.com/foo/bar/[A-Z0-9]{3}=b",
        "!h.com/x=a",
    ];
    let (catalog, _) = serve(&[nginx("i", 1, &rules, &[("use-regex", "true")])]);
    expect(
        &catalog,
        &[
            ("/foo/bar/bar", "b"),
            ("/foo/bar/ba", "default"),
            ("/Xy", "a"),
        ],
    );
    let same_length = ["h.com/aa=a", "h.com/a.=b"];
    let (catalog, _) = serve(&[nginx("i", 1, &same_length, &[("use-regex", "true")])]);
    expect(&catalog, &[("/aa", "a"), ("/ab", "b")]);
}

#[test]
fn a_target_that_is_the_path_is_none_but_for_what_ingress_nginx_adds() {
    let target = [("rewrite-target", "/")];
    let (catalog, _) = serve(&[nginx("i", 1, &["h.com/=a"], &target)]);
    expect(&catalog, &[("/", "a"), ("/X", "a")]);
    let target = [("rewrite-target", "/foo")];
    let (catalog, _) = serve(&[nginx("i", 1, &["h.com/foo=a", "h.com/=b"], &target)]);
    expect(
        &catalog,
        &[
            ("/foo", "a"),
            ("/foo/bar", "a as /foo"),
            ("/x", "b as /foo"),
        ],
    );
    let (catalog, _) = serve(&[spec("i", 1, &["h.com/foo=a"], &target)]);
    expect(
        &catalog,
        &[("/foo", "a"), ("/foo/bar", "a"), ("/FOO", "none")],
    );
}

#[test]
fn by_the_documentation_only_those_are_patterns_that_ask_for_it() {
    let (catalog, _) = serve(&[
        spec(
            "plain",
            1,
            &["h.com/foo=a", "h.com/api/v2=a", "!h.com/e=a"],
            &[],
        ),
        spec(
            "patterns",
            2,
            &["h.com/(.*)=b", "h.com/api(/|$)(.*)=b", "!h.com/n/\\d=b"],
            &[("rewrite-target", "/$1")],
        ),
    ]);
    expect(
        &catalog,
        &[
            ("/foo", "a"),
            ("/FOO", "b as /$1"),
            ("/foobar", "b as /$1"),
            ("/api", "b as /$1"),
            ("/api/v2/x", "a"),
            ("/api/v3", "b as /$1"),
            ("/e", "a"),
            ("/e/x", "b as /$1"),
            ("/n/1", "b as /$1"),
            ("/n/12", "b as /$1"),
        ],
    );
    let route = |path| catalog.table().router.find("h.com", path).expect("a route");
    assert_eq!(&*route("/n/1").path, "/n/\\d");
    assert_eq!(&*route("/n/12").path, "/(.*)");
}

#[test]
fn what_cannot_be_a_pattern_is_closed_and_told() {
    let rules = ["h.com/api/(?!internal).*=a", "h.com/=b"];
    for make in [nginx, spec] {
        let one = make("i", 1, &rules, &[("use-regex", "true")]);
        let (catalog, update) = serve(&[one]);
        expect(
            &catalog,
            &[("/api/x", "503"), ("/API/internal", "503"), ("/x", "b")],
        );
        assert_eq!(
            update.notes[&name("i")],
            [
                "path \"/api/(?!internal).*\" of host \"h.com\" has look-ahead, which cannot be served \
              in linear time: \"^/api/(?!internal).*\"; it answers 503"
            ]
        );
    }
}

#[test]
fn a_solver_goes_before_patterns_and_redirects() {
    const PATH: &str = "/.well-known/acme-challenge/abc";
    for make in [nginx, spec] {
        let force = [("force-ssl-redirect", "true"), ("app-root", "/app")];
        let patterns = [force[0], force[1], ("rewrite-target", "/$1")];
        let main = make(
            "main",
            1,
            &["h.com/(.*)=a", "h.com/.well-known/(.*)=a"],
            &patterns,
        );
        let mut solver = make(
            "solver",
            2,
            &["h.com/.well-known/acme-challenge/abc=b"],
            &force,
        );
        solver.rules[0].paths[0].kind = IngressPathType::ImplementationSpecific;
        let (catalog, _) = serve(&[main, solver]);
        expect(&catalog, &[(PATH, "b"), ("/x", "a as /$1")]);
        let route = catalog.table().router.find("h.com", PATH).expect("a route");
        assert_eq!(route.settings.https_redirect, None);
        let other = catalog.table().router.find("h.com", "/x").expect("a route");
        assert_eq!(other.settings.https_redirect, Some(308));
    }
}

#[test]
fn paths_may_be_left_out_of_redirects_to_https() {
    let rules = ["h.com/=a", "h.com/.well-known/acme-challenge/=b"];
    let (catalog, _) = serve(&[nginx("i", 1, &rules, &[("force-ssl-redirect", "true")])]);
    let redirect = |path: &str| {
        let route = catalog.table().router.find("h.com", path).expect("a route");
        route.settings.https_redirect
    };
    assert_eq!(redirect("/.well-known/acme-challenge/x/y"), None);
    assert_eq!(redirect("/.well-known/x"), Some(308));
}

#[test]
fn the_root_of_an_application_is_that_of_its_host() {
    let root = [("app-root", "/app")];
    for make in [nginx, spec] {
        let one = make("one", 1, &["!h.com/=b", "h.com/x=b"], &[]);
        let two = make("two", 2, &["h.com/app=a"], &root);
        let (catalog, _) = serve(&[one, two]);
        let redirect = "302 $scheme://$http_host/app";
        expect(&catalog, &[("/", redirect), ("/app", "a"), ("/x", "b")]);
    }
}

/// The Ingress that is first by age decides for all of its host.
#[test]
fn a_host_has_one_behaviour() {
    let (catalog, update) = serve(&[
        nginx("young", 2, &["h.com/bar/=b"], &[]),
        spec("old", 1, &["h.com/foo/=a"], &[]),
    ]);
    expect(&catalog, &[("/foo", "a"), ("/bar", "b"), ("/x", "none")]);
    assert_eq!(
        update.notes[&name("young")],
        ["host \"h.com\" is read as spec has it, as Ingress default/old is"]
    );
    assert_eq!(update.notes[&name("old")], [""; 0]);
    assert_eq!(Behaviour::default(), Behaviour::Spec);
}

#[test]
fn of_the_same_second_ingress_nginx_takes_the_last_by_name() {
    let both = |make: Make| {
        let all = [
            make("x", 1, &["h.com/=a"], &[]),
            make("y", 1, &["h.com/=b"], &[]),
        ];
        answers(&serve(&all).0, "h.com", "/")
    };
    assert_eq!(both(nginx), "b");
    assert_eq!(both(spec), "a");
}

#[test]
fn to_ingress_nginx_one_certificate_secures_a_host() {
    let redirects = |make: Make| {
        let on = [("ssl-redirect", "true")];
        let one = with_tls(make("one", 1, &["h.com/a=a"], &on), &["other.com"], "s");
        let (catalog, _) = serve(&[one, make("two", 2, &["h.com/b=b"], &on)]);
        ["/a", "/b"].map(|path| {
            let route = catalog.table().router.find("h.com", path).expect("a route");
            route.settings.https_redirect
        })
    };
    assert_eq!(redirects(nginx), [Some(308), Some(308)]);
    assert_eq!(redirects(spec), [None, None]);
}

#[test]
fn a_host_that_has_no_path_for_a_request_ends_there_in_ingress_nginx() {
    let all = nginx("all", 1, &["/all=b", "=b"], &[]);
    let host = nginx("host", 2, &["h.com/x=a"], &[("force-ssl-redirect", "true")]);
    let own = nginx("own", 3, &["i.com/x=a", "=b"], &[]);
    let (catalog, _) = serve(&[all, host, own]);
    expect(&catalog, &[("/x", "a"), ("/all", "default")]);
    let missed = catalog
        .table()
        .router
        .find("h.com", "/all")
        .expect("a route");
    assert_eq!(missed.settings.https_redirect, Some(308));
    assert_eq!(answers(&catalog, "i.com", "/y"), "b");
    assert_eq!(answers(&catalog, "j.com", "/all/1"), "b");
    assert_eq!(answers(&catalog, "j.com", "/y"), "none");
}

#[test]
fn the_other_name_is_redirected_until_somebody_has_it() {
    for (host, other) in [("h.com", "www.h.com"), ("www.h.com", "h.com")] {
        let rule = format!("{host}/=a");
        let www = [("from-to-www-redirect", "true")];
        let one = spec("one", 1, &[&*rule], &www);
        let (mut catalog, _) = serve(&[with_tls(one, &[host], "s")]);
        let expected = format!("308 the same place on {host}");
        assert_eq!(answers(&catalog, other, "/x"), expected);
        assert_eq!(answers(&catalog, host, "/x"), "a");
        assert_eq!(catalog.wishes().by_host[other], name("s"));
        let rule = format!("{other}/x=b");
        catalog.apply(put(&spec("two", 2, &[&*rule], &[])));
        catalog.commit();
        assert_eq!(answers(&catalog, other, "/x"), "b");
        assert_eq!(answers(&catalog, other, "/y"), "none");
        catalog.apply(gone("two"));
        catalog.commit();
        assert_eq!(answers(&catalog, other, "/x"), expected);
        catalog.apply(gone("one"));
        let update = catalog.commit();
        assert_eq!(answers(&catalog, other, "/x"), "none");
        assert!(update.wishes.expect("changed").by_host.is_empty());
    }
}

#[test]
fn other_names_lead_to_their_host_and_lose_to_real_ones() {
    let alias = [(
        "server-alias",
        "b.com,*.c.com,~^d\\d+\\.com$,b.com,real.com",
    )];
    let one = with_tls(spec("one", 1, &["h.com/=a"], &alias), &["h.com"], "s");
    let late = spec("late", 2, &["h.com/x=b"], &[("server-alias", "late.com")]);
    let real = spec("real", 3, &["real.com/=b"], &[]);
    let wild = spec("wild", 4, &["*.c.com/=b"], &[]);
    let (mut catalog, _) = serve(&[one, late, real, wild]);
    for (host, expected) in [
        ("b.com", "a"),
        ("x.c.com", "a"),
        ("x.y.c.com", "a"),
        ("d7.com", "a"),
        ("d.com", "none"),
        ("late.com", "none"),
        ("real.com", "b"),
    ] {
        assert_eq!(answers(&catalog, host, "/"), expected, "{host}");
    }
    let by_host = catalog.wishes().by_host;
    assert_eq!(by_host["b.com"], name("s"));
    assert_eq!(by_host["*.c.com"], name("s"));
    catalog.apply(gone("real"));
    catalog.commit();
    assert_eq!(answers(&catalog, "real.com", "/"), "a");
    catalog.apply(gone("one"));
    catalog.commit();
    assert_eq!(answers(&catalog, "b.com", "/"), "none");
    assert_eq!(answers(&catalog, "late.com", "/x"), "b");
}

#[test]
fn a_catch_all_s_settings_hold_but_for_redirects() {
    let limits = [("proxy-read-timeout", "7"), ("force-ssl-redirect", "true")];
    let redirect = ("permanent-redirect", "https://x");
    let all = nginx("all", 1, &["=a"], &[limits[0], limits[1], redirect]);
    let (mut catalog, _) = serve(&[all]);
    let defaults = &catalog.table().defaults;
    assert_eq!(defaults.read_timeout.as_secs(), 7);
    assert_eq!(
        (defaults.https_redirect, defaults.redirect.clone()),
        (None, None)
    );
    catalog.apply(put(&nginx(
        "all",
        1,
        &["=a"],
        &[("proxy-read-timeout", "9")],
    )));
    catalog.commit();
    assert_eq!(catalog.table().defaults.read_timeout.as_secs(), 9);
    catalog.apply(gone("all"));
    catalog.commit();
    assert_eq!(catalog.table().defaults.read_timeout.as_secs(), 60);
}

/// Endpoints come and go, and patterns are compiled once.
#[test]
fn a_host_that_is_built_again_has_the_same_patterns() {
    let one = nginx("i", 1, &["h.com/x(.*)=a"], &[("rewrite-target", "/$1")]);
    let (mut catalog, _) = serve(&[one]);
    let pattern = |catalog: &Catalog| {
        let host = catalog.table().router.host("h.com").expect("a host");
        host.patterns().next().expect("one").pattern.clone()
    };
    let before = pattern(&catalog);
    catalog.apply(slice("a", "http", &["10.0.0.7"]));
    assert_eq!(catalog.commit().work.hosts, 1);
    assert!(Arc::ptr_eq(&before, &pattern(&catalog)));
}
