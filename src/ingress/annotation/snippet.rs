// SPDX-License-Identifier: Apache-2.0
//! Snippets of nginx's configuration, as typed actions.

use std::sync::Arc;

use super::headers::headers_of;
use super::known::Risk;
use super::{Draft, Kind, Reader, risk};
use crate::ingress::action::snippet::{Level, Snippet};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    if let Some(snippet) = one(reader, draft, "configuration-snippet", Level::Location) {
        let own = &mut headers_of(draft).own;
        own.edits.extend(snippet.changes.edits);
        own.added.extend(snippet.changes.added);
        own.hidden.extend(snippet.changes.hidden);
        own.onward.extend(snippet.changes.onward);
        let steps = snippet.steps;
        draft.route.steps = Some(Arc::from(steps)).filter(|steps: &Arc<[_]>| !steps.is_empty());
    }
    let snippet = one(reader, draft, "server-snippet", Level::Server);
    draft.route.server_snippet = snippet.map(Arc::new);
}

/// None if there is none, or if it is not served: then what it says closes the Ingress's paths,
/// unless nobody's snippets are served. Those are dropped, as in ingress-nginx.
fn one(reader: &mut Reader<'_>, draft: &Draft, name: &str, level: Level) -> Option<Snippet> {
    let text = reader.text(name)?;
    if !draft.policy.snippets {
        if risk::highest(&draft.policy, reader.behaviour()) < Risk::Critical {
            // The Ingress is not taken at all.
            return None;
        }
        let why = "snippets are not served, unless the ConfigMap's allow-snippet-annotations is \
                   true; the paths are served without";
        reader.note(name, Kind::Refused, why);
        return None;
    }
    match Snippet::parse(text, level) {
        Ok(snippet) => {
            for idle in &snippet.idle {
                reader.note(name, Kind::Approximated, idle.clone());
            }
            Some(snippet)
        }
        Err(wrong) => {
            reader.deny(name, wrong);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shelf, ingress, notes};
    use super::super::{Annotated, Defaults, read};

    fn with(allowed: bool, annotations: &[(&str, &str)]) -> Annotated {
        let mut defaults = Defaults::default();
        defaults.policy.snippets = allowed;
        read(&ingress(annotations), &defaults, &Shelf::default())
    }

    const GOOD: &str = "more_set_headers 'X-A: b';\nproxy_set_header X-C $host;\nreturn 404;";

    #[test]
    fn snippets_become_actions() {
        let both = [
            ("configuration-snippet", GOOD),
            (
                "server-snippet",
                "rewrite ^/a /b last; proxy_set_header X-D e;",
            ),
        ];
        let annotated = with(true, &both);
        let headers = annotated.plain.headers.clone().unwrap();
        assert_eq!((headers.own.edits.len(), headers.own.onward.len()), (1, 1));
        assert_eq!(annotated.plain.steps.as_ref().unwrap().len(), 1);
        let server = annotated.plain.server_snippet.clone().unwrap();
        assert_eq!(server.steps.len(), 1);
        assert_eq!(annotated.notes.len(), 1, "{:?}", annotated.notes);
    }

    #[test]
    fn where_snippets_are_not_served_the_rest_is() {
        let annotated = with(
            false,
            &[("configuration-snippet", GOOD), ("server-snippet", "x")],
        );
        let route = &annotated.plain;
        assert_eq!(route.denied, None);
        assert!(route.headers.is_none() && route.steps.is_none() && route.server_snippet.is_none());
        assert_eq!(annotated.notes.len(), 2);
    }

    #[test]
    fn a_directive_that_is_not_known_closes_the_paths() {
        for name in ["configuration-snippet", "server-snippet"] {
            let annotated = with(true, &[(name, "more_set_headers 'X-A: b';\nlua_code x;")]);
            assert_eq!(annotated.plain.denied.as_deref(), Some(name));
            let notes = notes(&annotated);
            assert!(
                notes[0].contains("directive \"lua_code\": not served"),
                "{notes:?}"
            );
            assert!(notes[0].ends_with("its paths answer 503"), "{notes:?}");
        }
    }
}
