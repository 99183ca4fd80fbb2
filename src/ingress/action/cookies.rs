// SPDX-License-Identifier: Apache-2.0
//! Finds a cookie of a request.

use hyper::header::{COOKIE, HeaderMap};

/// Names and values, in the order in which they came. Blanks belong to neither.
pub fn all(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
    })
}

/// As nginx's `$cookie_NAME`: the first one, whose name has no case.
pub fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut all = all(headers);
    let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, value)| value)
}

/// As ingress-nginx finds the cookie of a session: the last one of exactly this name.
pub fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let found = all(headers).filter(|(known, _)| *known == name.as_bytes());
    found.last().map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_of_a_name() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; B=2;a = 3", "none; b=4 ; a=", "c==x=y;"] {
            headers.append(COOKIE, line.parse().expect("a header"));
        }
        let text = |value: Option<&'static [u8]>| value;
        assert_eq!(text(Some(b"1")), first(&headers, "A"));
        assert_eq!(text(Some(b"2")), first(&headers, "b"));
        assert_eq!(text(Some(b"")), last(&headers, "a"));
        assert_eq!(text(Some(b"2")), last(&headers, "B"));
        assert_eq!(text(Some(b"=x=y")), last(&headers, "c"));
        assert_eq!(first(&headers, "none"), None);
        assert_eq!(last(&headers, ""), None);
    }
}
