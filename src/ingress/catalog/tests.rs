// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::ingress::table::{Backend, UpstreamProtocol};
use crate::model::fixture;
use crate::model::ingress::{
    IngressBackend, IngressPath, IngressPathType, IngressRule, IngressTls, PortRef, UpstreamPort,
};
use crate::model::{IngressClass, IpFamily, Observed, SliceName, UpstreamService};

fn name(text: &str) -> ServiceName {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    ServiceName::new(namespace, name)
}

fn backend(text: &str) -> IngressBackend {
    let (name, port) = text.split_once(':').unwrap_or((text, "80"));
    let port = port
        .parse()
        .map_or_else(|_| PortRef::Name(port.into()), PortRef::Number);
    IngressBackend::Service {
        name: name.into(),
        port,
    }
}

/// `HOST/PATH=SERVICE[:PORT]` each, of type Prefix, or Exact with a `!` in front. `HOST=` is a rule
/// without paths, and `=SERVICE` the default backend.
fn ingress(text: &str, created: i64, rules: &[&str]) -> Ingress {
    let mut ingress = Ingress {
        name: name(text),
        created,
        class: Some("ours".into()),
        class_annotation: None,
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
        annotations: BTreeMap::new(),
        addresses: Vec::new(),
    };
    for rule in rules {
        let (place, service) = rule.split_once('=').expect("an equals sign");
        if place.is_empty() {
            ingress.default_backend = Some(backend(service));
            continue;
        }
        let (kind, place) = match place.strip_prefix('!') {
            Some(place) => (IngressPathType::Exact, place),
            None => (IngressPathType::Prefix, place),
        };
        let split = place.find('/').unwrap_or(place.len());
        let path = IngressPath {
            path: place[split..].into(),
            kind,
            backend: backend(service),
        };
        ingress.rules.push(IngressRule {
            host: place[..split].into(),
            paths: (!service.is_empty()).then_some(path).into_iter().collect(),
        });
    }
    ingress
}

fn with_tls(mut ingress: Ingress, hosts: &[&str], secret: &str) -> Ingress {
    ingress.tls.push(IngressTls {
        hosts: hosts.iter().map(|host| (*host).into()).collect(),
        secret: Some(secret.into()),
    });
    ingress
}

fn class(name: &str, controller: &str, is_default: bool) -> IngressEvent {
    let class = IngressClass {
        name: name.into(),
        created: 0,
        controller: controller.into(),
        is_default,
    };
    IngressEvent::Class(name.into(), Observed::new(class))
}

/// A Service with the ports 80, called `http`, and 81.
fn service(text: &str) -> UpstreamService {
    let port = |name: &str, port| UpstreamPort {
        name: name.into(),
        port,
        target: None,
        app_protocol: None,
    };
    UpstreamService {
        name: name(text),
        external: None,
        family: IpFamily::V4,
        ports: vec![port("http", 80), port("", 81)],
    }
}

fn slice(of: &str, port_name: &str, endpoints: &[&str]) -> Event {
    let mut slice = fixture::slice(&format!("{of}-{port_name}"), of, 8080, endpoints);
    slice.ports[0].name = port_name.into();
    Event::Slice(slice.name.clone(), Observed::new(slice))
}

fn event(event: IngressEvent) -> Event {
    Event::Ingress(Box::new(event))
}

fn put(ingress: &Ingress) -> Event {
    let observed = Observed::new(ingress.clone());
    event(IngressEvent::Ingress(ingress.name.clone(), observed))
}

fn gone(text: &str) -> Event {
    event(IngressEvent::Ingress(name(text), Observed::gone()))
}

fn add(service: UpstreamService) -> Event {
    let name = service.name.clone();
    event(IngressEvent::Service(name, Observed::new(service)))
}

fn secret(text: &str) -> Event {
    let secret = Secret {
        name: name(text),
        certificate: Some((*b"c").into()),
        key: Some((*b"k").into()),
        authority: None,
        auth: None,
    };
    event(IngressEvent::Secret(
        secret.name.clone(),
        Observed::new(secret),
    ))
}

