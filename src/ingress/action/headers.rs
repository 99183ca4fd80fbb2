// SPDX-License-Identifier: Apache-2.0
//! Changes of headers: of answers on their way to clients, as nginx's `more_set_headers`,
//! `more_clear_headers`, `add_header` and `proxy_hide_header` make them, and of requests on their
//! way to endpoints, as `proxy_set_header` does. PURE.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SERVER};

use super::super::annotation::value::Wrong;
use super::template::{Context, Template};

/// A header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// The same for all requests.
    Fixed(HeaderValue),
    /// With variables.
    Made(Template),
}

/// One change that `more_set_headers` or `more_clear_headers` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is changed.
    pub what: What,
    /// Only answers with these statuses; none for all.
    pub statuses: Vec<u16>,
    /// Only answers of these media types, in lower case; none for all.
    pub types: Vec<Box<str>>,
}

/// A change of an answer's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One value in place of all; an empty one removes it.
    Set(HeaderName, Text),
    /// All values go; `X-*` is all names that begin so.
    Clear(Box<str>),
}

/// What `add_header` adds, next to what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// The name.
    pub name: HeaderName,
    /// The value; nothing is added if it is empty.
    pub text: Text,
    /// Of whatever status the answer is, not of good ones only.
    pub always: bool,
}

/// Changes that are made together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// First these, in this order.
    pub edits: Vec<Edit>,
    /// Then these.
    pub added: Vec<Add>,
    /// Not taken over from the endpoint.
    pub hidden: Vec<HeaderName>,
    /// For the endpoint, in place of the client's.
    pub onward: Vec<(HeaderName, Text)>,
}

/// All changes of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Those of all routes. They are made of errors' answers too.
    pub everywhere: Changes,
    /// Those of the host.
    pub host: Changes,
    /// Those of the Ingress.
    pub own: Changes,
    /// Whether answers name a server.
    pub server: bool,
    /// `Connection` for the endpoint.
    pub connection: Option<HeaderValue>,
}

/// What changes of a route come to for one request, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    edits: Vec<(usize, Place, Option<HeaderValue>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Edit(Level),
    Add(Level),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Everywhere,
    Host,
    Own,
}

impl Text {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// It has a variable that is not known, or cannot be a header's value.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let template = Template::parse(text)?;
        match template.constant() {
            Some(constant) => Self::fixed(constant),
            None if template.has_groups() => {
                Err(format!("must have no groups of a pattern, is {text:?}"))
            }
            None => Ok(Self::Made(template)),
        }
    }

    /// A value in which a dollar is a dollar.
    ///
    /// # Errors
    ///
    /// It cannot be a header's value.
    pub fn fixed(text: &str) -> Result<Self, Wrong> {
        let value = HeaderValue::from_str(text);
        let wrong = |_| format!("must be a header's value, is {text:?}");
        value.map(Self::Fixed).map_err(wrong)
    }

    /// The value for a request; empty if it cannot be one.
    pub fn value(&self, context: &Context<'_>) -> HeaderValue {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Made(template) => {
                let made = HeaderValue::from_str(&template.render(context));
                made.unwrap_or(HeaderValue::from_static(""))
            }
        }
    }
}

/// Reads a header's name.
///
/// # Errors
///
/// It cannot be one.
pub fn name(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::try_from(text).map_err(|_| format!("must be a header's name, is {text:?}"))
}

/// Reads the name of a header that an endpoint may be told: not one that says where a message ends
/// or goes.
///
/// # Errors
///
/// It cannot be one, or belongs to the connection.
pub fn onward_name(text: &str) -> Result<HeaderName, Wrong> {
    let name = name(text)?;
    match name.as_str() {
        "content-length" | "transfer-encoding" | "te" | "trailer" => Err(format!(
            "must not change how long a message is, is {text:?}"
        )),
        "connection" | "upgrade" => Err(format!("must not change the connection, is {text:?}")),
        _ => Ok(name),
    }
}

impl Changes {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
            && self.added.is_empty()
            && self.hidden.is_empty()
            && self.onward.is_empty()
    }

    /// Sets a header of all answers.
    pub fn set(&mut self, name: HeaderName, text: Text) {
        self.edits.push(Edit {
            what: What::Set(name, text),
            statuses: Vec::new(),
            types: Vec::new(),
        });
    }
}

