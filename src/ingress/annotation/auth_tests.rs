// SPDX-License-Identifier: Apache-2.0
use super::super::tests::{Shelf, ingress, notes};
use super::super::{Annotated, Defaults};
use super::*;

/// A Secret with these entries.
fn secret(name: &str, entries: &[(&str, &str)]) -> Secret {
    let mut secret = Secret {
        name: ServiceName::new("default", name),
        certificate: None,
        key: None,
        authority: None,
        auth: None,
        others: [].into(),
    };
    for (name, value) in entries {
        match *name {
            "auth" => secret.auth = Some(value.as_bytes().into()),
            name => drop(secret.others.insert(name.into(), value.as_bytes().into())),
        }
    }
    secret
}

fn read(annotations: &[(&str, &str)], cross: bool) -> Annotated {
    let mut shelf = Shelf::default();
    let mut other = secret("other", &[("auth", "eve:{PLAIN}x")]);
    other.name = ServiceName::new("elsewhere", "other");
    for secret in [
        secret("users", &[("auth", "anna:{PLAIN}secret\nbert:nothing\n")]),
        secret(
            "map",
            &[("anna", "{PLAIN}secret"), ("auth", "{PLAIN}other")],
        ),
        secret("empty", &[]),
        other,
    ] {
        shelf.secrets.insert(secret.name.clone(), secret);
    }
    let mut defaults = Defaults::default();
    gate(&mut defaults.route).cross_namespace = cross;
    super::super::read(&ingress(annotations), &defaults, &shelf)
}

fn users(read: &Annotated) -> Option<Arc<Users>> {
    let basic = read.plain.gate.as_ref()?.basic.as_ref()?;
    Some(basic.users.clone())
}

#[test]
fn users_come_from_a_file_or_from_entries() {
    let file = read(
        &[
            ("auth-type", "basic"),
            ("auth-secret", "users"),
            ("auth-realm", "Staff"),
        ],
        false,
    );
    let found = users(&file).expect("users");
    assert!(found.find(b"anna").expect("anna").0.verify(b"secret"));
    assert_eq!(found.len(), 1);
    let basic = file.plain.gate.as_ref().and_then(|gate| gate.basic.clone());
    assert_eq!(basic.expect("basic").challenge, "Basic realm=\"Staff\"");
    assert_eq!(
        notes(&file),
        [
            "annotation auth-secret: Secret default/users: line 2: is hashed in a way that is not \
          served (DES, or no hash at all); nobody comes in by these"
        ]
    );
    assert_eq!(file.named.secrets.len(), 1);
    let map = read(
        &[
            ("auth-type", "basic"),
            ("auth-secret", "default/map"),
            ("auth-secret-type", "auth-map"),
        ],
        false,
    );
    let found = users(&map).expect("users");
    assert!(found.find(b"auth").expect("auth").0.verify(b"other"));
    assert_eq!((found.len(), notes(&map).len()), (2, 0));
}

#[test]
fn what_is_wrong_closes_the_paths() {
    for (annotations, name, why) in [
        (&[("auth-type", "basic")][..], "auth-secret", "must name"),
        (
            &[("auth-type", "basic"), ("auth-secret", "none")],
            "auth-secret",
            "Secret default/none is not there",
        ),
        (
            &[("auth-type", "basic"), ("auth-secret", "empty")],
            "auth-secret",
            "has no entry auth",
        ),
        (
            &[("auth-type", "basic"), ("auth-secret", "elsewhere/other")],
            "auth-secret",
            "must be of the Ingress's namespace",
        ),
        (
            &[("auth-type", "digest"), ("auth-secret", "users")],
            "auth-type",
            "digest is not served",
        ),
        (
            &[("auth-type", "Basic"), ("auth-secret", "users")],
            "auth-type",
            "must be basic or digest",
        ),
        (
            &[
                ("auth-type", "basic"),
                ("auth-secret", "users"),
                ("auth-secret-type", "file"),
            ],
            "auth-secret-type",
            "must be auth-file or auth-map",
        ),
    ] {
        let read = read(annotations, false);
        assert_eq!(read.plain.denied.as_deref(), Some(name), "{annotations:?}");
        assert!(notes(&read).iter().any(|n| n.contains(why)), "{why}");
        assert_eq!(users(&read), None);
    }
}

#[test]
fn a_secret_that_is_not_there_is_watched() {
    let read = read(&[("auth-type", "basic"), ("auth-secret", "none")], false);
    assert!(
        read.named
            .secrets
            .contains(&ServiceName::new("default", "none"))
    );
}

#[test]
fn other_namespaces_are_for_those_whom_the_config_map_trusts() {
    let annotations = [("auth-type", "basic"), ("auth-secret", "elsewhere/other")];
    assert!(users(&read(&annotations, true)).is_some());
}

#[test]
fn annotations_without_effect_are_told() {
    let read = read(&[("auth-secret", "users"), ("auth-realm", "x")], false);
    assert_eq!(users(&read), None);
    assert_eq!(
        notes(&read),
        [
            "annotation auth-realm: has no effect without auth-type",
            "annotation auth-secret: has no effect without auth-type",
        ]
    );
}

#[test]
fn one_or_all_have_to_be_satisfied() {
    let any = |value| {
        let read = read(&[("satisfy", value)], false);
        (
            read.plain
                .gate
                .as_ref()
                .is_some_and(|gate| gate.satisfy_any),
            notes(&read).len(),
        )
    };
    assert_eq!(any("any"), (true, 0));
    assert_eq!(any("all"), (false, 0));
    assert_eq!(any("some"), (false, 1));
}

#[test]
fn a_realm_of_off_lets_nobody_in() {
    let read = read(
        &[
            ("auth-type", "basic"),
            ("auth-secret", "users"),
            ("auth-realm", "off"),
        ],
        false,
    );
    assert!(users(&read).is_some());
    assert!(notes(&read)[0].contains("like any other"));
}
