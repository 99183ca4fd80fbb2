// SPDX-License-Identifier: Apache-2.0
//! Which TLS the clients of a host are spoken to with.

use std::sync::Arc;

use super::value::switch;
use super::{Draft, Kind, Reader};
use crate::ingress::action::handshake::{Handshake, Versions};
use crate::ingress::tls::cipher;

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let handshake = &mut draft.routing.handshake;
    for (name, set) in [
        ("ssl-protocols", protocols as fn(&mut Handshake, &str) -> _),
        ("ssl-ciphers", ciphers),
    ] {
        if let Some(text) = reader.text(name)
            && let Err(wrong) = set(handshake, text)
        {
            reader.note(name, Kind::Approximated, wrong);
        }
    }
    handshake.own_order = reader.value("ssl-prefer-server-ciphers", switch);
}

/// Takes the versions of TLS that there are; what there is not is told.
pub(crate) fn protocols(handshake: &mut Handshake, text: &str) -> Result<(), String> {
    let (versions, missing) = Versions::parse(text);
    // Both are what there is without a word.
    handshake.versions = versions.filter(|versions| *versions != Versions::Both);
    told(&missing, versions.is_some())
}

/// Takes the suites that there are; what there is not is told.
pub(crate) fn ciphers(handshake: &mut Handshake, text: &str) -> Result<(), String> {
    let chosen = cipher::choose(text);
    let missing: Vec<&str> = chosen.missing.iter().map(|word| &**word).collect();
    let suites: Arc<[u16]> = chosen
        .suites
        .iter()
        .map(|suite| u16::from(*suite))
        .collect();
    let some = !suites.is_empty();
    handshake.suites = some.then_some(suites);
    told(&missing, some)
}

fn told(missing: &[&str], some: bool) -> Result<(), String> {
    let missing = missing.join(", ");
    match some {
        true if missing.is_empty() => Ok(()),
        true => Err(format!("there is no {missing} here")),
        false => Err(format!(
            "nothing of it is here ({missing}); the default holds"
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::ingress::action::handshake::Versions;
    use crate::ingress::annotation::tests::{notes, read_all};

    #[test]
    fn versions_and_suites_are_chosen_and_what_there_is_not_is_told() {
        let so = read_all(&[
            ("ssl-protocols", "TLSv1.3 TLSv1.2"),
            ("ssl-prefer-server-ciphers", "false"),
            ("ssl-ciphers", "ECDHE-RSA-AES128-GCM-SHA256"),
        ]);
        assert_eq!(notes(&so), [""; 0]);
        let handshake = &so.routing.handshake;
        assert_eq!(handshake.versions, None, "as without");
        assert_eq!(handshake.own_order, Some(false));
        assert_eq!(handshake.suites.as_deref().map(<[_]>::len), Some(1));
        let old = read_all(&[
            ("ssl-protocols", "TLSv1 TLSv1.2"),
            (
                "ssl-ciphers",
                "ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256",
            ),
        ]);
        assert_eq!(old.routing.handshake.versions, Some(Versions::Only12));
        let told = notes(&old);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("there is no DHE-RSA-AES128-GCM-SHA256 here"));
        assert!(told[1].contains("there is no TLSv1 here"));
    }

    #[test]
    fn where_nothing_is_left_the_default_holds() {
        let none = read_all(&[
            ("ssl-protocols", "TLSv1.1"),
            ("ssl-ciphers", "AES128-SHA"),
            ("ssl-prefer-server-ciphers", "perhaps"),
        ]);
        assert!(none.routing.handshake.is_usual());
        let told = notes(&none);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().all(|note| note.contains("the default holds")));
    }
}
