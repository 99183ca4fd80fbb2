// SPDX-License-Identifier: Apache-2.0
use super::*;

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
