// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

/// 2,000 Ingresses in as many hosts, and one host of 100 Ingresses.
fn many() -> Catalog {
    let single = (0..2000).map(|n| {
        let service = if n % 2 == 0 { "a" } else { "s" };
        let rule = format!("h{n}.com/={service}");
        put(&ingress(&format!("i{n}"), n, &[&rule]))
    });
    let shared = (0..100).map(|n| {
        let rule = format!("shared.com/{n}=b");
        put(&ingress(&format!("shared{n}"), n, &[&rule]))
    });
    catalog(Options::default(), single.chain(shared)).0
}

#[test]
fn work_is_proportional_to_the_change() {
    let mut catalog = many();
    let mut work = |event: Event| {
        catalog.apply(event);
        let update = catalog.commit();
        let w = update.work;
        (w.ingresses, w.upstreams, w.hosts, w.routes)
    };
    assert_eq!(
        work(put(&ingress("i7", 7, &["h7.com/=a", "h7.com/x=b"]))),
        (1, 2, 1, 2)
    );
    assert_eq!(work(put(&ingress("i7", 7, &["new.com/=a"]))), (1, 1, 2, 1));
    assert_eq!(work(gone("i9")), (1, 0, 1, 0));
    assert_eq!(
        work(put(&ingress("new", 1, &["shared.com/new=a:81"]))),
        (1, 2, 1, 101)
    );
    assert_eq!(work(slice("b", "http", &["10.0.0.77"])), (0, 1, 1, 101));
    assert_eq!(
        work(slice("b", "http", &["10.0.0.77"])),
        (0, 0, 0, 0),
        "nothing new"
    );
    assert_eq!(
        work(slice("b", "other", &["10.0.0.78"])),
        (0, 1, 0, 0),
        "another port"
    );
    assert_eq!(work(slice("unused", "http", &["10.0.0.79"])), (0, 0, 0, 0));
    assert_eq!(work(add(service("unused"))), (0, 0, 0, 0));
    let mut status = ingress("i8", 8, &["h8.com/=a"]);
    status.addresses = vec!["192.0.2.1".into()];
    assert_eq!(
        work(put(&status)),
        (0, 0, 0, 0),
        "its status is our own word"
    );
}

/// Everything that a request could notice, and what is said.
fn dump(catalog: &Catalog) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (host, routes) in catalog.table().router.hosts() {
        for path in routes.paths() {
            let (ingress, kind) = (&path.route.ingress, path.kind);
            let backend = show(&path.route.backend);
            let settings = &path.route.settings;
            lines.push(format!(
                "{host} {kind} {} {ingress} {backend} {settings:?}",
                path.path
            ));
        }
        for (place, pattern) in routes.patterns().enumerate() {
            let (text, route) = (pattern.pattern.text(), &pattern.entry.route);
            lines.push(format!("{host} {place} {text} {route:?}"));
        }
        let default = routes.default.iter();
        lines.extend(default.map(|route| format!("{host} default {route:?}")));
    }
    for host in ["alias.com", "www.h.com"] {
        let found = catalog.table().router.find(host, "/x");
        lines.push(format!("{host} leads to {found:?}"));
    }
    lines.push(format!("{:?}", catalog.table().default_backend));
    lines.push(format!("{:?}", catalog.table().defaults));
    lines.push(format!("{:?}", catalog.wishes()));
    for ingress in catalog.served() {
        lines.push(format!(
            "{} {:?}",
            ingress.name,
            catalog.notes(&ingress.name)
        ));
    }
    lines.sort();
    lines
}

const ANNOTATIONS: &[Option<(&str, &str)>] = &[
    None,
    None,
    Some(("app-root", "/app")),
    Some(("force-ssl-redirect", "true")),
    Some(("from-to-www-redirect", "true")),
    Some(("proxy-read-timeout", "7")),
    Some(("rewrite-target", "/$1")),
    Some(("server-alias", "alias.com")),
    Some(("use-regex", "true")),
];