impl Headers {
    fn level(&self, level: Level) -> &Changes {
        match level {
            Level::Everywhere => &self.everywhere,
            Level::Host => &self.host,
            Level::Own => &self.own,
        }
    }

    /// Values for a request, while it is there.
    pub fn ready(&self, context: &Context<'_>) -> Ready {
        let mut ready = Ready::default();
        let levels = [Level::Everywhere, Level::Host, Level::Own];
        for level in levels {
            for (number, edit) in self.level(level).edits.iter().enumerate() {
                let value = match &edit.what {
                    What::Set(_, text) => Some(text.value(context)),
                    What::Clear(_) => None,
                };
                ready.edits.push((number, Place::Edit(level), value));
            }
        }
        // As in nginx, what is innermost hides what is around it.
        let levels = levels.into_iter().rev();
        let mut used = levels.filter(|level| !self.level(*level).added.is_empty());
        if let Some(level) = used.next() {
            for (number, add) in self.level(level).added.iter().enumerate() {
                let value = Some(add.text.value(context));
                ready.edits.push((number, Place::Add(level), value));
            }
        }
        ready
    }

    /// Makes an endpoint's head one that is changed by [`Headers::edit`].
    pub fn hide(&self, response: &mut HeaderMap) {
        for name in &self.everywhere.hidden {
            response.remove(name);
        }
        let inner = match self.own.hidden.is_empty() {
            true => &self.host.hidden,
            false => &self.own.hidden,
        };
        for name in inner {
            response.remove(name);
        }
    }

    /// Changes an answer; `only_everywhere` if it is one in place of an error. What is added comes
    /// later: see [`Headers::add`].
    pub fn edit(
        &self,
        ready: &Ready,
        status: StatusCode,
        response: &mut HeaderMap,
        only_everywhere: bool,
    ) {
        if self.server {
            response.insert(SERVER, HeaderValue::from_static("ferrule"));
        }
        for (number, place, value) in &ready.edits {
            if let Place::Edit(level) = *place
                && (level == Level::Everywhere || !only_everywhere)
            {
                self.level(level).edits[*number].make(value.as_ref(), status, response);
            }
        }
    }

    /// Adds to an answer.
    pub fn add(&self, ready: &Ready, status: StatusCode, response: &mut HeaderMap) {
        for (number, place, value) in &ready.edits {
            if let Place::Add(level) = *place {
                self.level(level).added[*number].make(value.as_ref(), status, response);
            }
        }
    }

    /// The headers that an endpoint is to be told; empty values remove them.
    pub fn onward(&self, context: &Context<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let all = self.everywhere.onward.iter().chain(&self.own.onward);
        all.map(|(name, text)| (name.clone(), text.value(context)))
            .collect()
    }
}

impl Edit {
    fn make(&self, value: Option<&HeaderValue>, status: StatusCode, response: &mut HeaderMap) {
        if !self.statuses.is_empty() && !self.statuses.contains(&status.as_u16()) {
            return;
        }
        if !self.types.is_empty() && !self.has_type(response) {
            return;
        }
        match (&self.what, value) {
            (What::Set(name, _), Some(value)) if !value.is_empty() => {
                response.insert(name, value.clone());
            }
            (What::Set(name, _), _) => drop(response.remove(name)),
            (What::Clear(pattern), _) => clear(pattern, response),
        }
    }

    fn has_type(&self, response: &HeaderMap) -> bool {
        let kind = response
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let mut wanted = self.types.iter();
        wanted.any(|wanted| wanted.eq_ignore_ascii_case(kind.trim()))
    }
}

fn clear(pattern: &str, response: &mut HeaderMap) {
    let Some(begin) = pattern.strip_suffix('*') else {
        response.remove(pattern);
        return;
    };
    let names: Vec<HeaderName> = response.keys().cloned().collect();
    let gone = names.iter().filter(|name| name.as_str().starts_with(begin));
    gone.for_each(|name| drop(response.remove(name)));
}

