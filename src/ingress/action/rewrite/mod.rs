// SPDX-License-Identifier: Apache-2.0
//! `rewrite-target`: another path for the endpoint, as nginx's `rewrite "(?i)PATH" TARGET break`.
//!
//! The path's pattern is searched in the decoded path, and if it is found all of the path becomes
//! the target. The query is kept, behind that of the target if it has one, and dropped if the
//! target ends with `?`. A target that is a URL redirects. (`ngx_http_rewrite_module`, and
//! `ngx_http_script_regex_end_code` for what is escaped.)

use std::sync::Arc;

use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;

use super::pattern::Pattern;
use super::template::{Context, Template, escape};
use crate::ingress::annotation::value::Wrong;

/// The value of `rewrite-target`, with what else depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    text: Arc<str>,
    path: Template,
    query: Option<Template>,
    /// Whether the client's query goes behind.
    keeps_query: bool,
    /// Whether clients are sent there.
    redirects: bool,
    /// `x-forwarded-prefix`.
    prefix: Option<Template>,
}

impl Target {
    /// Reads a target; `prefix` is what endpoints are told in `X-Forwarded-Prefix`.
    ///
    /// # Errors
    ///
    /// Names a variable that is not known.
    pub fn parse(text: &str, prefix: Option<&str>) -> Result<Self, Wrong> {
        let (rest, keeps_query) = match text.strip_suffix('?') {
            Some(rest) => (rest, false),
            None => (text, true),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let absolute = ["http://", "https://", "$scheme"];
        Ok(Self {
            text: text.into(),
            path: Template::parse(path)?,
            query: query.map(Template::parse).transpose()?,
            keeps_query,
            redirects: absolute.iter().any(|begin| text.starts_with(begin)),
            prefix: prefix.map(Template::parse).transpose()?,
        })
    }

    /// Whether it changes anything for a path of an Ingress: one that is equal is none.
    pub fn is_active(&self, path: &str) -> bool {
        *self.text != *path
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the path that it makes may lack its first slash.
    pub fn may_lack_slash(&self) -> bool {
        !self.redirects && !self.text.starts_with('/')
    }
}

/// The target for one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    pattern: Arc<Pattern>,
    target: Arc<Target>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewritten {
    /// It goes on as it is.
    Same(Option<HeaderValue>),
    /// It goes on with another path and query.
    Path(PathAndQuery, Option<HeaderValue>),
    /// The client is sent there, by 302.
    Redirect(HeaderValue),
    /// The target is no path: 500.
    Broken,
}

impl Rewrite {
    /// For a path of an Ingress, by the pattern that is searched.
    pub fn new(pattern: Arc<Pattern>, target: Arc<Target>) -> Self {
        Self { pattern, target }
    }

    /// The target as it was written.
    pub fn target(&self) -> &str {
        &self.target.text
    }

    /// Rewrites a request, of which `path` is the decoded path.
    pub fn apply(&self, path: &[u8], context: &Context<'_>) -> Rewritten {
        let groups = self.pattern.groups(path);
        let context = Context {
            groups: groups.as_deref().unwrap_or_default(),
            ..context.clone()
        };
        let prefix = self.target.prefix.as_ref();
        let prefix = prefix.map(|prefix| prefix.render_bytes(&context));
        let prefix = prefix.and_then(|prefix| HeaderValue::from_bytes(&prefix).ok());
        match &groups {
            None => Rewritten::Same(prefix),
            Some(_) if self.target.redirects => self.redirect(&context),
            Some(_) => self.path(&context, prefix),
        }
    }

    fn path(&self, context: &Context<'_>, prefix: Option<HeaderValue>) -> Rewritten {
        let made = self.target.path.render_bytes(context);
        if made.is_empty() {
            return Rewritten::Broken;
        }
        let slash: &[u8] = if made.starts_with(b"/") { b"" } else { b"/" };
        // What the client wrote plainly is not escaped either.
        let quoted = context.uri.path().contains('%');
        let build = |quoted: bool| {
            let path = match quoted {
                true => escape(&made, in_path),
                false => made.clone(),
            };
            let whole = [slash, &path, &self.query(context)].concat();
            PathAndQuery::from_maybe_shared(bytes::Bytes::from(whole)).ok()
        };
        match build(quoted).or_else(|| build(true)) {
            Some(uri) => Rewritten::Path(uri, prefix),
            None => Rewritten::Broken,
        }
    }

    /// With its question mark.
    fn query(&self, context: &Context<'_>) -> Vec<u8> {
        let client = context.uri.query().filter(|_| self.target.keeps_query);
        let client = client.filter(|query| !query.is_empty());
        let own = self.target.query.as_ref();
        let own = own.map(|own| with_escaped_groups(own, context, in_query));
        let mut query = Vec::new();
        if let Some(own) = &own {
            query.push(b'?');
            query.extend_from_slice(own);
        }
        if let Some(client) = client {
            query.push(if own.is_some() { b'&' } else { b'?' });
            query.extend_from_slice(client.as_bytes());
        }
        query
    }

    fn redirect(&self, context: &Context<'_>) -> Rewritten {
        let path = with_escaped_groups(&self.target.path, context, in_location);
        let whole = [path, self.query(context)].concat();
        HeaderValue::from_bytes(&whole).map_or(Rewritten::Broken, Rewritten::Redirect)
    }
}

/// Renders with groups escaped, if the client's path or query has something that is: what it wrote
/// plainly stays plain.
fn with_escaped_groups(
    template: &Template,
    context: &Context<'_>,
    special: fn(u8) -> bool,
) -> Vec<u8> {
    let uri = context.uri.path_and_query();
    if !uri.is_some_and(|uri| uri.as_str().contains(['%', '+'])) {
        return template.render_bytes(context);
    }
    let groups: Vec<Vec<u8>> = context.groups.iter().map(|g| escape(g, special)).collect();
    let groups: Vec<&[u8]> = groups.iter().map(Vec::as_slice).collect();
    let context = Context {
        groups: &groups,
        ..context.clone()
    };
    template.render_bytes(&context)
}

/// `NGX_ESCAPE_URI`.
fn in_path(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || b"\"#%<>?\\^`{|}".contains(&byte)
}

/// `NGX_ESCAPE_ARGS`.
fn in_query(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || b"#%&+;?".contains(&byte)
}

/// What of `NGX_ESCAPE_ARGS` `NGX_UNESCAPE_REDIRECT` leaves, but for a question mark.
fn in_location(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || b"#%?".contains(&byte)
}

#[cfg(test)]
mod tests;
