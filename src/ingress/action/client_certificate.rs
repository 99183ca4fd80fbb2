// SPDX-License-Identifier: Apache-2.0
//! Certificates that clients show, as ingress-nginx's `auth-tls-*` asks for them. It holds for a
//! host, not for a path: TLS knows no paths.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::search::Search;

const CERTIFICATE: HeaderName = HeaderName::from_static("ssl-client-cert");
const VERIFY: HeaderName = HeaderName::from_static("ssl-client-verify");
const SUBJECT: HeaderName = HeaderName::from_static("ssl-client-subject-dn");
const ISSUER: HeaderName = HeaderName::from_static("ssl-client-issuer-dn");

/// What is asked of the clients of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// How strictly.
    pub demand: Demand,
    /// Certificates of authorities, DER.
    pub authorities: Vec<Box<[u8]>>,
    /// Lists of revoked certificates, DER.
    pub revoked: Vec<Box<[u8]>>,
    /// The most certificates between the client's and its authority's.
    pub depth: usize,
    /// Where clients without a good certificate are sent.
    pub error_page: Option<HeaderValue>,
    /// Whether endpoints are sent the certificate.
    pub pass: bool,
    /// What the subject has to have in it.
    pub subject: Option<Search>,
}

/// How strictly certificates are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nobody comes in: what the host is to ask for cannot be read.
    Closed,
    /// None is asked for.
    Off,
    /// Who shows none, or one that is not good, is answered 400.
    On,
    /// Who shows one that is not good is answered 400.
    Optional,
    /// The same, but one of an authority that is not known is let in, and told to endpoints.
    OptionalOfAnybody,
}

/// What a client has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What became of it.
    pub outcome: Outcome,
    /// The subject, as RFC 2253 writes it.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The certificate as PEM, with all that is not unreserved in URLs as `%XX`.
    pub certificate: String,
}

/// What became of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is good.
    Good,
    /// Nobody who is known vouches for it, for this reason.
    Stranger(String),
    /// It is bad, for this reason.
    Bad(String),
}

/// Why a request does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The host is closed: 403.
    Closed,
    /// No certificate was shown: 400.
    None,
    /// It is not good: 400.
    Bad,
    /// Its subject is another: 403.
    Subject,
}

impl ClientCertificate {
    /// What holds for a host that nobody may come in to.
    pub fn closed() -> Self {
        Self {
            demand: Demand::Closed,
            authorities: Vec::new(),
            revoked: Vec::new(),
            depth: 1,
            error_page: None,
            pass: false,
            subject: None,
        }
    }

    /// Whether TLS asks for a certificate.
    pub fn asks(&self) -> bool {
        use Demand::{On, Optional, OptionalOfAnybody};
        matches!(self.demand, On | Optional | OptionalOfAnybody)
    }

    /// Whether a request comes in, over TLS or not, whose client has shown this. As in nginx, what
    /// comes in plain text has shown nothing and need not, but for its subject.
    ///
    /// # Errors
    ///
    /// Says why it does not.
    pub fn admit(&self, tls: bool, shown: Option<&Shown>) -> Result<(), Refused> {
        if self.demand == Demand::Closed {
            return Err(Refused::Closed);
        }
        if tls && self.asks() {
            match shown.map(|shown| &shown.outcome) {
                None if self.demand == Demand::On => return Err(Refused::None),
                None | Some(Outcome::Good) => {}
                Some(Outcome::Stranger(_)) if self.demand == Demand::OptionalOfAnybody => {}
                Some(Outcome::Stranger(_) | Outcome::Bad(_)) => return Err(Refused::Bad),
            }
        }
        let subject = shown.map_or("", |shown| &shown.subject);
        match &self.subject {
            Some(wanted) if !wanted.is_in(subject) => Err(Refused::Subject),
            _ => Ok(()),
        }
    }