/// A catalog with the class `ours`, the Services `a` and `b` with an endpoint each, and more.
fn catalog(options: Options, more: impl IntoIterator<Item = Event>) -> (Catalog, Update) {
    let mut catalog = Catalog::new("n1", options);
    catalog.apply(event(class("ours", CONTROLLER, false)));
    for service_name in ["a", "b"] {
        catalog.apply(add(service(service_name)));
    }
    catalog.apply(slice("a", "http", &["10.0.0.1"]));
    catalog.apply(slice("b", "http", &["10.0.0.2"]));
    more.into_iter().for_each(|event| catalog.apply(event));
    let update = catalog.commit();
    (catalog, update)
}

fn find(catalog: &Catalog, host: &str, path: &str) -> String {
    match catalog.table().router.find(host, path) {
        Some(route) => show(&route.backend),
        None => match &catalog.table().default_backend {
            Some(upstream) => format!("default {}", show(&Backend::Upstream(upstream.clone()))),
            None => "none".into(),
        },
    }
}

fn show(backend: &Backend) -> String {
    match backend {
        Backend::Status(status) => status.to_string(),
        Backend::Upstream(upstream) => {
            let endpoints = upstream.endpoints.iter().map(ToString::to_string);
            let endpoints: Vec<_> = endpoints.collect();
            format!("{} {}", upstream.id, endpoints.join(","))
        }
    }
}

#[test]
fn a_path_leads_to_the_endpoints_of_its_port() {
    let one = ingress("i", 1, &["h.com/x=a", "h.com/y=b:http", "h.com/z=b:81"]);
    let (catalog, update) = catalog(Options::default(), [put(&one)]);
    assert_eq!(find(&catalog, "h.com", "/x"), "default/a:80 10.0.0.1:8080");
    assert_eq!(
        find(&catalog, "h.com", "/y/1"),
        "default/b:http 10.0.0.2:8080"
    );
    assert_eq!(find(&catalog, "h.com", "/z"), "default/b:81 ");
    assert_eq!(find(&catalog, "h.com", "/"), "none");
    assert_eq!(update.notes[&name("i")], [""; 0]);
    assert!(update.served[&name("i")]);
}

#[test]
fn what_is_missing_is_told_and_answers_503() {
    let one = ingress("i", 1, &["h.com/x=none", "h.com/y=a:82", "h.com/z=a:grpc"]);
    let (mut catalog, update) = catalog(Options::default(), [put(&one)]);
    assert_eq!(find(&catalog, "h.com", "/x"), "default/none:80 ");
    let notes = &update.notes[&name("i")];
    let path = |n| format!("spec.rules[{n}].http.paths[0].backend: Service default/");
    let (x, y, z) = (path(0), path(1), path(2));
    assert_eq!(notes[0], format!("{x}none is not there"));
    assert_eq!(notes[1], format!("{y}a has no TCP port 82"));
    assert_eq!(notes[2], format!("{z}a has no TCP port grpc"));
    catalog.apply(add(service("none")));
    let update = catalog.commit();
    assert_eq!(update.notes[&name("i")].len(), 2);
}

#[test]
fn an_unusable_backend_keeps_its_path() {
    let mut one = ingress("i", 1, &["h.com/=a", "h.com/x=b"]);
    one.rules[1].paths[0].backend = IngressBackend::Unusable;
    let (catalog, _) = catalog(Options::default(), [put(&one)]);
    assert_eq!(find(&catalog, "h.com", "/x"), "503");
    assert_eq!(find(&catalog, "h.com", "/"), "default/a:80 10.0.0.1:8080");
}

#[test]
fn the_older_ingress_keeps_a_path() {
    let young = ingress("a-young", 9, &["h.com/=b", "h.com/y=b"]);
    let old = ingress("z-old", 1, &["h.com/=a"]);
    let (mut catalog, update) = catalog(Options::default(), [put(&young), put(&old)]);
    assert_eq!(find(&catalog, "h.com", "/"), "default/a:80 10.0.0.1:8080");
    assert_eq!(find(&catalog, "h.com", "/y"), "default/b:80 10.0.0.2:8080");
    let lost = "spec.rules[0].http.paths[0]: Prefix \"/\" of host \"h.com\" belongs to the older \
                Ingress default/z-old";
    assert_eq!(update.notes[&name("a-young")], [lost]);
    catalog.apply(gone("z-old"));
    let update = catalog.commit();
    assert_eq!(find(&catalog, "h.com", "/"), "default/b:80 10.0.0.2:8080");
    assert_eq!(update.notes[&name("a-young")], [""; 0]);
}

