// SPDX-License-Identifier: Apache-2.0
use super::*;

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
