// SPDX-License-Identifier: Apache-2.0
//! How paths and hosts are compared, and what endpoints are asked for.

use std::sync::Arc;

use super::value::{Wrong, switch, words};
use super::{Draft, Kind, Reader};
use crate::ingress::action::handshake::Handshake;
use crate::ingress::action::redirect::Redirect;
use crate::ingress::action::rewrite::Target;
use crate::ingress::route::aliases::Alias;
use crate::ingress::table::Behaviour;

/// What concerns the paths and hosts of an Ingress, rather than how its requests are served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// `rewrite-target`, with `x-forwarded-prefix`.
    pub target: Option<Arc<Target>>,
    /// `use-regex`.
    pub use_regex: bool,
    /// `app-root`: where `/` of its hosts is redirected.
    pub root: Option<Arc<Redirect>>,
    /// `server-alias`: other names of its hosts.
    pub aliases: Vec<Alias>,
    /// `from-to-www-redirect`: `www.HOST` is redirected to its hosts, or they are `www.HOST`.
    pub www: bool,
    /// `ssl-ciphers`, `ssl-protocols`: how TLS is spoken for its hosts.
    pub handshake: Handshake,
}

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let routing = &mut draft.routing;
    let prefix = reader.text("x-forwarded-prefix");
    let taken = taken(reader.behaviour());
    let target = |text| taken(text).and_then(|text| Target::parse(text, prefix));
    if let Some(target) = reader.value("rewrite-target", target) {
        if target.may_lack_slash() {
            let text = "does not begin with a slash: where what it makes does not either, one is \
                        put in front";
            reader.note("rewrite-target", Kind::Approximated, text);
        }
        routing.target = Some(Arc::new(target));
    }
    if let Some(on) = reader.value("use-regex", switch) {
        routing.use_regex = on;
    }
    routing.aliases = aliases(reader);
}

/// What ingress-nginx takes for the path of a rewrite or of `app-root` (`RegexPathWithCapture`); it
/// goes on without one that has anything else in it.
pub(super) fn taken(behaviour: Behaviour) -> impl Fn(&str) -> Result<&str, Wrong> {
    move |text| {
        let good = |c: char| c.is_ascii_alphanumeric() || "-._~/:$".contains(c);
        match text.chars().find(|c| !good(*c)) {
            Some(odd) if behaviour == Behaviour::IngressNginx => Err(format!(
                "has {odd:?}, which ingress-nginx takes in no path: {text:?}"
            )),
            _ => Ok(text),
        }
    }
}

/// In their order, which is ingress-nginx's.
fn aliases(reader: &mut Reader<'_>) -> Vec<Alias> {
    let text = reader.text("server-alias").unwrap_or_default();
    let mut names: Vec<&str> = words(text).collect();
    names.sort_unstable();
    names.dedup();
    let mut aliases = Vec::new();
    for name in names {
        match Alias::parse(name) {
            Ok(alias) => aliases.push(alias),
            Err(wrong) if name.starts_with('~') => {
                reader.note("server-alias", Kind::Refused, format!("{name:?} {wrong}"));
            }
            Err(wrong) => reader.note("server-alias", Kind::Invalid, wrong),
        }
    }
    aliases
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shelf, ingress, notes, read_all};
    use super::super::{Defaults, read as read_for};
    use super::*;

    #[test]
    fn paths_and_hosts_are_read() {
        let all = read_all(&[
            ("rewrite-target", "/$2"),
            ("x-forwarded-prefix", "/app"),
            ("use-regex", "true"),
            ("app-root", "/app"),
            (
                "server-alias",
                "b.example, *.c.example,a.example a.example,~^d\\d$",
            ),
            ("from-to-www-redirect", "true"),
        ]);
        assert_eq!(notes(&all), [""; 0]);
        let routing = &all.routing;
        let target = Target::parse("/$2", Some("/app")).expect("a target");
        assert_eq!(routing.target.as_deref(), Some(&target));
        assert!(routing.use_regex && routing.www);
        assert_eq!(routing.root, Redirect::to_root("/app").ok().map(Arc::new));
        let names = ["*.c.example", "a.example", "b.example", "~^d\\d$"];
        let aliases = names.map(|name| Alias::parse(name).expect(name));
        assert_eq!(routing.aliases, aliases);
        assert_eq!(read_all(&[]).routing, Routing::default());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let all = read_all(&[
            ("rewrite-target", "/$nonsense"),
            ("use-regex", "maybe"),
            ("app-root", "app"),
            ("server-alias", "a/b, ~(?!x), good.example"),
            ("from-to-www-redirect", "www"),
        ]);
        let notes = notes(&all);
        let begins = [
            "annotation app-root: must be a path, is \"app\"; the default holds",
            "annotation from-to-www-redirect: must be true or false, is \"www\"",
            "annotation rewrite-target: has no variable $nonsense: known are",
            "annotation server-alias: must be names of hosts, is \"a/b\"",
            "annotation server-alias: \"~(?!x)\" has look-ahead",
            "annotation use-regex: must be true or false, is \"maybe\"",
        ];
        assert_eq!(notes.len(), begins.len(), "{notes:?}");
        for (note, begin) in notes.iter().zip(begins) {
            assert!(note.starts_with(begin), "{note}");
        }
        assert_eq!(all.routing.aliases.len(), 1);
        assert_eq!(all.routing.target, None);
    }

    #[test]
    fn what_ingress_nginx_takes_in_no_path_is_as_if_it_was_not_there() {
        for (text, taken) in [
            ("/a b", false),
            ("/a;x", false),
            ("/$1?x=$2", false),
            ("/a-b_c.d~e/$1:$2", true),
            ("https://a.example/$1", true),
        ] {
            let defaults = Defaults::of(Behaviour::IngressNginx, &Default::default());
            let ingress = ingress(&[("rewrite-target", text)]);
            let nginx = read_for(&ingress, &defaults, &Shelf::default());
            assert_eq!(nginx.routing.target.is_some(), taken, "{text}");
            assert_eq!(nginx.notes.is_empty(), taken, "{text}");
            let spec = read_all(&[("rewrite-target", text)]);
            assert!(
                spec.routing.target.is_some() && spec.notes.is_empty(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_target_without_slash_is_approximated() {
        let all = read_all(&[("rewrite-target", "$1")]);
        assert!(all.routing.target.is_some());
        assert_eq!(all.notes[0].kind, Kind::Approximated);
        assert_eq!(read_all(&[("rewrite-target", "https://a/$1")]).notes, []);
    }
}
