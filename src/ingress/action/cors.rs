// SPDX-License-Identifier: Apache-2.0
//! Cross-origin requests (CORS), as ingress-nginx answers them. PURE.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap,
    HeaderName, HeaderValue, ORIGIN,
};

/// Who may read answers from other origins, and what browsers are told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    /// All but the origin. What is not among them is left as the endpoint has it.
    told: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    All,
    Only(Vec<Origin>),
}

/// An origin, in lower case; with a wildcard what is before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    before: Box<str>,
    after: Option<Box<str>>,
}

/// What is said in the annotations, as text that was checked before.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    /// `*` alone, or origins, each with one `*` at most, which stands for one label.
    pub origins: Vec<&'a str>,
    /// `Access-Control-Allow-Methods`.
    pub methods: &'a str,
    /// `Access-Control-Allow-Headers`.
    pub headers: &'a str,
    /// `Access-Control-Expose-Headers`; empty for none.
    pub expose: &'a str,
    /// Whether `Access-Control-Allow-Credentials: true` is sent.
    pub credentials: bool,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: i64,
}

impl Cors {
    /// None if a text cannot be a header's value.
    pub fn new(words: &Words<'_>) -> Option<Self> {
        let mut told = Vec::new();
        if words.credentials {
            let yes = HeaderValue::from_static("true");
            told.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, yes));
        }
        let max_age = words.max_age.to_string();
        for (name, text) in [
            (ACCESS_CONTROL_ALLOW_METHODS, words.methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, words.headers),
            (ACCESS_CONTROL_EXPOSE_HEADERS, words.expose),
            (ACCESS_CONTROL_MAX_AGE, max_age.as_str()),
        ] {
            if !text.is_empty() {
                told.push((name, HeaderValue::from_str(text).ok()?));
            }
        }
        let origins = match words.origins[..] {
            ["*"] => Origins::All,
            ref some => Origins::Only(some.iter().map(|text| Origin::new(text)).collect()),
        };
        Some(Self { origins, told })
    }

    /// What `Access-Control-Allow-Origin` says to a request; none if its origin is not allowed.
    pub fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match &self.origins {
            Origins::All => Some(HeaderValue::from_static("*")),
            Origins::Only(origins) => {
                let origin = request.get(ORIGIN)?;
                let text = origin.to_str().ok()?.to_ascii_lowercase();
                let allowed = origins.iter().any(|allowed| allowed.is(&text));
                allowed.then(|| origin.clone())
            }
        }
    }

    /// Tells a browser, in place of what the endpoint says.
    pub fn tell(&self, allowed: HeaderValue, response: &mut HeaderMap) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        for (name, value) in &self.told {
            response.insert(name.clone(), value.clone());
        }
    }
}

impl Origin {
    fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.split_once('*') {
            Some((before, after)) => Self {
                before: before.into(),
                after: Some(after.into()),
            },
            None => Self {
                before: text.into(),
                after: None,
            },
        }
    }

    /// Whether it is another, in lower case. A wildcard stands for one label.
    fn is(&self, origin: &str) -> bool {
        let Some(after) = &self.after else {
            return *self.before == *origin;
        };
        let rest = origin.strip_prefix(&*self.before);
        let label = rest.and_then(|rest| rest.strip_suffix(&**after));
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        label.is_some_and(|label| !label.is_empty() && label.bytes().all(good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(&Words {
            origins: origins.to_vec(),
            methods: "GET, PUT",
            headers: "X-A",
            expose: "",
            credentials: true,
            max_age: 7,
        })
        .unwrap()
    }

    fn allowed(cors: &Cors, origin: &str) -> Option<String> {
        let mut request = HeaderMap::new();
        if !origin.is_empty() {
            request.insert(ORIGIN, origin.parse().unwrap());
        }
        let allowed = cors.allowed(&request);
        allowed.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn origins_are_compared_as_a_whole() {
        let some = cors(&["https://*.a.example:8443", "http://B.example", "null"]);
        for (origin, is) in [
            ("https://x.a.example:8443", true),
            ("https://X.A.example:8443", true),
            ("https://x-1.a.example:8443", true),
            ("https://x.y.a.example:8443", false),
            ("https://.a.example:8443", false),
            ("https://a.example:8443", false),
            ("https://x.a.example", false),
            ("http://b.example", true),
            ("http://b.example.evil", false),
            ("evil-http://b.example", false),
            ("null", true),
            ("https://null", false),
            ("", false),
        ] {
            let expected = is.then(|| origin.to_owned());
            assert_eq!(allowed(&some, origin), expected, "{origin}");
        }
        for origin in ["https://a.example", ""] {
            assert_eq!(allowed(&cors(&["*"]), origin).as_deref(), Some("*"));
        }
        assert_eq!(allowed(&cors(&[]), "http://b.example"), None);
    }

    #[test]
    fn browsers_are_told_in_place_of_the_endpoint() {
        let mut response = HeaderMap::new();
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, "DELETE".parse().unwrap());
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, "X-E".parse().unwrap());
        cors(&["*"]).tell(HeaderValue::from_static("*"), &mut response);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, PUT"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "X-A"),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            (ACCESS_CONTROL_MAX_AGE, "7"),
            (ACCESS_CONTROL_EXPOSE_HEADERS, "X-E"),
        ] {
            assert_eq!(response[&name], value, "{name}");
        }
    }
}