    /// Tells an endpoint, or a service that is asked, what was shown. A client's own words are
    /// taken away.
    pub fn tell(&self, tls: bool, shown: Option<&Shown>, headers: &mut HeaderMap) {
        let verify = match shown.map(|shown| &shown.outcome) {
            None if tls => "NONE".to_owned(),
            None => String::new(),
            Some(Outcome::Good) => "SUCCESS".to_owned(),
            Some(Outcome::Stranger(why) | Outcome::Bad(why)) => format!("FAILED:{why}"),
        };
        let text = |of: fn(&Shown) -> &String| shown.map_or("", |shown| of(shown));
        let certificate = if self.pass {
            text(|s| &s.certificate)
        } else {
            ""
        };
        for (name, value) in [
            (CERTIFICATE, certificate),
            (VERIFY, &verify),
            (SUBJECT, text(|s| &s.subject)),
            (ISSUER, text(|s| &s.issuer)),
        ] {
            match HeaderValue::from_bytes(value.as_bytes()) {
                Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
                _ => drop(headers.remove(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(demand: Demand, subject: Option<&str>) -> ClientCertificate {
        ClientCertificate {
            demand,
            subject: subject.map(|text| Search::new(text).expect(text)),
            ..ClientCertificate::closed()
        }
    }

    fn shown(outcome: Outcome) -> Shown {
        Shown {
            outcome,
            subject: "CN=anna,O=Example".to_owned(),
            issuer: "CN=Authority".to_owned(),
            certificate: "-----BEGIN%20CERTIFICATE-----".to_owned(),
        }
    }

    #[test]
    fn demands_differ_in_whom_they_let_in() {
        use Demand::{Closed, Off, On, Optional, OptionalOfAnybody};
        let (good, stranger, bad) = (
            shown(Outcome::Good),
            shown(Outcome::Stranger("self-signed certificate".to_owned())),
            shown(Outcome::Bad("certificate has expired".to_owned())),
        );
        for (demand, none, of_stranger, of_bad) in [
            (
                Closed,
                Err(Refused::Closed),
                Err(Refused::Closed),
                Err(Refused::Closed),
            ),
            (Off, Ok(()), Ok(()), Ok(())),
            (On, Err(Refused::None), Err(Refused::Bad), Err(Refused::Bad)),
            (Optional, Ok(()), Err(Refused::Bad), Err(Refused::Bad)),
            (OptionalOfAnybody, Ok(()), Ok(()), Err(Refused::Bad)),
        ] {
            let asked = asked(demand, None);
            assert_eq!(asked.admit(true, None), none, "{demand:?}");
            assert_eq!(
                asked.admit(true, Some(&stranger)),
                of_stranger,
                "{demand:?}"
            );
            assert_eq!(asked.admit(true, Some(&bad)), of_bad, "{demand:?}");
            let of_good = asked.admit(true, Some(&good));
            assert_eq!(of_good.is_ok(), demand != Closed, "{demand:?}");
            assert_eq!(asked.admit(false, None).is_ok(), demand != Closed);
        }
    }

    #[test]
    fn subjects_are_looked_at_in_plain_text_too() {
        let asked = asked(Demand::On, Some("CN=(anna|bert)"));
        assert_eq!(asked.admit(true, Some(&shown(Outcome::Good))), Ok(()));
        assert_eq!(asked.admit(false, None), Err(Refused::Subject));
        let other = Shown {
            subject: "CN=eve".to_owned(),
            ..shown(Outcome::Good)
        };
        assert_eq!(asked.admit(true, Some(&other)), Err(Refused::Subject));
    }

    #[test]
    fn endpoints_are_told_what_was_shown_and_nothing_else() {
        let mut asked = asked(Demand::Optional, None);
        let told = |asked: &ClientCertificate, tls, shown: Option<&Shown>| {
            let mut headers = HeaderMap::new();
            for name in [CERTIFICATE, VERIFY, SUBJECT, ISSUER] {
                headers.insert(name, HeaderValue::from_static("faked"));
            }
            asked.tell(tls, shown, &mut headers);
            let text = |name| {
                headers
                    .get(name)
                    .map(|v: &HeaderValue| v.to_str().expect("text").to_owned())
            };
            [CERTIFICATE, VERIFY, SUBJECT, ISSUER].map(text)
        };
        let some = |text: &str| Some(text.to_owned());
        let good = shown(Outcome::Good);
        assert_eq!(
            told(&asked, true, Some(&good)),
            [
                None,
                some("SUCCESS"),
                some("CN=anna,O=Example"),
                some("CN=Authority")
            ]
        );
        asked.pass = true;
        let [certificate, ..] = told(&asked, true, Some(&good));
        assert_eq!(certificate, some("-----BEGIN%20CERTIFICATE-----"));
        assert_eq!(told(&asked, true, None), [None, some("NONE"), None, None]);
        assert_eq!(told(&asked, false, None), [None, None, None, None]);
        let bad = shown(Outcome::Bad("certificate has expired".to_owned()));
        let [_, verify, ..] = told(&asked, true, Some(&bad));
        assert_eq!(verify, some("FAILED:certificate has expired"));
    }
}