#[test]
fn default_backends() {
    let all = ingress("all", 1, &["=a"]);
    let young = ingress("young", 2, &["=b"]);
    let of_host = ingress("host", 3, &["h.com/x=a", "=b"]);
    let no_paths = ingress("no-paths", 4, &["i.com=", "=b"]);
    let events = [put(&all), put(&young), put(&of_host), put(&no_paths)];
    let (mut catalog, update) = catalog(Options::default(), events);
    assert_eq!(
        find(&catalog, "other", "/"),
        "default default/a:80 10.0.0.1:8080"
    );
    assert_eq!(find(&catalog, "h.com", "/"), "default/b:80 10.0.0.2:8080");
    assert_eq!(find(&catalog, "i.com", "/x"), "default/b:80 10.0.0.2:8080");
    let lost = "spec.defaultBackend: the older Ingress default/all has one";
    assert_eq!(update.notes[&name("young")], [lost]);
    catalog.apply(gone("all"));
    catalog.commit();
    assert_eq!(
        find(&catalog, "other", "/"),
        "default default/b:80 10.0.0.2:8080"
    );
    catalog.apply(slice("b", "http", &["10.0.0.9"]));
    catalog.commit();
    assert_eq!(
        find(&catalog, "other", "/"),
        "default default/b:80 10.0.0.9:8080"
    );
}

#[test]
fn the_default_backend_service() {
    let options = Options {
        default_backend: Some(name("b")),
        ..Options::default()
    };
    let (mut catalog, _) = catalog(options, []);
    assert_eq!(find(&catalog, "h", "/"), "default default/b: 10.0.0.2:8080");
    catalog.apply(event(IngressEvent::Service(name("b"), Observed::gone())));
    catalog.commit();
    assert_eq!(find(&catalog, "h", "/"), "default default/b: ");
}

#[test]
fn classes() {
    let verdict = |options: Options, change: &dyn Fn(&mut Ingress), classes: &[IngressEvent]| {
        let mut one = ingress("i", 1, &["h.com/=a"]);
        change(&mut one);
        let classes = classes.iter().cloned().map(event);
        let (catalog, _) = catalog(options, classes.chain([put(&one)]));
        let verdict = catalog.verdicts().next().expect("one").1;
        assert_eq!(catalog.served().count() == 1, verdict == Verdict::Served);
        verdict.to_string()
    };
    let named = |class: Option<&'static str>, annotation: Option<&'static str>| {
        move |i: &mut Ingress| {
            i.class = class.map(Into::into);
            i.class_annotation = annotation.map(Into::into);
        }
    };
    let plain = Options::default;
    assert_eq!(verdict(plain(), &named(Some("ours"), None), &[]), "served");
    let nginx = [class("nginx", NGINX_CONTROLLER, true)];
    let other = "IngressClass nginx is of controller k8s.io/ingress-nginx";
    assert_eq!(verdict(plain(), &named(Some("nginx"), None), &nginx), other);
    let both = || Options {
        controllers: vec![CONTROLLER.into(), NGINX_CONTROLLER.into()],
        ..Options::default()
    };
    assert_eq!(
        verdict(both(), &named(Some("nginx"), None), &nginx),
        "served"
    );
    assert_eq!(
        verdict(both(), &named(None, None), &nginx),
        "served",
        "default class"
    );
    assert_eq!(verdict(plain(), &named(None, None), &nginx), other);
    let missing = "IngressClass x is not there";
    assert_eq!(verdict(plain(), &named(Some("x"), None), &[]), missing);
    assert_eq!(verdict(plain(), &named(None, Some("x")), &[]), missing);
    assert_eq!(
        verdict(plain(), &named(None, Some("ferrule")), &[]),
        "served"
    );
    assert_eq!(verdict(plain(), &named(None, Some("ours")), &[]), "served");
    let none = "names no class, and there is no default class";
    assert_eq!(verdict(plain(), &named(None, None), &[]), none);
    let without_class = || Options {
        without_class: true,
        ..Options::default()
    };
    assert_eq!(verdict(without_class(), &named(None, None), &[]), "served");
    let elsewhere = || Options {
        namespace: Some("shop".into()),
        ..Options::default()
    };
    let only = "only namespace shop is served";
    assert_eq!(verdict(elsewhere(), &named(Some("ours"), None), &[]), only);
}

