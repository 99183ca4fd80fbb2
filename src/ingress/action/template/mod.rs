// SPDX-License-Identifier: Apache-2.0
//! Text with nginx's variables (`https://$host$request_uri`), as annotations hold it.
//!
//! Names and values are those of nginx (<https://nginx.org/en/docs/varindex.html>), and of what
//! ingress-nginx's template sets for each location. Only what is listed in [`KNOWN`] is served, all
//! else is refused when it is read: nginx would not start with it.

mod value;

use crate::ingress::annotation::value::Wrong;
pub use value::{Context, Place};
pub(crate) use value::{escape, without_port};

/// Text with variables in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// As it was written.
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// A value that differs from request to request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Variable {
    Scheme,
    AccessScheme,
    Https,
    Host,
    BestHttpHost,
    RequestUri,
    EscapedRequestUri,
    Uri,
    Args,
    IsArgs,
    Arg(String),
    Header(String),
    Cookie(String),
    RemoteAddr,
    ServerPort,
    AccessPort,
    ServerName,
    ServerProtocol,
    RequestMethod,
    RequestId,
    Namespace,
    IngressName,
    ServiceName,
    ServicePort,
    LocationPath,
    /// A group of the path's pattern, from 1.
    Group(usize),
}

/// All names but those that begin with [`FAMILIES`]; those of one value stand together.
const KNOWN: &[(&str, Variable)] = &[
    ("scheme", Variable::Scheme),
    ("pass_access_scheme", Variable::AccessScheme),
    ("https", Variable::Https),
    ("host", Variable::Host),
    ("best_http_host", Variable::BestHttpHost),
    ("request_uri", Variable::RequestUri),
    ("escaped_request_uri", Variable::EscapedRequestUri),
    ("uri", Variable::Uri),
    ("document_uri", Variable::Uri),
    ("args", Variable::Args),
    ("query_string", Variable::Args),
    ("is_args", Variable::IsArgs),
    ("remote_addr", Variable::RemoteAddr),
    ("the_real_ip", Variable::RemoteAddr),
    ("server_port", Variable::ServerPort),
    ("pass_server_port", Variable::AccessPort),
    ("pass_port", Variable::AccessPort),
    ("server_name", Variable::ServerName),
    ("server_protocol", Variable::ServerProtocol),
    ("request_method", Variable::RequestMethod),
    ("request_id", Variable::RequestId),
    ("req_id", Variable::RequestId),
    ("namespace", Variable::Namespace),
    ("ingress_name", Variable::IngressName),
    ("service_name", Variable::ServiceName),
    ("service_port", Variable::ServicePort),
    ("location_path", Variable::LocationPath),
];

/// Names that go on with that of a header, a cookie or a parameter of the query.
const FAMILIES: &[&str] = &["arg_", "cookie_", "http_"];

impl Template {
    /// Reads text with `$name` and `${name}` in it. `$1` to `$9` are groups of a path's pattern.
    ///
    /// # Errors
    ///
    /// Names the variable that is not known, and those that are.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let mut template = Self {
            text: text.to_owned(),
            parts: Vec::new(),
        };
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            template.push_text(&rest[..dollar]);
            let (variable, after) = variable(&rest[dollar + 1..], text)?;
            match variable {
                // What ingress-nginx's template escapes a dollar with.
                None => template.push_text("$"),
                Some(variable) => template.parts.push(Part::Variable(variable)),
            }
            rest = after;
        }
        template.push_text(rest);
        Ok(template)
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// The text for a request. What a request does not have is empty.
    pub fn render(&self, context: &Context<'_>) -> String {
        let bytes = self.render_bytes(context);
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into())
    }

    /// The same, where what groups matched need not be text.
    pub(crate) fn render_bytes(&self, context: &Context<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => bytes.extend_from_slice(plain.as_bytes()),
                Part::Variable(variable) => value::push(variable, context, &mut bytes),
            }
        }
        bytes
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text, if it has no variable.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the text depends on what groups of the path's pattern matched.
    pub fn has_groups(&self) -> bool {
        let is_group = |part: &Part| matches!(part, Part::Variable(Variable::Group(_)));
        self.parts.iter().any(is_group)
    }
}

/// The variable that text begins with after its dollar, and the rest; none is a dollar as such.
fn variable<'a>(text: &'a str, whole: &str) -> Result<(Option<Variable>, &'a str), Wrong> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(inner) => inner
            .split_once('}')
            .ok_or_else(|| format!("must close its braces, is {whole:?}"))?,
        None if text.starts_with(|c: char| matches!(c, '1'..='9')) => text.split_at(1),
        None => {
            let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = text.find(|c| !part_of_name(c)).unwrap_or(text.len());
            text.split_at(end)
        }
    };
    match name {
        "" => Err(format!("must have a name after each dollar, is {whole:?}")),
        "literal_dollar" => Ok((None, rest)),
        name => Ok((Some(named(name)?), rest)),
    }
}

fn named(name: &str) -> Result<Variable, Wrong> {
    if let [digit @ b'1'..=b'9'] = name.as_bytes() {
        return Ok(Variable::Group(usize::from(digit - b'0')));
    }
    // nginx's names have no case, and only those of parameters keep what is not a letter.
    let name = name.to_ascii_lowercase();
    let of = |family: &str| name.strip_prefix(family).filter(|rest| !rest.is_empty());
    if let Some(rest) = of("arg_") {
        return Ok(Variable::Arg(rest.to_owned()));
    }
    if let Some(rest) = of("cookie_") {
        return Ok(Variable::Cookie(rest.to_owned()));
    }
    if let Some(rest) = of("http_") {
        return Ok(Variable::Header(rest.replace('_', "-")));
    }
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    known.map(|(_, variable)| variable.clone()).ok_or_else(|| {
        let names = KNOWN.iter().map(|(name, _)| format!("${name}"));
        let families = FAMILIES.iter().map(|family| format!("${family}NAME"));
        let all: Vec<String> = names.chain(families).collect();
        format!("has no variable ${name}: known are {}", all.join(" "))
    })
}

#[cfg(test)]
mod tests;
