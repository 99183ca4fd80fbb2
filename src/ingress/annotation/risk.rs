// SPDX-License-Identifier: Apache-2.0
//! Annotations that the ConfigMap does not allow: an Ingress with one is not taken, as in
//! ingress-nginx (`CheckAnnotationRisk`), which does so without a ConfigMap, too.

use super::known::{self, Risk};
use super::{Policy, Reader};
use crate::ingress::table::Behaviour;

/// The highest risk that is taken. Who allows snippets and says no more means what that did before
/// there were risks: all of them.
pub(super) fn highest(policy: &Policy, behaviour: Behaviour) -> Risk {
    policy.risk.unwrap_or(match (behaviour, policy.snippets) {
        (Behaviour::IngressNginx, false) => Risk::High,
        _ => Risk::Critical,
    })
}

pub(super) fn check(reader: &mut Reader<'_>, policy: &Policy) {
    let most = highest(policy, reader.behaviour());
    for name in reader.ingress().annotations.keys() {
        let risk = known::find(name).map(|known| known.risk);
        if let Some(risk) = risk.filter(|risk| *risk > most) {
            let why = format!("its risk {risk:?} is above {most:?} (annotations-risk-level)");
            reader.leave_out(name, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shelf, ingress, notes};
    use super::super::{Defaults, read};
    use super::*;

    /// Why an Ingress is closed, and whether it is left out.
    fn closed(
        behaviour: Behaviour,
        (snippets, risk): (bool, Option<Risk>),
        annotation: (&str, &str),
    ) -> (bool, bool) {
        let mut defaults = Defaults::of(behaviour, &Default::default());
        (defaults.policy.snippets, defaults.policy.risk) = (snippets, risk);
        let annotated = read(&ingress(&[annotation]), &defaults, &Shelf::default());
        let route = &annotated.plain;
        assert!(!route.left_out || route.denied.is_some());
        assert!(!route.left_out || notes(&annotated)[0].contains("answer 404"));
        (route.denied.is_some(), route.left_out)
    }

    #[test]
    fn nothing_else_of_an_ingress_that_is_left_out_holds() {
        let annotations = [
            ("server-snippet", "return 410;"),
            ("rewrite-target", "/new"),
            ("app-root", "/app"),
            ("limit-rps", "5"),
        ];
        let defaults = Defaults::of(Behaviour::IngressNginx, &Default::default());
        let annotated = read(&ingress(&annotations), &defaults, &Shelf::default());
        let (route, routing) = (&annotated.plain, &annotated.routing);
        assert!(route.left_out && route.gate.is_none() && route.server_snippet.is_none());
        assert!(routing.use_regex && routing.target.is_none() && routing.root.is_none());
        assert_eq!(annotated.notes.len(), 1);
    }

    #[test]
    fn what_is_too_risky_leaves_the_ingress_out() {
        let snippet = ("configuration-snippet", "more_set_headers 'X-A: b';");
        let url = ("auth-url", "http://auth.example/");
        let (nginx, spec) = (Behaviour::IngressNginx, Behaviour::Spec);
        for (behaviour, policy, annotation, expected) in [
            (nginx, (false, None), snippet, (true, true)),
            (nginx, (true, None), snippet, (false, false)),
            (nginx, (true, Some(Risk::High)), snippet, (true, true)),
            (
                nginx,
                (false, Some(Risk::Critical)),
                snippet,
                (false, false),
            ),
            (nginx, (false, None), url, (false, false)),
            (nginx, (false, Some(Risk::Medium)), url, (true, true)),
            (spec, (false, None), snippet, (false, false)),
            (spec, (false, Some(Risk::High)), snippet, (true, false)),
            (spec, (false, Some(Risk::Low)), url, (true, false)),
        ] {
            let found = closed(behaviour, policy, annotation);
            assert_eq!(found, expected, "{behaviour} {policy:?} {annotation:?}");
        }
    }
}