#[test]
fn the_newest_of_two_default_classes_counts() {
    let mut one = ingress("i", 1, &["h.com/=a"]);
    one.class = None;
    let newer = IngressClass {
        name: "newer".into(),
        created: 5,
        controller: CONTROLLER.into(),
        is_default: true,
    };
    let older = class("a-older", "example.com/other", true);
    let newer = IngressEvent::Class("newer".into(), Observed::new(newer));
    let (mut catalog, _) = catalog(Options::default(), [event(older), event(newer), put(&one)]);
    assert_eq!(catalog.served().count(), 1);
    catalog.apply(event(IngressEvent::Class("newer".into(), Observed::gone())));
    let update = catalog.commit();
    assert_eq!(catalog.served().count(), 0);
    assert!(!update.served[&name("i")]);
    assert_eq!(find(&catalog, "h.com", "/"), "none");
}

#[test]
fn endpoints_of_the_preferred_family_and_of_the_own_node() {
    let mut six = service("a");
    six.family = IpFamily::V6;
    let both = slice("a", "http", &["2001:db8::1@n2"]);
    let one = ingress("i", 1, &["h.com/=a", "h.com/b=b"]);
    let near = slice("b", "http", &["10.0.0.2@n2", "10.0.0.3@n1"]);
    let mut four = fixture::slice("a-four", "a", 8080, &["10.0.0.1"]);
    four.ports[0].name = "http".into();
    let four = Event::Slice(SliceName::new("default", "a-four"), Observed::new(four));
    let events = [add(six), both, four, near, put(&one)];
    let local_first = Options {
        local_first: true,
        ..Options::default()
    };
    let (mut catalog, _) = catalog(local_first, events);
    assert_eq!(
        find(&catalog, "h.com", "/"),
        "default/a:80 [2001:db8::1]:8080"
    );
    assert_eq!(find(&catalog, "h.com", "/b"), "default/b:80 10.0.0.3:8080");
    catalog.apply(slice("a", "http", &[]));
    catalog.apply(slice("b", "http", &["10.0.0.2@n2", "10.0.0.3@n1!u"]));
    catalog.commit();
    assert_eq!(find(&catalog, "h.com", "/"), "default/a:80 10.0.0.1:8080");
    assert_eq!(find(&catalog, "h.com", "/b"), "default/b:80 10.0.0.2:8080");
}

#[test]
fn external_names_are_resolved() {
    let mut external = service("out");
    external.external = Some("api.example.com".into());
    external.ports[0].target = Some(8443);
    external.ports[1].app_protocol = Some("kubernetes.io/h2c".into());
    let one = ingress(
        "i",
        1,
        &["h.com/=out", "h.com/b=out:81", "h.com/c=out:9000"],
    );
    let (mut catalog, update) = catalog(Options::default(), [add(external), put(&one)]);
    let wanted = update.externals.expect("a name");
    assert_eq!(*wanted, BTreeSet::from(["api.example.com".into()]));
    let addresses = ["127.0.0.1", "169.254.169.254", "192.0.2.7"].map(fixture::ip);
    let resolved = IngressEvent::Resolved("api.example.com".into(), addresses.into());
    catalog.apply(event(resolved));
    assert!(catalog.commit().table.is_some());
    assert_eq!(
        find(&catalog, "h.com", "/"),
        "default/out:80 192.0.2.7:8443"
    );
    assert_eq!(
        find(&catalog, "h.com", "/c"),
        "default/out:9000 192.0.2.7:9000"
    );
    let route = catalog.table().router.find("h.com", "/b").expect("a route");
    let Backend::Upstream(upstream) = &route.backend else {
        panic!("{route:?}");
    };
    assert_eq!(upstream.protocol, UpstreamProtocol::H2c);
    // An edit of the Ingress must not forget the addresses.
    catalog.apply(put(&ingress("i", 1, &["h.com/=out", "h.com/new=out"])));
    assert!(catalog.commit().externals.is_none());
    assert_eq!(
        find(&catalog, "h.com", "/new"),
        "default/out:80 192.0.2.7:8443"
    );
    catalog.apply(gone("i"));
    assert_eq!(catalog.commit().externals, Some(Arc::default()));
}

