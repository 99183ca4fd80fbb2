// SPDX-License-Identifier: Apache-2.0
//! Snippets of nginx's configuration as typed actions. Nothing of a snippet is ever run as text: a
//! directive that is not known here refuses the whole of it. PURE.

mod lexer;
mod rewrite;
#[cfg(test)]
mod tests;

pub use self::rewrite::{Outcome, Rewrite, Seen, Step, run};
use super::super::annotation::value::Wrong;
use super::headers::{self, Add, Changes, Edit, Text, What};
use super::template::Template;
use lexer::Directive;

/// Where a snippet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `server-snippet`.
    Server,
    /// `configuration-snippet`.
    Location,
}

/// What a snippet comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snippet {
    /// `rewrite` and `return`, in their order.
    pub steps: Vec<Step>,
    /// Changes of headers.
    pub changes: Changes,
    /// Directives without an effect, as in nginx, with the reasons.
    pub idle: Vec<String>,
}

/// What is served.
const KNOWN: &str = "more_set_headers, more_clear_headers, add_header, proxy_set_header, \
     proxy_hide_header, rewrite and return";

impl Snippet {
    /// Reads a snippet.
    ///
    /// # Errors
    ///
    /// Names the directive that is not served, and why.
    pub fn parse(text: &str, level: Level) -> Result<Self, Wrong> {
        let mut snippet = Self::default();
        for directive in lexer::directives(text)? {
            let Directive { name, arguments } = &directive;
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            snippet
                .take(name, &arguments, level)
                .map_err(|wrong| format!("directive {name:?}: {wrong}"))?;
        }
        Ok(snippet)
    }

    fn take(&mut self, name: &str, arguments: &[&str], level: Level) -> Result<(), Wrong> {
        let changes = &mut self.changes;
        match name {
            "more_set_headers" => changes.edits.extend(set_headers(arguments)?),
            "more_clear_headers" => changes.edits.extend(clear_headers(arguments)?),
            "add_header" => changes.added.push(add_header(arguments)?),
            "proxy_hide_header" => match arguments {
                [name] => changes.hidden.push(headers::name(name)?),
                _ => return Err("must have one argument".to_owned()),
            },
            "proxy_set_header" => {
                let header = set_onward(arguments)?;
                match level {
                    Level::Location => changes.onward.push(header),
                    Level::Server => self.idle.push(format!(
                        "proxy_set_header {} has no effect here, as in ingress-nginx, whose \
                         locations have their own",
                        header.0
                    )),
                }
            }
            "rewrite" => self.steps.push(Step::Rewrite(Rewrite::parse(arguments)?)),
            "return" => self.steps.push(rewrite::parse_return(arguments)?),
            "if" | "set" => return Err("conditions and variables are not served".to_owned()),
            _ => return Err(format!("not served; known are {KNOWN}")),
        }
        Ok(())
    }
}

/// `[-s STATUSES] [-t TYPES]` before the rest.
fn flags<'a>(mut arguments: &'a [&'a str]) -> Result<(Edit, &'a [&'a str]), Wrong> {
    let mut edit = Edit {
        what: What::Clear("".into()),
        statuses: Vec::new(),
        types: Vec::new(),
    };
    while let [flag, rest @ ..] = arguments
        && flag.starts_with('-')
    {
        let (value, rest) = rest
            .split_first()
            .ok_or_else(|| format!("must have a value after {flag}"))?;
        let mut words = value.split_ascii_whitespace();
        match *flag {
            "-s" => {
                let status = |word: &str| word.parse().map_err(|_| format!("-s: {word:?}"));
                edit.statuses = words.by_ref().map(status).collect::<Result<_, Wrong>>()?;
            }
            "-t" => {
                edit.types = words
                    .by_ref()
                    .map(|w| w.to_ascii_lowercase().into())
                    .collect()
            }
            _ => return Err(format!("{flag} is not served")),
        }
        arguments = rest;
    }
    match arguments {
        [] => Err("must name a header".to_owned()),
        rest => Ok((edit, rest)),
    }
}

fn set_headers(arguments: &[&str]) -> Result<Vec<Edit>, Wrong> {
    let (edit, lines) = flags(arguments)?;
    let one = |line: &&str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let name = headers::name(name.trim())?;
        framing(&name)?;
        let what = What::Set(name, Text::parse(value.trim())?);
        Ok(Edit {
            what,
            ..edit.clone()
        })
    };
    lines.iter().map(one).collect()
}

fn clear_headers(arguments: &[&str]) -> Result<Vec<Edit>, Wrong> {
    let (edit, names) = flags(arguments)?;
    let one = |name: &&str| {
        let plain = headers::name(name.trim().trim_end_matches('*'))?;
        framing(&plain)?;
        let star = if name.ends_with('*') { "*" } else { "" };
        let what = What::Clear(format!("{plain}{star}").into());
        Ok(Edit {
            what,
            ..edit.clone()
        })
    };
    names.iter().map(one).collect()
}

fn add_header(arguments: &[&str]) -> Result<Add, Wrong> {
    let (name, value, always) = match arguments {
        [name, value] => (name, value, false),
        [name, value, "always"] => (name, value, true),
        _ => return Err("must have a name, a value and at most \"always\"".to_owned()),
    };
    let name = headers::name(name)?;
    framing(&name)?;
    Ok(Add {
        name,
        text: Text::parse(value)?,
        always,
    })
}

fn set_onward(arguments: &[&str]) -> Result<(hyper::header::HeaderName, Text), Wrong> {
    match arguments {
        [name, value] => Ok((headers::onward_name(name)?, Text::parse(value)?)),
        _ => Err("must have a name and a value".to_owned()),
    }
}

/// Where an answer ends is nobody's to say.
fn framing(name: &hyper::header::HeaderName) -> Result<(), Wrong> {
    match name.as_str() {
        "content-length" | "transfer-encoding" | "connection" | "upgrade" | "trailer" => {
            Err(format!("must not change {name}"))
        }
        _ => Ok(()),
    }
}

/// Text with variables and no groups.
fn template(text: &str) -> Result<Template, Wrong> {
    let template = Template::parse(text)?;
    match template.has_groups() {
        true => Err(format!("must have no groups of a pattern, is {text:?}")),
        false => Ok(template),
    }
}
