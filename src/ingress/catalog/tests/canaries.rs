// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::ingress::table::{Balance, Canary};

fn with(mut ingress: Ingress, annotations: &[(&str, &str)]) -> Ingress {
    let all = annotations.iter();
    ingress.annotations = all.map(|(k, v)| ((*k).into(), (*v).into())).collect();
    ingress
}

const WEIGHT: (&str, &str) = ("canary-weight", "10");

fn canary(text: &str, created: i64, rules: &[&str]) -> Ingress {
    with(ingress(text, created, rules), &[("canary", "true"), WEIGHT])
}

fn canary_of(catalog: &Catalog, path: &str) -> Option<Arc<Canary>> {
    let route = catalog.table().router.find("h.com", path);
    route.expect("a route").canary.clone()
}

/// The canary of a path, and its endpoints.
fn show_canary(catalog: &Catalog, path: &str) -> String {
    let canary = canary_of(catalog, path);
    canary.map_or_else(String::new, |canary| {
        show(&Backend::Upstream(canary.upstream.clone()))
    })
}

#[test]
fn a_canary_has_the_paths_of_another_and_none_of_its_own() {
    let all = [
        put(&canary(
            "c",
            1,
            &["h.com/=b", "h.com/alone=b", "!h.com/x=b"],
        )),
        put(&ingress("i", 2, &["h.com/=a", "h.com/x=a"])),
        put(&canary("late", 3, &["h.com/=b"])),
        put(&canary("same", 4, &["h.com/x=a"])),
    ];
    let (mut catalog, update) = catalog(Options::default(), all);
    assert_eq!(find(&catalog, "h.com", "/"), "default/a:80 10.0.0.1:8080");
    assert_eq!(show_canary(&catalog, "/"), "default/b:80 10.0.0.2:8080");
    let shown = crate::ingress::explain::explain(&catalog, &Default::default(), "h.com", "/");
    assert_eq!(
        shown.answer,
        "default/a:80 (canary default/b:80 of default/c)"
    );
    assert_eq!(
        find(&catalog, "h.com", "/alone"),
        find(&catalog, "h.com", "/")
    );
    assert_eq!(show_canary(&catalog, "/x"), "");
    let notes = |of: &str| update.notes[&name(of)].join("\n");
    assert!(
        notes("c").contains("paths[0]: a canary of a path that no other"),
        "{}",
        notes("c")
    );
    assert!(notes("late").contains("the older Ingress default/c is the canary here"));
    assert!(notes("same").contains("is what the Ingress default/i has, too"));

    // Endpoints that come and go are followed, also those of the canary.
    catalog.apply(slice("b", "http", &[]));
    catalog.commit();
    assert_eq!(show_canary(&catalog, "/"), "");
    catalog.apply(slice("b", "http", &["10.0.0.9"]));
    catalog.commit();
    assert_eq!(show_canary(&catalog, "/"), "default/b:80 10.0.0.9:8080");
    catalog.apply(gone("c"));
    catalog.commit();
    assert_eq!(
        canary_of(&catalog, "/").map(|c| c.ingress.clone()),
        Some(name("late"))
    );
    catalog.apply(gone("i"));
    let update = catalog.commit();
    assert_eq!(find(&catalog, "h.com", "/"), "none");
    assert!(
        update.notes[&name("late")]
            .join("")
            .contains("nothing is served")
    );
}

#[test]
fn a_canary_of_everything_is_told() {
    let default = with(ingress("c", 1, &["=b"]), &[("canary", "true")]);
    let all = [put(&default), put(&ingress("i", 2, &["=a"]))];
    let (catalog, update) = catalog(Options::default(), all);
    assert!(find(&catalog, "h.com", "/").starts_with("default default/a:80"));
    assert!(update.notes[&name("c")][0].contains("a canary takes requests of paths only"));
}