fn small_ingress() -> impl Strategy<Value = Ingress> {
    let host = prop_oneof![Just("h.com"), Just("*.com"), Just("i.com"), Just("")];
    let path = prop_oneof![
        Just("/"),
        Just("/x"),
        Just("/x/"),
        Just("/x/y"),
        Just("/x(.*)"),
        Just("")
    ];
    let service = prop_oneof![Just("a"), Just("b:http"), Just("b:81"), Just("c"), Just("")];
    let rule = (host, path, any::<bool>(), service);
    let rule = rule.prop_map(|(host, path, exact, service)| {
        let mark = if exact { "!" } else { "" };
        match (host, path) {
            ("", "") => format!("={}", if service.is_empty() { "a" } else { service }),
            _ => format!("{mark}{host}{path}={service}"),
        }
    });
    let tls = prop::option::of((prop_oneof![Just("h.com"), Just("")], "[st]"));
    let parts = (
        0..4,
        0..3_i64,
        prop::collection::vec(rule, 0..4),
        tls,
        0..5_usize,
        (prop::sample::select(ANNOTATIONS), annotations()),
    );
    parts.prop_map(
        |(n, created, rules, tls, class, (annotation, annotations))| {
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            let mut one = ingress(&format!("i{n}"), created, &rules);
            if let Some((host, secret)) = tls {
                let hosts: Vec<&str> = (!host.is_empty()).then_some(host).into_iter().collect();
                one = with_tls(one, &hosts, &secret);
            }
            let classes = ["ours", "ours", "theirs", "nginx"];
            one.class = classes.get(class).map(|class| (*class).into());
            one.annotations
                .extend(annotation.map(|(name, value)| (name.into(), value.into())));
            let more = annotations.into_iter();
            one.annotations
                .extend(more.map(|(name, value)| (name.into(), value.into())));
            one
        },
    )
}

/// Those that look at more than their Ingress: Services, ConfigMaps, other Ingresses of the host.
fn annotations() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let one = prop_oneof![
        Just(("default-backend", "b")),
        Just(("custom-http-errors", "404")),
        Just(("custom-headers", "sys/linked")),
        Just(("server-snippet", "add_header X one;")),
        Just(("server-snippet", "add_header X two;")),
        Just(("configuration-snippet", "return 404;")),
    ];
    prop::collection::vec(one, 0..3).prop_map(|all| all.into_iter().collect())
}

/// What the ConfigMap says, and one that is linked.
fn config_map() -> impl Strategy<Value = Event> {
    let settings = prop_oneof![
        Just(("sys/settings", "allow-snippet-annotations", "true")),
        Just(("sys/settings", "global-allowed-response-headers", "x-a")),
        Just(("sys/settings", "add-headers", "sys/linked")),
        Just(("sys/linked", "x-a", "1")),
        Just(("sys/linked", "x-a", "2")),
        Just(("sys/linked", "x-b", "1")),
    ];
    settings.prop_map(|(map, key, value)| {
        let (namespace, name) = map.split_once('/').expect("a slash");
        let name = ServiceName::new(namespace, name);
        let map = ConfigMap {
            name: name.clone(),
            data: [(key.into(), value.into())].into(),
        };
        event(IngressEvent::ConfigMap(name, Observed::new(map)))
    })
}

fn change() -> impl Strategy<Value = Event> {
    let addresses = prop::collection::vec("10\\.0\\.0\\.[1-9](!u)?", 0..3);
    let services = || prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        4 => small_ingress().prop_map(|ingress| put(&ingress)),
        1 => (0..4).prop_map(|n| gone(&format!("i{n}"))),
        1 => services().prop_map(|name| add(service(name))),
        1 => services().prop_map(|text| {
            event(IngressEvent::Service(name(text), Observed::gone()))
        }),
        2 => (services(), addresses).prop_map(|(name, addresses)| {
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            slice(name, "http", &addresses)
        }),
        2 => config_map(),
        1 => ("[st]").prop_map(|name| secret(&name)),
        1 => ("[st]").prop_map(|text| {
            event(IngressEvent::Secret(name(&text), Observed::gone()))
        }),
        1 => (
            prop_oneof![Just("ours"), Just("theirs"), Just("nginx")],
            prop_oneof![Just(CONTROLLER), Just(NGINX_CONTROLLER), Just("example.com/other")],
            any::<bool>(),
        ).prop_map(
            |(name, controller, default)| {
                event(class(name, controller, default))
            }
        ),
        1 => Just(event(IngressEvent::Class("ours".into(), Observed::gone()))),
    ]
}

/// What tells whether an event takes another's place.
fn place(event: &Event) -> String {
    event.object_ref().expect("an object").to_string()
}

proptest! {
    #[test]
    fn step_by_step_is_as_from_scratch(
        changes in prop::collection::vec((change(), any::<bool>()), 1..40),
        first in any::<bool>(),
    ) {
        let options = Options {
            default_backend: first.then(|| name("c")),
            config_map: Some(ServiceName::new("sys", "settings")),
            controllers: vec![CONTROLLER.into(), NGINX_CONTROLLER.into()],
            ..Options::default()
        };
        let mut stepwise = Catalog::new("n1", options.clone());
        let mut newest: BTreeMap<String, Event> = BTreeMap::new();
        for (change, commit) in &changes {
            stepwise.apply(change.clone());
            newest.insert(place(change), change.clone());
            if *commit {
                stepwise.commit();
            }
        }
        stepwise.commit();
        let mut fresh = Catalog::new("n1", options);
        newest.into_values().for_each(|event| fresh.apply(event));
        fresh.commit();
        prop_assert_eq!(dump(&stepwise), dump(&fresh));
    }
}
