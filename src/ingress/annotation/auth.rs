// SPDX-License-Identifier: Apache-2.0
//! Names and passwords, and how they are combined with what else keeps somebody out.

use std::sync::Arc;

use super::{Draft, Kind, Reader, gate};
use crate::ingress::action::basic::{Basic, Users};
use crate::model::{Secret, ServiceName};

/// Lines of a file that are told one by one.
const TOLD: usize = 3;

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let cross = gate_allows_others(draft);
    if let Some(basic) = basic(reader, cross) {
        gate(&mut draft.route).basic = Some(Arc::new(basic));
    }
    let satisfy = reader.value("satisfy", |value| match value {
        "any" => Ok(true),
        "all" => Ok(false),
        _ => Err(format!("must be any or all, is {value:?}")),
    });
    if let Some(any) = satisfy {
        gate(&mut draft.route).satisfy_any = any;
    }
}

fn basic(reader: &mut Reader<'_>, cross: bool) -> Option<Basic> {
    let kind = reader.text("auth-type");
    let secret = reader.text("auth-secret");
    let form = reader.text("auth-secret-type");
    let realm = reader.text("auth-realm").unwrap_or_default();
    let Some(kind) = kind else {
        for name in ["auth-secret", "auth-secret-type", "auth-realm"] {
            without(reader, name, "auth-type");
        }
        return None;
    };
    match kind {
        "basic" => {}
        "digest" => {
            reader.refuse("auth-type", "digest is not served, only basic is");
            return None;
        }
        _ => {
            let wrong = format!("must be basic or digest, is {kind:?}");
            reader.leave_out("auth-type", wrong);
            return None;
        }
    }
    let Some(secret) = secret else {
        reader.deny("auth-secret", "must name a Secret for auth-type basic");
        return None;
    };
    let (name, secret) = named_secret(reader, "auth-secret", secret, cross)?;
    let (users, wrong) = match form {
        None | Some("auth-file") => {
            let Some(file) = &secret.auth else {
                reader.deny("auth-secret", format!("Secret {name} has no entry auth"));
                return None;
            };
            Users::parse(file)
        }
        Some("auth-map") => Users::from_entries(entries(secret)),
        Some(form) => {
            let wrong = format!("must be auth-file or auth-map, is {form:?}");
            reader.leave_out("auth-secret-type", wrong);
            return None;
        }
    };
    tell(reader, &name, &wrong);
    if realm == "off" {
        let text = "in ingress-nginx it lets everybody in, here it is a realm like any other";
        reader.note("auth-realm", Kind::Approximated, text);
    }
    Some(Basic::new(realm, users))
}

/// Tells of an annotation that is there but does nothing.
pub(super) fn without(reader: &mut Reader<'_>, name: &str, missing: &str) {
    if reader.ingress().annotations.contains_key(name) {
        reader.text(name);
        let text = format!("has no effect without {missing}");
        reader.note(name, Kind::Invalid, text);
    }
}

/// The Secret that an annotation names; whatever is wrong with it closes the paths.
fn named_secret<'a>(
    reader: &mut Reader<'a>,
    annotation: &str,
    text: &str,
    cross: bool,
) -> Option<(ServiceName, &'a Secret)> {
    let name = reader.object_name(text);
    if let Err(why) = may_name(reader, &name, cross) {
        reader.deny(annotation, why);
        return None;
    }
    let Some(secret) = reader.secret(&name) else {
        reader.deny(annotation, format!("Secret {name} is not there"));
        return None;
    };
    Some((name, secret))
}

/// Whether an annotation may name an object, which is in the Ingress's namespace unless the
/// ConfigMap allows others.
pub(super) fn may_name(
    reader: &Reader<'_>,
    name: &ServiceName,
    cross: bool,
) -> Result<(), &'static str> {
    let own = &reader.ingress().name.namespace;
    match cross || name.namespace == *own {
        true => Ok(()),
        false => Err("must be of the Ingress's namespace (see allow-cross-namespace-resources)"),
    }
}

/// Whether the ConfigMap allows to name objects of other namespaces.
pub(super) fn gate_allows_others(draft: &Draft) -> bool {
    let gate = draft.route.gate.as_ref();
    gate.is_some_and(|gate| gate.cross_namespace)
}

/// All entries of a Secret: a user each.
fn entries(secret: &Secret) -> impl Iterator<Item = (&str, &[u8])> {
    let named = [
        ("auth", &secret.auth),
        ("ca.crt", &secret.authority),
        ("tls.crt", &secret.certificate),
        ("tls.key", &secret.key),
    ];
    let named = named.into_iter();
    let named = named.filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let others = secret.others.iter();
    named.chain(others.map(|(name, value)| (&**name, &**value)))
}

fn tell(reader: &mut Reader<'_>, name: &ServiceName, wrong: &[String]) {
    if wrong.is_empty() {
        return;
    }
    let mut text = format!(
        "Secret {name}: {}",
        wrong[..wrong.len().min(TOLD)].join(", ")
    );
    if wrong.len() > TOLD {
        text.push_str(&format!(", and {} more", wrong.len() - TOLD));
    }
    text.push_str("; nobody comes in by these");
    reader.note("auth-secret", Kind::Approximated, text);
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
