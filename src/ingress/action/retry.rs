// SPDX-License-Identifier: Apache-2.0
//! Which failures make a request be tried again at another endpoint: nginx's `proxy_next_upstream`.

use std::time::Duration;

use hyper::StatusCode;

use crate::ingress::annotation::value::{Wrong, words};

/// Statuses that may be retried, by their bits in [`Retry::statuses`].
const STATUSES: [u16; 7] = [403, 404, 429, 500, 502, 503, 504];

/// What makes a request be tried again. The default is ingress-nginx's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The endpoint cannot be reached, or breaks off before it has answered.
    pub error: bool,
    /// It takes too long.
    pub timeout: bool,
    /// Its answer is no HTTP.
    pub invalid_header: bool,
    /// It answers one of these, as bits.
    pub(crate) statuses: u8,
    /// For how long endpoints are tried; none: for as long as there are some.
    pub within: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            error: true,
            timeout: true,
            invalid_header: false,
            statuses: 0,
            within: None,
        }
    }
}

impl Retry {
    /// Reads `error timeout http_503 non_idempotent`. The second value is whether requests that are
    /// not idempotent may be sent again; it is none of a [`Retry`]'s as the ConfigMap has a key of
    /// its own for it.
    ///
    /// # Errors
    ///
    /// Names the word that is not known.
    pub fn parse(text: &str) -> Result<(Self, bool), Wrong> {
        let mut retry = Self {
            error: false,
            timeout: false,
            ..Self::default()
        };
        let (mut off, mut non_idempotent) = (false, false);
        for word in words(text) {
            match word {
                "error" => retry.error = true,
                "timeout" => retry.timeout = true,
                "invalid_header" => retry.invalid_header = true,
                "non_idempotent" => non_idempotent = true,
                "off" => off = true,
                word => retry.add(word)?,
            }
        }
        if off {
            let none = Self {
                error: false,
                timeout: false,
                ..Self::default()
            };
            return Ok((none, false));
        }
        Ok((retry, non_idempotent))
    }

    fn add(&mut self, word: &str) -> Result<(), Wrong> {
        let status = word
            .strip_prefix("http_")
            .and_then(|code| code.parse().ok());
        let place =
            status.and_then(|status: u16| STATUSES.iter().position(|known| *known == status));
        match place {
            Some(place) => {
                self.statuses |= 1 << place;
                Ok(())
            }
            None => Err(format!(
                "must be made of error, timeout, invalid_header, http_403, http_404, http_429, \
                 http_500, http_502, http_503, http_504, non_idempotent and off, is {word:?}"
            )),
        }
    }

    /// Whether an endpoint's answer makes the request be tried again.
    pub fn on_status(&self, status: StatusCode) -> bool {
        if self.statuses == 0 {
            return false;
        }
        let place = STATUSES.iter().position(|known| *known == status.as_u16());
        place.is_some_and(|place| self.statuses & (1 << place) != 0)
    }

    /// Whether anything does that an endpoint does once it has the request.
    pub fn may_send_again(&self) -> bool {
        self.error || self.timeout || self.invalid_header || self.statuses != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_nginx_mean_the_same() {
        let (retry, again) = Retry::parse("error  timeout").unwrap();
        assert_eq!((retry, again), (Retry::default(), false));
        let (retry, again) = Retry::parse("http_503 http_404 non_idempotent").unwrap();
        assert!(!retry.error && !retry.timeout && !retry.invalid_header && again);
        let on: Vec<u16> = (400..600)
            .filter(|code| retry.on_status(StatusCode::from_u16(*code).unwrap()))
            .collect();
        assert_eq!(on, [404, 503]);
        assert!(Retry::parse("invalid_header").unwrap().0.invalid_header);
    }

    #[test]
    fn off_is_off() {
        let (retry, again) = Retry::parse("off error http_500 non_idempotent").unwrap();
        assert!(!retry.may_send_again() && !again);
        let wrong = Retry::parse("error http_418").unwrap_err();
        assert!(wrong.ends_with("is \"http_418\""), "{wrong}");
    }
}
