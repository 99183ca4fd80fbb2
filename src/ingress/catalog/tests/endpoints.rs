// SPDX-License-Identifier: Apache-2.0
use super::*;

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
