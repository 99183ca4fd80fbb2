// SPDX-License-Identifier: Apache-2.0
//! How endpoints are chosen.

use std::num::NonZero;
use std::sync::Arc;

use super::value::{Wrong, number, switch};
use super::{Draft, Kind, Reader, backend};
use crate::ingress::action::template::Template;
use crate::ingress::table::{Choice, How};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let mut choice = draft.route.choice.as_deref().cloned().unwrap_or_default();
    if let Some(by_service) = backend::by_service(reader) {
        choice.by_service = by_service;
    }
    match reader.value("load-balance", algorithm) {
        Some(Algorithm::Is(how)) => choice.how = how,
        Some(Algorithm::Follows(from)) => {
            let text = format!("follows from {from}, and means nothing without it");
            reader.note("load-balance", Kind::Approximated, text);
        }
        None => {}
    }
    if let Some(how) = by_hash(reader) {
        choice.how = how;
    }
    let differs = choice != Choice::default();
    draft.route.choice = differs.then(|| Arc::new(choice));
}

/// What a name stands for.
pub(crate) enum Algorithm {
    Is(How),
    /// ingress-nginx takes the name, but other annotations bring it about.
    Follows(&'static str),
}

pub(crate) fn algorithm(value: &str) -> Result<Algorithm, Wrong> {
    Ok(match value {
        "round_robin" => Algorithm::Is(How::RoundRobin),
        "ewma" => Algorithm::Is(How::PeakEwma),
        "chash" => Algorithm::Follows("upstream-hash-by"),
        "chashsubset" => Algorithm::Follows("upstream-hash-by-subset"),
        "sticky_balanced" | "sticky_persistent" => Algorithm::Follows("affinity: cookie"),
        _ => {
            return Err(format!(
                "must be round_robin or ewma, as in ingress-nginx, is {value:?}"
            ));
        }
    })
}

fn by_hash(reader: &mut Reader<'_>) -> Option<How> {
    let subset = reader.value("upstream-hash-by-subset", switch);
    let size = reader.value("upstream-hash-by-subset-size", |value| number(1, value));
    let Some(text) = reader.value("upstream-hash-by", simple) else {
        if subset == Some(true) {
            let text = "means nothing without upstream-hash-by";
            reader.note("upstream-hash-by-subset", Kind::Invalid, text);
        }
        return None;
    };
    let by = reader.value("upstream-hash-by", Template::parse)?;
    let size = NonZero::new(size.unwrap_or(3) as usize);
    Some(How::Hash {
        text: text.into(),
        by: Arc::new(by),
        subset: size.filter(|_| subset == Some(true)),
    })
}

/// The characters that ingress-nginx takes.
fn simple(value: &str) -> Result<&str, Wrong> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_${} ".contains(c);
    match value.chars().all(known) {
        true => Ok(value),
        false => Err(format!(
            "must be made of letters, digits and -_${{}}, is {value:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::tests::{notes, read_all};

    fn choice(annotations: &[(&str, &str)]) -> (Option<Choice>, Vec<String>) {
        let annotated = read_all(annotations);
        let choice = annotated.plain.choice.as_deref().cloned();
        (choice, notes(&annotated))
    }

    fn how(how: How) -> Option<Choice> {
        Some(Choice {
            how,
            by_service: false,
        })
    }

    #[test]
    fn names_are_ingress_nginx_s() {
        assert_eq!(
            choice(&[("load-balance", "ewma")]),
            (how(How::PeakEwma), vec![])
        );
        assert_eq!(choice(&[("load-balance", "round_robin")]), (None, vec![]));
        for name in ["least_conn", "ip_hash", "EWMA"] {
            let (chosen, notes) = choice(&[("load-balance", name)]);
            assert_eq!((chosen, notes.len()), (None, 1), "{name}");
        }
        let (chosen, notes) = choice(&[("load-balance", "chash")]);
        assert_eq!(chosen, None);
        assert!(
            notes[0].contains("follows from upstream-hash-by"),
            "{notes:?}"
        );
    }

    #[test]
    fn hashes_are_of_variables_and_maybe_of_sets() {
        let hash = |text: &str, subset| {
            how(How::Hash {
                text: text.into(),
                by: Arc::new(Template::parse(text).unwrap()),
                subset: NonZero::new(subset),
            })
        };
        let by = ("upstream-hash-by", "${request_uri}-x");
        let subset = ("upstream-hash-by-subset", "true");
        assert_eq!(choice(&[by]), (hash(by.1, 0), vec![]));
        assert_eq!(choice(&[by, subset]), (hash(by.1, 3), vec![]));
        let size = ("upstream-hash-by-subset-size", "5");
        assert_eq!(choice(&[by, subset, size]), (hash(by.1, 5), vec![]));
        assert_eq!(choice(&[by, size]), (hash(by.1, 0), vec![]));
        for wrong in ["$nonsense", "a;b", "$"] {
            let (chosen, notes) = choice(&[("upstream-hash-by", wrong)]);
            assert_eq!((chosen, notes.len()), (None, 1), "{wrong}: {notes:?}");
        }
        assert_eq!(choice(&[subset]).1.len(), 1);
    }

    #[test]
    fn a_service_may_be_asked_instead_of_its_endpoints() {
        let expected = Choice {
            by_service: true,
            ..Choice::default()
        };
        assert_eq!(
            choice(&[("service-upstream", "true")]),
            (Some(expected), vec![])
        );
        assert_eq!(choice(&[("service-upstream", "false")]), (None, vec![]));
    }
}