impl Add {
    fn make(&self, value: Option<&HeaderValue>, status: StatusCode, response: &mut HeaderMap) {
        // As nginx has it: https://nginx.org/en/docs/http/ngx_http_headers_module.html.
        let good = matches!(
            status.as_u16(),
            200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
        );
        if let Some(value) = value.filter(|value| !value.is_empty())
            && (good || self.always)
        {
            response.append(&self.name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn text(text: &str) -> Text {
        Text::parse(text).unwrap()
    }

    fn set(header: &str, value: &str) -> Edit {
        Edit {
            what: What::Set(name(header).unwrap(), text(value)),
            statuses: Vec::new(),
            types: Vec::new(),
        }
    }

    fn clear(pattern: &str) -> Edit {
        Edit {
            what: What::Clear(pattern.into()),
            ..set("x", "")
        }
    }

    fn add(header: &str, value: &str, always: bool) -> Add {
        Add {
            name: name(header).unwrap(),
            text: text(value),
            always,
        }
    }

    fn answer(headers: &Headers, status: u16, before: &[(&'static str, &str)]) -> Vec<String> {
        let parts = Request::get("/a?b").header("host", "h.example");
        let parts = parts.body(()).unwrap().into_parts().0;
        let ready = headers.ready(&Context::of(&parts));
        let mut map = HeaderMap::new();
        for (name, value) in before {
            map.append(*name, value.parse().unwrap());
        }
        headers.hide(&mut map);
        let status = StatusCode::from_u16(status).unwrap();
        headers.edit(&ready, status, &mut map, false);
        headers.add(&ready, status, &mut map);
        let line = |(n, v): (&HeaderName, &HeaderValue)| format!("{n}: {}", v.to_str().unwrap());
        let mut lines: Vec<String> = map.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn changes_are_made_from_the_outside_in() {
        let headers = Headers {
            everywhere: Changes {
                edits: vec![set("X-One", "all"), set("X-Two", "all")],
                hidden: vec![name("x-hidden").unwrap()],
                ..Changes::default()
            },
            own: Changes {
                edits: vec![
                    set("X-Two", "$host$request_uri"),
                    clear("x-gone-*"),
                    clear("x-a"),
                ],
                added: vec![add("X-Two", "added", false)],
                hidden: vec![name("x-secret").unwrap()],
                ..Changes::default()
            },
            ..Headers::default()
        };
        let before = [
            ("x-one", "endpoint"),
            ("x-hidden", "1"),
            ("x-secret", "1"),
            ("x-gone-1", "1"),
            ("x-gone-2", "1"),
            ("x-a", "1"),
            ("x-ab", "1"),
        ];
        let after = [
            "x-ab: 1",
            "x-one: all",
            "x-two: added",
            "x-two: h.example/a?b",
        ];
        assert_eq!(answer(&headers, 200, &before), after);
    }

    #[test]
    fn some_changes_are_made_of_some_answers_only() {
        let mut own = Changes {
            edits: vec![set("X-A", "1"), set("X-B", "1"), set("X-C", "")],
            added: vec![
                add("X-D", "1", true),
                add("X-E", "1", false),
                add("X-F", "", true),
            ],
            ..Changes::default()
        };
        own.edits[0].statuses = vec![404];
        own.edits[1].types = vec!["text/html".into()];
        let headers = Headers {
            own,
            ..Headers::default()
        };
        let html = [("content-type", "Text/HTML; charset=x"), ("x-c", "1")];
        let kind = "content-type: Text/HTML; charset=x";
        assert_eq!(
            answer(&headers, 404, &html),
            [kind, "x-a: 1", "x-b: 1", "x-d: 1"]
        );
        assert_eq!(answer(&headers, 200, &[]), ["x-d: 1", "x-e: 1"]);
    }

    #[test]
    fn what_the_ingress_adds_hides_what_the_host_does() {
        let mut headers = Headers {
            host: Changes {
                added: vec![add("X-Host", "1", true)],
                ..Changes::default()
            },
            ..Headers::default()
        };
        assert_eq!(answer(&headers, 200, &[]), ["x-host: 1"]);
        headers.own.added = vec![add("X-Own", "1", true)];
        assert_eq!(answer(&headers, 200, &[]), ["x-own: 1"]);
        headers.server = true;
        assert_eq!(answer(&headers, 200, &[]), ["server: ferrule", "x-own: 1"]);
    }

    #[test]
    fn names_and_values_that_break_a_message_are_refused() {
        assert!(Text::parse("a\nb").is_err());
        assert!(Text::parse("$nonsense").is_err());
        assert!(Text::parse("$1").is_err());
        assert!(name("a b").is_err() && name("").is_err());
        for (text, good) in [("X-A", true), ("Content-Length", false), ("Upgrade", false)] {
            assert_eq!(onward_name(text).is_ok(), good, "{text}");
        }
    }
}
