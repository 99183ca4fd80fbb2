// SPDX-License-Identifier: Apache-2.0
//! What keeps somebody out of more than the paths of its own Ingress.

use super::*;
use crate::ingress::action::client_certificate::Demand;
use crate::ingress::action::gate::Gate;

fn annotated(mut ingress: Ingress, annotations: &[(&str, &str)]) -> Ingress {
    let each = annotations.iter();
    let each = each.map(|(name, value)| ((*name).into(), (*value).into()));
    ingress.annotations = each.collect();
    ingress
}

/// A Secret with an authority.
fn authority(text: &str) -> Event {
    let made = rcgen::generate_simple_self_signed(vec![format!("{text}.example")]);
    let pem = made.expect("a certificate").cert.pem();
    let secret = Secret {
        name: name(text),
        certificate: None,
        key: None,
        authority: Some(pem.as_bytes().into()),
        auth: None,
        others: [].into(),
    };
    event(IngressEvent::Secret(
        secret.name.clone(),
        Observed::new(secret),
    ))
}

fn gate(catalog: &Catalog, host: &str, path: &str) -> Option<Arc<Gate>> {
    let route = catalog.table().router.find(host, path).expect("a route");
    route.settings.gate.clone()
}

fn demand(catalog: &Catalog, host: &str, path: &str) -> Option<Demand> {
    let gate = gate(catalog, host, path)?;
    gate.certificate.as_ref().map(|asked| asked.demand)
}

#[test]
fn certificates_are_asked_for_by_host_and_the_oldest_ingress_decides() {
    let secret = ("auth-tls-secret", "ca");
    let bare = ingress("bare", 1, &["h.com/bare=a", "else.com/=a"]);
    let strict = annotated(ingress("strict", 2, &["h.com/=a", "*.w.com/=a"]), &[secret]);
    let lax = [secret, ("auth-tls-verify-client", "optional")];
    let young = annotated(ingress("young", 3, &["h.com/young=b"]), &lax);
    let (mut catalog, _) = catalog(
        Options::default(),
        [put(&bare), put(&strict), put(&young), authority("ca")],
    );
    for path in ["/", "/bare", "/young"] {
        assert_eq!(demand(&catalog, "h.com", path), Some(Demand::On), "{path}");
    }
    assert_eq!(demand(&catalog, "else.com", "/"), None);
    let asks = |catalog: &Catalog, host: &str| catalog.table().asks(host).map(|a| a.demand);
    assert_eq!(asks(&catalog, "h.com"), Some(Demand::On));
    assert_eq!(asks(&catalog, "x.w.com"), Some(Demand::On));
    assert_eq!(
        (asks(&catalog, "w.com"), asks(&catalog, "else.com")),
        (None, None)
    );

    catalog.apply(gone("strict"));
    catalog.commit();
    assert_eq!(demand(&catalog, "h.com", "/bare"), Some(Demand::Optional));
    assert_eq!(asks(&catalog, "x.w.com"), None);

    // Without its Secret the host is closed, for others too.
    catalog.apply(event(IngressEvent::Secret(name("ca"), Observed::gone())));
    catalog.commit();
    assert_eq!(demand(&catalog, "h.com", "/bare"), Some(Demand::Closed));
    assert_eq!(
        asks(&catalog, "h.com"),
        None,
        "nothing is asked of who is refused"
    );
    catalog.apply(gone("young"));
    catalog.commit();
    assert_eq!(gate(&catalog, "h.com", "/bare"), None);
}

#[test]
fn a_default_backend_is_kept_as_its_ingress_wants_it() {
    let list = |list| [("whitelist-source-range", list)];
    let all = ingress("all", 1, &["=a"]);
    let (mut catalog, _) = catalog(
        Options::default(),
        [put(&annotated(all.clone(), &list("10.0.0.0/8")))],
    );
    let allowed = |catalog: &Catalog| {
        let gate = catalog.table().defaults.gate.clone();
        gate.map(|gate| gate.access.allow.len())
    };
    assert_eq!(
        find(&catalog, "any", "/"),
        "default default/a:80 10.0.0.1:8080"
    );
    assert_eq!(allowed(&catalog), Some(1));
    catalog.apply(put(&annotated(all.clone(), &list("nonsense"))));
    catalog.commit();
    assert_eq!(find(&catalog, "any", "/"), "none");
    catalog.apply(put(&all));
    catalog.commit();
    assert_eq!(
        find(&catalog, "any", "/"),
        "default default/a:80 10.0.0.1:8080"
    );
    assert_eq!(allowed(&catalog), None);
}

#[test]
fn what_a_config_map_keeps_out_is_for_ingresses() {
    let options = Options {
        config_map: Some(name("settings")),
        ..Options::default()
    };
    let settings = |list: &str| {
        let map = ConfigMap {
            name: name("settings"),
            data: [("whitelist-source-range".into(), list.into())].into(),
        };
        event(IngressEvent::ConfigMap(
            map.name.clone(),
            Observed::new(map),
        ))
    };
    let one = ingress("i", 1, &["h.com/=a"]);
    let (mut catalog, _) = catalog(options, [settings("10.0.0.0/8"), put(&one)]);
    assert!(gate(&catalog, "h.com", "/").is_some());
    assert_eq!(catalog.table().defaults.gate, None);
    catalog.apply(settings(""));
    catalog.commit();
    assert_eq!(gate(&catalog, "h.com", "/"), None);
}

/// ConfigMaps may come before the Ingress that names them, and change after.
#[test]
fn config_maps_that_annotations_name_are_found_whenever_they_come() {
    let map = |data: &[(&str, &str)]| {
        let map = ConfigMap {
            name: name("headers"),
            data: data
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        };
        event(IngressEvent::ConfigMap(
            map.name.clone(),
            Observed::new(map),
        ))
    };
    let annotations = [
        ("auth-url", "http://auth.example/"),
        ("auth-proxy-set-headers", "default/headers"),
    ];
    let one = annotated(ingress("i", 1, &["h.com/=a"]), &annotations);
    let (mut catalog, _) = catalog(Options::default(), [map(&[("X-A", "1")])]);
    catalog.apply(put(&one));
    catalog.commit();
    let count = |catalog: &Catalog| {
        let gate = gate(catalog, "h.com", "/").expect("a gate");
        gate.external
            .as_ref()
            .map(|external| external.set_headers.len())
    };
    assert_eq!(count(&catalog), Some(1));
    catalog.apply(map(&[("X-A", "1"), ("X-B", "2")]));
    let update = catalog.commit();
    assert_eq!(count(&catalog), Some(2));
    assert_eq!(update.remarks.get(&name("headers")), None);
    catalog.apply(event(IngressEvent::ConfigMap(
        name("headers"),
        Observed::gone(),
    )));
    let update = catalog.commit();
    assert_eq!(find(&catalog, "h.com", "/"), "503");
    assert!(update.notes[&name("i")][0].contains("ConfigMap default/headers is not there"));
}