#[test]
fn certificates_by_age() {
    let old = with_tls(
        ingress("old", 1, &["h.com/=a"]),
        &["h.com", "*.h.com"],
        "s1",
    );
    let young = with_tls(ingress("young", 2, &["i.com/=a"]), &[], "s2");
    let young = with_tls(young, &["h.com"], "s3");
    let options = Options {
        default_certificate: Some(name("infra/default")),
        ..Options::default()
    };
    let (mut catalog, update) = catalog(options, [put(&old), put(&young), secret("s1")]);
    let wishes = update.wishes.expect("wishes");
    let shown: Vec<_> = wishes
        .by_host
        .iter()
        .map(|(h, s)| format!("{h} {s}"))
        .collect();
    let expected = ["*.h.com default/s1", "h.com default/s1", "i.com default/s2"];
    assert_eq!(shown, expected);
    assert_eq!(wishes.default, Some(name("infra/default")));
    let wanted = update.wanted.expect("Secrets");
    let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
    assert_eq!(
        wanted,
        ["default/s1", "default/s2", "default/s3", "infra/default"]
    );
    assert_eq!(update.secrets, BTreeSet::from(["s1", "s2", "s3"].map(name)));
    assert_eq!(update.notes[&name("old")], [""; 0]);
    let missing = "spec.tls[0].secretName: Secret default/s2 is not there";
    assert_eq!(update.notes[&name("young")][0], missing);
    catalog.apply(secret("s2"));
    catalog.apply(secret("unused"));
    let update = catalog.commit();
    assert_eq!(update.secrets, BTreeSet::from([name("s2")]));
    assert_eq!(update.notes[&name("young")].len(), 1);
    assert!(update.wishes.is_none() && update.wanted.is_none() && update.table.is_none());
}

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
            lines.push(format!("{host} {kind} {} {ingress} {backend}", path.path));
        }
        let default = routes.default.iter();
        lines.extend(default.map(|route| format!("{host} default {route:?}")));
    }
    lines.push(format!("{:?}", catalog.table().default_backend));
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

fn small_ingress() -> impl Strategy<Value = Ingress> {
    let host = prop_oneof![Just("h.com"), Just("*.com"), Just("i.com"), Just("")];
    let path = prop_oneof![Just("/"), Just("/x"), Just("/x/"), Just("/x/y"), Just("")];
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
        0..4_usize,
    );
    parts.prop_map(|(n, created, rules, tls, class)| {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let mut one = ingress(&format!("i{n}"), created, &rules);
        if let Some((host, secret)) = tls {
            let hosts: Vec<&str> = (!host.is_empty()).then_some(host).into_iter().collect();
            one = with_tls(one, &hosts, &secret);
        }
        let classes: [Option<&str>; 4] = [None, Some("ours"), Some("ours"), Some("theirs")];
        one.class = classes[class].map(Into::into);
        one
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
        1 => ("[st]").prop_map(|name| secret(&name)),
        1 => ("[st]").prop_map(|text| {
            event(IngressEvent::Secret(name(&text), Observed::gone()))
        }),
        1 => (prop_oneof![Just("ours"), Just("theirs")], any::<bool>(), any::<bool>()).prop_map(
            |(name, own, default)| {
                let controller = if own { CONTROLLER } else { "example.com/other" };
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