/// How endpoints are chosen comes from the canary, sessions and what is spoken from the route.
#[test]
fn what_a_canary_has_from_whom() {
    let of_route = [
        ("affinity", "cookie"),
        ("backend-protocol", "HTTPS"),
        ("load-balance", "ewma"),
    ];
    let own = [
        ("canary", "true"),
        ("backend-protocol", "GRPC"),
        ("upstream-hash-by", "$host"),
    ];
    let legacy = [&own[..], &[("affinity-canary-behavior", "legacy")]].concat();
    for (own, sessions) in [(&own[..], true), (&legacy[..], false)] {
        let all = [
            put(&with(ingress("i", 1, &["h.com/=a"]), &of_route)),
            put(&with(ingress("c", 2, &["h.com/=b"]), own)),
        ];
        let (catalog, _) = catalog(Options::default(), all);
        let upstream = canary_of(&catalog, "/").expect("a canary").upstream.clone();
        assert_eq!(upstream.protocol, UpstreamProtocol::Tls);
        assert!(matches!(upstream.balance, Balance::Hash(..)));
        assert_eq!(upstream.sessions.is_some(), sessions);
        let route = catalog.table().router.find("h.com", "/").expect("a route");
        let Backend::Upstream(primary) = &route.backend else {
            panic!("no endpoints");
        };
        assert_eq!(primary.balance, Balance::PeakEwma);
        assert!(primary.sessions.is_some());
    }
}

#[test]
fn ingresses_that_want_the_same_share_an_upstream_and_others_do_not() {
    let all = [
        put(&ingress("i", 1, &["h.com/=a", "h.com/a=a"])),
        put(&with(
            ingress("e", 2, &["h.com/b=a", "h.com/c=a"]),
            &[("load-balance", "ewma")],
        )),
        put(&with(
            ingress("s", 3, &["h.com/d=a"]),
            &[("backend-protocol", "HTTPS")],
        )),
    ];
    let (catalog, _) = catalog(Options::default(), all);
    let upstream = |path: &str| {
        let route = catalog.table().router.find("h.com", path).expect("a route");
        match &route.backend {
            Backend::Upstream(upstream) => upstream.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(Arc::ptr_eq(&upstream("/"), &upstream("/a")));
    assert!(Arc::ptr_eq(&upstream("/b"), &upstream("/c")));
    let ids: BTreeSet<_> = ["/", "/b", "/d"]
        .map(|path| upstream(path).id.clone())
        .into();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_service_s_own_address_is_followed() {
    let by_service = [("service-upstream", "true")];
    let one = with(ingress("i", 1, &["h.com/=a"]), &by_service);
    let (mut catalog, update) = catalog(Options::default(), [put(&one)]);
    assert_eq!(find(&catalog, "h.com", "/"), "default/a:80 10.0.0.1:8080");
    assert!(update.notes[&name("i")][0].contains("has no ClusterIP"));
    let with_address = UpstreamService {
        cluster: Some([10, 96, 0, 1].into()),
        ..service("a")
    };
    catalog.apply(add(with_address));
    let update = catalog.commit();
    assert_eq!(find(&catalog, "h.com", "/"), "default/a:80 10.96.0.1:80");
    assert_eq!(update.notes[&name("i")], [""; 0]);
}

#[test]
fn settings_of_all_ingresses_hold_for_the_default_backend_too() {
    let options = Options {
        config_map: Some(name("sys/settings")),
        default_backend: Some(name("b")),
        ..Options::default()
    };
    let (mut catalog, _) = catalog(options, [put(&ingress("i", 1, &["h.com/=a"]))]);
    let map = crate::model::ConfigMap {
        name: name("sys/settings"),
        data: [("load-balance".into(), "ewma".into())].into(),
    };
    let observed = Observed::new(map);
    catalog.apply(event(IngressEvent::ConfigMap(
        name("sys/settings"),
        observed,
    )));
    catalog.commit();
    let table = catalog.table();
    let default = table.default_backend.as_ref().expect("a default backend");
    assert_eq!(default.balance, Balance::PeakEwma);
    let route = table.router.find("h.com", "/").expect("a route");
    let Backend::Upstream(upstream) = &route.backend else {
        panic!("no endpoints");
    };
    assert_eq!(upstream.balance, Balance::PeakEwma);
}
