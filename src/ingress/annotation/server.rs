// SPDX-License-Identifier: Apache-2.0
//! What ingress-nginx has for a whole server or in its ConfigMap only, where it can be taken for
//! one Ingress.

use super::value::{number, switch};
use super::{Draft, Kind, Reader};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    hsts(reader, draft);
    sessions(reader);
    if let Some(most) = reader.value("upstream-keepalive-connections", |v| number(0, v)) {
        draft.route.idle_upstream_connections = Some(most as usize);
    }
}

fn hsts(reader: &mut Reader<'_>, draft: &mut Draft) {
    let hsts = &mut draft.hsts;
    for (name, place) in [
        ("hsts", &mut hsts.on),
        ("hsts-include-subdomains", &mut hsts.subdomains),
        ("hsts-preload", &mut hsts.preload),
    ] {
        if let Some(on) = reader.value(name, switch) {
            *place = on;
        }
    }
    if let Some(age) = reader.value("hsts-max-age", |value| number(0, value)) {
        hsts.max_age = age;
    }
}

/// Sessions are kept in one way for all hosts; it is told where an Ingress asks for another.
fn sessions(reader: &mut Reader<'_>) {
    for name in ["ssl-session-cache", "ssl-session-tickets"] {
        if reader.value(name, switch) == Some(false) {
            let text = "sessions are resumed by tickets whose keys change every six hours";
            reader.note(name, Kind::Approximated, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ingress::annotation::tests::{notes, read_all};

    #[test]
    fn hsts_is_a_matter_of_each_ingress() {
        let header = |annotations: &[(&str, &str)]| {
            let annotated = read_all(annotations);
            assert_eq!(notes(&annotated), [""; 0]);
            let plain = annotated.plain.hsts.clone();
            assert_eq!(plain, annotated.secured.hsts);
            plain.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header(&[("hsts-max-age", "5")]), None);
        let all = header(&[
            ("hsts", "true"),
            ("hsts-max-age", "5"),
            ("hsts-preload", "true"),
        ]);
        let all = all.expect("a header");
        assert_eq!(all, "max-age=5; includeSubDomains; preload");
        let short = header(&[("hsts", "true"), ("hsts-include-subdomains", "false")]);
        assert_eq!(short.as_deref(), Some("max-age=31536000"));
        let wrong = read_all(&[("hsts-max-age", "a year")]);
        assert!(notes(&wrong)[0].contains("must be a number"));
    }

    #[test]
    fn what_all_hosts_share_is_told_where_it_differs() {
        let so = read_all(&[
            ("ssl-session-cache", "true"),
            ("ssl-session-tickets", "true"),
            ("ssl-passthrough", "false"),
            ("upstream-keepalive-connections", "7"),
        ]);
        assert_eq!(notes(&so), [""; 0]);
        assert_eq!(so.plain.idle_upstream_connections, Some(7));
        let other = read_all(&[
            ("ssl-passthrough", "true"),
            ("ssl-session-tickets", "false"),
        ]);
        assert_eq!(notes(&other).len(), 2);
    }
}
