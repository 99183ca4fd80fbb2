// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::model::ConfigMap;

fn config_map(text: &str, data: &[(&str, &str)]) -> Event {
    let data = data.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    let map = ConfigMap {
        name: name(text),
        data: data.collect(),
    };
    event(IngressEvent::ConfigMap(name(text), Observed::new(map)))
}

fn options() -> Options {
    Options {
        config_map: Some(name("sys/settings")),
        tcp_services: Some(name("sys/tcp")),
        udp_services: Some(name("sys/udp")),
        reserved_ports: [80, 443].into(),
        ..Options::default()
    }
}

fn limits(catalog: &Catalog) -> Vec<(u64, Option<u16>)> {
    let router = &catalog.table().router;
    let of = |host: &str| {
        let route = router.find(host, "/").expect("a route");
        (route.settings.body_limit, route.settings.https_redirect)
    };
    vec![of("h.com"), of("s.com")]
}

#[test]
fn settings_change_while_it_runs() {
    let plain = ingress("i", 1, &["h.com/=a"]);
    let secured = with_tls(ingress("s", 1, &["s.com/=a"]), &["s.com"], "t");
    let (mut catalog, update) = catalog(options(), [put(&plain), put(&secured)]);
    assert_eq!(update.remarks[&name("sys/settings")], ["is not there"]);
    assert_eq!(limits(&catalog), [(1 << 20, None), (1 << 20, None)]);

    let data = [
        ("proxy-body-size", "2m"),
        ("ssl-redirect", "true"),
        ("keep-alive", "3"),
        ("x", ""),
    ];
    catalog.apply(config_map("sys/settings", &data));
    let update = catalog.commit();
    let settings = update.table.expect("a table").settings;
    assert_eq!(settings.keep_alive.as_secs(), 3);
    assert_eq!(limits(&catalog), [(2 << 20, None), (2 << 20, Some(308))]);
    assert_eq!(catalog.table().defaults.body_limit, 2 << 20);
    assert_eq!(update.remarks[&name("sys/settings")], ["not known: x"]);

    // An Ingress that comes later has them, too.
    catalog.apply(put(&ingress("later", 2, &["l.com/=a"])));
    catalog.commit();
    let later = catalog.table().router.find("l.com", "/").expect("a route");
    assert_eq!(later.settings.body_limit, 2 << 20);

    // One of another name is nobody's business; the same again changes nothing.
    catalog.apply(config_map("sys/other", &[("keep-alive", "9")]));
    catalog.apply(config_map("sys/settings", &data));
    let update = catalog.commit();
    assert!(update.table.is_none() && update.work == Work::default());

    catalog.apply(event(IngressEvent::ConfigMap(
        name("sys/settings"),
        Observed::gone(),
    )));
    let update = catalog.commit();
    assert_eq!(update.table.expect("a table").settings, Arc::default());
    assert_eq!(limits(&catalog), [(1 << 20, None), (1 << 20, None)]);
}

#[test]
fn ports_are_passed_on_to_the_endpoints_of_their_service() {
    let mut dns = service("a");
    let udp = |port| UpstreamPort {
        protocol: Protocol::Udp,
        ..port
    };
    dns.ports.extend(dns.ports.clone().into_iter().map(udp));
    let (mut catalog, _) = catalog(options(), [add(dns)]);
    let data = [
        ("9000", "default/a:80"),
        ("80", "default/a:80"),
        ("9001", "default/no:1"),
    ];
    catalog.apply(config_map("sys/tcp", &data));
    catalog.apply(config_map(
        "sys/udp",
        &[("53", "default/a:http"), ("54", "x")],
    ));
    let update = catalog.commit();
    let streams = update.streams.expect("ports");
    let keys: Vec<_> = streams.keys().copied().collect();
    let expected = [
        (Protocol::Tcp, 9000),
        (Protocol::Tcp, 9001),
        (Protocol::Udp, 53),
    ];
    assert_eq!(keys, expected);
    let endpoints = |key| {
        let stream: &Arc<crate::ingress::table::Stream> = &catalog.streams()[&key];
        stream
            .endpoints
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(endpoints((Protocol::Tcp, 9000)), ["10.0.0.1:8080"]);
    assert_eq!(endpoints((Protocol::Tcp, 9001)), [""; 0]);
    assert_eq!(
        update.remarks[&name("sys/tcp")],
        [
            "data[80]: is a port of the sidecar's own",
            "data[9001]: Service default/no is not there"
        ]
    );
    assert_eq!(update.remarks[&name("sys/udp")].len(), 1);

    catalog.apply(slice("a", "http", &["10.0.0.7@n1"]));
    let streams = catalog.commit().streams.expect("other endpoints");
    assert_eq!(
        streams[&(Protocol::Tcp, 9000)].endpoints[0].to_string(),
        "10.0.0.7:8080"
    );
    // What no port needs any more is let go.
    catalog.apply(config_map("sys/tcp", &[]));
    catalog.apply(config_map("sys/udp", &[]));
    assert_eq!(catalog.commit().streams, Some(Arc::default()));
    catalog.apply(slice("a", "http", &["10.0.0.8@n1"]));
    let update = catalog.commit();
    assert!(update.streams.is_none() && update.work.upstreams == 0);
}
