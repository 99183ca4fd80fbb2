// SPDX-License-Identifier: Apache-2.0
//! `rewrite` and `return`, as nginx's rewrite module runs them.

use std::fmt::Write as _;
use std::mem::take;

use regex::bytes::{Regex, RegexBuilder};

use super::super::template::{Context, Template};
use super::{Wrong, template};

/// The most memory that a compiled pattern takes, in bytes.
const PATTERN: usize = 1 << 20;

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `rewrite PATTERN REPLACEMENT [FLAG]`.
    Rewrite(Rewrite),
    /// `return STATUS`, with a text or a place to go.
    Return(u16, Option<Template>),
}

/// What `rewrite` does.
#[derive(Debug, Clone)]
pub struct Rewrite {
    pattern: Regex,
    replacement: Template,
    flag: Flag,
    /// Whether the query stays: there is no `?` at the end.
    keeps_query: bool,
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        let all = |r: &Self| (r.replacement.clone(), r.flag, r.keeps_query);
        self.pattern.as_str() == other.pattern.as_str() && all(self) == all(other)
    }
}

impl Eq for Rewrite {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    /// The next directive goes on with what it made.
    None,
    Last,
    Break,
    /// 302 or 301.
    Redirect(u16),
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Decoded, without `.`, `..` and empty segments.
    pub path: String,
    /// Without question mark; empty for none.
    pub query: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing has changed.
    Same,
    /// It goes on where it is, with this path and query; nothing rewrites it any more.
    Break(Seen),
    /// It is looked up again with these.
    Last(Seen),
    /// It is answered with this status and Location.
    Redirect(u16, String),
    /// It is answered with this status and text.
    Answer(u16, String),
}

impl Rewrite {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, Wrong> {
        let (pattern, replacement, flag) = match arguments {
            [pattern, replacement] => (pattern, replacement, Flag::None),
            [pattern, replacement, flag] => {
                let flag = match *flag {
                    "last" => Flag::Last,
                    "break" => Flag::Break,
                    "redirect" => Flag::Redirect(302),
                    "permanent" => Flag::Redirect(301),
                    other => return Err(format!("has no flag {other:?}")),
                };
                (pattern, replacement, flag)
            }
            _ => return Err("must have a pattern, a replacement and at most a flag".to_owned()),
        };
        let away = ["http://", "https://", "$scheme"];
        let flag = match flag {
            Flag::Redirect(_) => flag,
            _ if away.iter().any(|start| replacement.starts_with(start)) => Flag::Redirect(302),
            flag => flag,
        };
        let (kept, keeps_query) = match replacement.strip_suffix('?') {
            Some(rest) => (rest, false),
            None => (*replacement, true),
        };
        let mut builder = RegexBuilder::new(pattern);
        // Bytes, as nginx has it.
        let pattern = builder
            .unicode(false)
            .size_limit(PATTERN)
            .build()
            .map_err(|error| {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default();
                format!("the pattern {pattern:?} is not served: {reason}")
            })?;
        Ok(Self {
            pattern,
            replacement: Template::parse(kept)?,
            flag,
            keeps_query,
        })
    }

    /// The path and query after it; none if it does not fit.
    fn apply(&self, seen: &Seen, context: &Context<'_>) -> Option<(String, bool)> {
        let found = self.pattern.captures(seen.path.as_bytes())?;
        let redirects = matches!(self.flag, Flag::Redirect(_));
        let escaped = |group: &[u8]| escape(&String::from_utf8_lossy(group)).into_bytes();
        let groups: Vec<Vec<u8>> = (1..found.len().max(10))
            .map(|n| found.get(n).map_or(&b""[..], |group| group.as_bytes()))
            .map(|group| {
                if redirects {
                    escaped(group)
                } else {
                    group.to_vec()
                }
            })
            .collect();
        let groups: Vec<&[u8]> = groups.iter().map(Vec::as_slice).collect();
        let context = Context {
            path: &seen.path,
            groups: &groups,
            ..context.clone()
        };
        let made = self.replacement.render(&context);
        let has_query = made.contains('?');
        Some((made, has_query))
    }
}

/// `return STATUS [TEXT]` and `return URL`.
pub(super) fn parse_return(arguments: &[&str]) -> Result<Step, Wrong> {
    let away = |text: &str| {
        ["http://", "https://", "$scheme"]
            .iter()
            .any(|start| text.starts_with(start))
    };
    let (status, text) = match arguments {
        [place] if away(place) => return Ok(Step::Return(302, Some(template(place)?))),
        [status] => (status, None),
        [status, text] => (status, Some(template(text)?)),
        _ => return Err("must have a status and at most a text".to_owned()),
    };
    let number = status.parse::<u16>().ok();
    match number.filter(|number| (200..=599).contains(number) && *number != 444) {
        Some(number) => Ok(Step::Return(number, text)),
        None => Err(format!(
            "must have a status from 200 to 599 but for 444, is {status:?}"
        )),
    }
}

/// Runs directives. `context` is that of the request as it came.
pub fn run(steps: &[Step], mut seen: Seen, context: &Context<'_>) -> Outcome {
    let mut changed = false;
    for step in steps {
        let rewrite = match step {
            Step::Return(status, text) => {
                let context = Context {
                    path: &seen.path,
                    ..context.clone()
                };
                let text = text.as_ref().map(|text| text.render(&context));
                return answer(*status, text.unwrap_or_default());
            }
            Step::Rewrite(rewrite) => rewrite,
        };
        let Some((made, has_query)) = rewrite.apply(&seen, context) else {
            continue;
        };
        let query = Some(take(&mut seen.query));
        let query = query.filter(|query| rewrite.keeps_query && !query.is_empty());
        if let Flag::Redirect(status) = rewrite.flag {
            let mut place = made;
            if let Some(query) = query {
                place.push(if has_query { '&' } else { '?' });
                place.push_str(&query);
            }
            return Outcome::Redirect(status, place);
        }
        let (path, own) = made.split_once('?').unwrap_or((&made, ""));
        let queries = [Some(own.to_owned()).filter(|own| !own.is_empty()), query];
        let queries: Vec<String> = queries.into_iter().flatten().collect();
        seen = Seen {
            path: match path.starts_with('/') {
                true => path.to_owned(),
                // nginx answers 500; what was meant is clear.
                false => format!("/{path}"),
            },
            query: queries.join("&"),
        };
        match rewrite.flag {
            Flag::Break => return Outcome::Break(seen),
            Flag::Last => return Outcome::Last(seen),
            _ => changed = true,
        }
    }
    match changed {
        true => Outcome::Last(seen),
        false => Outcome::Same,
    }
}

fn answer(status: u16, text: String) -> Outcome {
    match status {
        301 | 302 | 303 | 307 | 308 => Outcome::Redirect(status, text),
        status => Outcome::Answer(status, text),
    }
}

/// A path as a client would write it.
pub(super) fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'!' | b'$' | b'&'..=b';' | b'=' | b'@'..=b'Z' | b'_' | b'a'..=b'z' | b'~' => {
                escaped.push(byte.into());
            }
            byte => {
                // Writing to a string does not fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

impl Seen {
    /// As a client would write it.
    pub fn uri(&self) -> String {
        let mut uri = escape(&self.path);
        if !self.query.is_empty() {
            uri.push('?');
            // Variables may have put into it what does not belong there.
            let good = |c: &char| c.is_ascii_graphic() && *c != '#';
            uri.extend(self.query.chars().filter(good));
        }
        uri
    }
}
