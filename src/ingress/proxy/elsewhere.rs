// SPDX-License-Identifier: Apache-2.0
//! Requests that are sent elsewhere, or that an endpoint is asked in another way.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::{self, Uri};

use super::context::context;
use super::directives::{Original, Settled};
use super::{End, Found, check};
use crate::ingress::action::headers::Text;
use crate::ingress::action::rewrite::Rewritten;
use crate::ingress::errors::Refusal;
use crate::ingress::filter::{self, Action};
use crate::ingress::serve::Client;
use crate::ingress::table::RouteSettings;

const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

impl Found {
    /// Redirects and returns.
    pub(super) fn redirect(&self, client: &Client, parts: &Parts) -> Result<(), End> {
        let mut settings = self.route_settings();
        let settled;
        if settings.redirect.is_some() && parts.extensions.get::<Settled>().is_some() {
            settled = RouteSettings {
                redirect: None,
                ..settings.clone()
            };
            settings = &settled;
        }
        if !filter::acts(settings) {
            return Ok(());
        }
        let subject = check::subject_of(parts)?;
        let route = self.route().map(|route| &**route);
        let context = context(client, &self.settings, route, (parts, &subject));
        match filter::before(settings, &context) {
            Action::Proceed => Ok(()),
            Action::Redirect(status, location) => Err(End::Redirect(status, location)),
        }
    }

    /// The Host that the endpoint is given, if it is one of its own.
    pub(super) fn named(&self, client: &Client, parts: &Parts) -> Option<HeaderValue> {
        let text = match self.route_settings().upstream_host.as_deref()? {
            Text::Fixed(value) => return Some(value.clone()),
            text => text,
        };
        let subject = check::subject_of(parts).ok()?;
        let route = self.route().map(|route| &**route);
        let mut context = context(client, &self.settings, route, (parts, &subject));
        if let Some(Original(uri)) = parts.extensions.get() {
            context.uri = uri;
        }
        Some(text.value(&context)).filter(|value| !value.is_empty())
    }

    /// Scheme and host, for a redirect of an endpoint that is made one to a path: as nginx, which
    /// makes it a URL unless redirects are to be relative.
    pub(super) fn place(&self, client: &Client, parts: &Parts) -> Option<String> {
        let settings = self.route_settings();
        let origin = settings.origin.as_ref()?;
        if !origin.makes_paths() || settings.relative_redirects {
            return None;
        }
        let subject = check::subject_of(parts).ok()?;
        let host = Some(subject.host).filter(|host| !host.is_empty())?;
        Some(format!("{}://{host}", client.scheme()))
    }

    /// Gives a request the path that its endpoint is asked for.
    pub(super) fn rewrite(&self, client: &Client, parts: &mut Parts) -> Result<(), End> {
        if self.settings.original_uri {
            tell_original(parts);
        }
        let Some(rewrite) = &self.route_settings().rewrite else {
            return Ok(());
        };
        if parts.extensions.get::<Settled>().is_some() {
            return Ok(());
        }
        let decoded = check::decoded_path(parts.uri.path()).ok_or(check::BAD)?;
        let subject = check::subject_of(parts)?;
        let route = self.route().map(|route| &**route);
        let context = context(client, &self.settings, route, (parts, &subject));
        let (path, prefix) = match rewrite.apply(&decoded, &context) {
            Rewritten::Same(prefix) => (None, prefix),
            Rewritten::Path(path, prefix) => (Some(path), prefix),
            Rewritten::Redirect(to) => return Err(End::Redirect(StatusCode::FOUND, to)),
            Rewritten::Broken => {
                return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR).into());
            }
        };
        if let Some(path) = path {
            let mut whole = uri::Parts::from(std::mem::take(&mut parts.uri));
            whole.path_and_query = Some(path);
            parts.uri = Uri::from_parts(whole).unwrap_or_default();
        }
        if let Some(prefix) = prefix {
            parts.headers.insert(X_FORWARDED_PREFIX, prefix);
        }
        Ok(())
    }
}

/// What the client asked for, in place of what it says of that.
fn tell_original(parts: &mut Parts) {
    let uri = match parts.extensions.get() {
        Some(Original(uri)) => uri,
        None => &parts.uri,
    };
    let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
    if let Ok(asked) = HeaderValue::from_str(asked) {
        parts.headers.insert(X_ORIGINAL_URI, asked);
    }
}
