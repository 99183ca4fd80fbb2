// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

/// Objects by name.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) secrets: BTreeMap<ServiceName, Secret>,
    pub(super) config_maps: BTreeMap<ServiceName, ConfigMap>,
}

impl Objects for Shelf {
    fn secret(&self, name: &ServiceName) -> Option<&Secret> {
        self.secrets.get(name)
    }

    fn config_map(&self, name: &ServiceName) -> Option<&ConfigMap> {
        self.config_maps.get(name)
    }
}

/// The Ingress `default/web` with these annotations.
pub(super) fn ingress(annotations: &[(&str, &str)]) -> Ingress {
    let annotations = annotations.iter();
    Ingress {
        name: ServiceName::new("default", "web"),
        created: 0,
        class: None,
        class_annotation: None,
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
        annotations: annotations
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        addresses: Vec::new(),
    }
}

/// What annotations come to with ingress-nginx's defaults and no objects.
pub(super) fn read_all(annotations: &[(&str, &str)]) -> Annotated {
    read(
        &ingress(annotations),
        &Defaults::default(),
        &Shelf::default(),
    )
}

/// The notes as text.
pub(super) fn notes(annotated: &Annotated) -> Vec<String> {
    annotated.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn what_nobody_knows_is_told_and_nothing_else_suffers() {
    let annotated = read_all(&[
        ("proxy-read-timeout", "soon"),
        ("proxy-send-timeout", "7"),
        ("proxy-body-size", " 8m "),
        ("rate-limit", "10"),
    ]);
    assert_eq!(
        notes(&annotated),
        [
            "annotation proxy-read-timeout: must be a number of seconds, is \"soon\"; the default \
             holds",
            "annotation rate-limit: is not known, and not served: limit-rps or limit-rpm may be \
             meant",
        ]
    );
    let route = &annotated.plain;
    assert_eq!(route.read_timeout, Duration::from_secs(60));
    assert_eq!(route.send_timeout, Duration::from_secs(7));
    assert_eq!(route.body_limit, 8 << 20);
    assert_eq!(route.denied, None);
}

#[test]
fn redirects_to_https_depend_on_the_host_unless_forced() {
    let redirects = |annotations: &[(&str, &str)]| {
        let annotated = read_all(annotations);
        let of = |route: &RouteSettings| route.https_redirect;
        (of(&annotated.plain), of(&annotated.secured))
    };
    assert_eq!(redirects(&[]), (None, None));
    assert_eq!(redirects(&[("ssl-redirect", "true")]), (None, Some(308)));
    let forced = [("force-ssl-redirect", "true")];
    assert_eq!(redirects(&forced), (Some(308), Some(308)));
}
