// SPDX-License-Identifier: Apache-2.0
use hyper::Request;
use hyper::http::request::Parts;
use proptest::prelude::*;

use super::*;
use crate::ingress::action::template::Context;

fn parts() -> Parts {
    let request = Request::get("/app1?a=b").header("host", "h.example");
    request.body(()).unwrap().into_parts().0
}

fn parse(text: &str) -> Snippet {
    Snippet::parse(text, Level::Location).expect(text)
}

fn outcome(text: &str, path: &str, query: &str) -> Outcome {
    let parts = parts();
    let seen = Seen {
        path: path.to_owned(),
        query: query.to_owned(),
    };
    run(&parse(text).steps, seen, &Context::of(&parts))
}

fn redirect(status: u16, place: &str) -> Outcome {
    Outcome::Redirect(status, place.to_owned())
}

fn seen(path: &str, query: &str) -> Seen {
    Seen {
        path: path.to_owned(),
        query: query.to_owned(),
    }
}

#[test]
fn what_the_articles_use_is_served() {
    let snippet = parse(
        "more_set_headers \"X-Frame-Options: DENY\";\n\
         add_header X-Content-Type-Options \"nosniff\" always;\n\
         rewrite ^(/app1)$ $1/ permanent;",
    );
    assert_eq!(snippet.changes.edits.len(), 1);
    assert!(snippet.changes.added[0].always);
    assert_eq!(snippet.steps.len(), 1);
    let rewrite = "rewrite ^(/app1)$ $1/ permanent;";
    assert_eq!(
        outcome(rewrite, "/app1", "a=b"),
        redirect(301, "/app1/?a=b")
    );
    assert_eq!(outcome(rewrite, "/app1/", ""), Outcome::Same);
}

#[test]
fn rewrites_change_path_and_query() {
    for (text, path, expected) in [
        (
            "rewrite ^/a/(.*)$ /b/$1 break;",
            "/a/c",
            Outcome::Break(seen("/b/c", "q=1")),
        ),
        (
            "rewrite ^/a/(.*)$ /b?x=$1 break;",
            "/a/c",
            Outcome::Break(seen("/b", "x=c&q=1")),
        ),
        (
            "rewrite ^/a/(.*)$ /b? break;",
            "/a/c",
            Outcome::Break(seen("/b", "")),
        ),
        (
            "rewrite ^/a/(.*)$ /b?x=1? last;",
            "/a/c",
            Outcome::Last(seen("/b", "x=1")),
        ),
        ("rewrite ^/A /b last;", "/a", Outcome::Same),
        (
            "rewrite (?i)^/A /b last;",
            "/a",
            Outcome::Last(seen("/b", "q=1")),
        ),
        (
            "rewrite ^/a /b; rewrite ^/b /c; rewrite ^/a /d;",
            "/a",
            Outcome::Last(seen("/c", "q=1")),
        ),
        (
            "rewrite ^/a$ https://b.example$uri;",
            "/a",
            redirect(302, "https://b.example/a?q=1"),
        ),
        (
            "rewrite ^/a/(.*)$ /$1? redirect;",
            "/a/x y",
            redirect(302, "/x%20y"),
        ),
        (
            "rewrite ^/a /b break; return 404;",
            "/a",
            Outcome::Break(seen("/b", "q=1")),
        ),
        ("return 404;", "/a", Outcome::Answer(404, String::new())),
        (
            "return 200 'hi $host';",
            "/a",
            Outcome::Answer(200, "hi h.example".to_owned()),
        ),
        (
            "return 301 https://$host/x;",
            "/a",
            redirect(301, "https://h.example/x"),
        ),
        (
            "return https://b.example;",
            "/a",
            redirect(302, "https://b.example"),
        ),
    ] {
        assert_eq!(outcome(text, path, "q=1"), expected, "{text}");
    }
}

#[test]
fn rewritten_paths_are_written_as_clients_do() {
    assert_eq!(seen("/a b/ü", "x=1").uri(), "/a%20b/%C3%BC?x=1");
    assert_eq!(seen("/a?b#c%", "").uri(), "/a%3Fb%23c%25");
    assert_eq!(seen("/a", "x=1 2#\n").uri(), "/a?x=12");
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    for (text, part) in [
        (
            "more_set_headers 'A: b'; proxy_pass http://x;",
            "directive \"proxy_pass\": not served",
        ),
        (
            "lua_need_request_body on;",
            "directive \"lua_need_request_body\"",
        ),
        ("set $a b;", "directive \"set\": conditions and variables"),
        ("if ($host = a) { return 403; }", "directive \"if\""),
        ("rewrite ^/(?!a) /b break;", "the pattern"),
        ("rewrite ^/(a)\\1 /b break;", "the pattern"),
        ("rewrite ^/a /b once;", "has no flag \"once\""),
        ("rewrite ^/a;", "must have a pattern"),
        (
            "rewrite ^/a $upstream_addr last;",
            "has no variable $upstream_addr",
        ),
        ("return 444;", "444"),
        ("return nothing;", "status"),
        ("return;", "must have a status"),
        ("return 200 $1;", "groups"),
        ("add_header X;", "must have a name"),
        (
            "add_header Content-Length 5;",
            "must not change content-length",
        ),
        (
            "more_set_headers 'Transfer-Encoding: x';",
            "must not change",
        ),
        ("more_set_headers -a 'X: y';", "-a"),
        ("more_set_headers;", "must name a header"),
        ("more_clear_headers 'X Y';", "header's name"),
        ("proxy_set_header Content-Length 5;", "how long"),
        ("proxy_hide_header;", "one argument"),
        (
            "allow 10.0.0.1;",
            "directive \"allow\": not served; known are more_set_headers",
        ),
    ] {
        let wrong = Snippet::parse(text, Level::Location).expect_err(text);
        assert!(wrong.contains(part), "{text}: {wrong}");
    }
}

#[test]
fn flags_choose_answers() {
    let snippet = parse("more_set_headers -s '404 500' -t 'Text/HTML text/css' 'X: y' 'Z:';");
    let [one, two] = &snippet.changes.edits[..] else {
        panic!("{snippet:?}");
    };
    assert_eq!(one.statuses, [404, 500]);
    assert_eq!(one.types, ["text/html".into(), "text/css".into()]);
    assert_eq!(two.statuses, one.statuses);
    let snippet = parse("more_clear_headers Server 'X-*';");
    let what: Vec<_> = snippet
        .changes
        .edits
        .iter()
        .map(|e| e.what.clone())
        .collect();
    assert_eq!(
        what,
        [What::Clear("server".into()), What::Clear("x-*".into())]
    );
}

#[test]
fn a_server_tells_endpoints_nothing() {
    let text = "proxy_set_header X-A b; add_header X-B c;";
    let snippet = Snippet::parse(text, Level::Server).unwrap();
    assert!(snippet.changes.onward.is_empty());
    assert_eq!(snippet.changes.added.len(), 1);
    assert!(snippet.idle[0].starts_with("proxy_set_header x-a has no effect"));
}

/// Pieces that snippets are made of, good and bad.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "add_header",
        "more_set_headers",
        "rewrite",
        "return",
        "proxy_set_header",
        "if",
        "set",
        "X-A",
        "'X: y'",
        "\"",
        "'",
        ";",
        "{",
        "}",
        "#",
        "\\",
        "$",
        "$1",
        "${host}",
        "$host",
        "always",
        "^/(a+)+$",
        "(",
        "[",
        "/b",
        "break",
        "last",
        "404",
        "\n",
        " ",
        "\u{e4}",
        "\0",
        "?",
    ];
    prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    /// Whatever is written, reading it ends, and what is read runs and makes URIs.
    #[test]
    fn any_text_is_read_or_refused(pieces in prop::collection::vec(piece(), 0..40), path in "/.{0,20}") {
        let text = pieces.join(if pieces.len() % 2 == 0 { " " } else { "" });
        if let Ok(snippet) = Snippet::parse(&text, Level::Location) {
            let parts = parts();
            match run(&snippet.steps, seen(&path, ""), &Context::of(&parts)) {
                Outcome::Break(seen) | Outcome::Last(seen) => {
                    prop_assert!(seen.uri().parse::<hyper::Uri>().is_ok(), "{}", seen.uri());
                }
                _ => {}
            }
        }
    }

    /// What is quoted comes back as it was, and is one argument.
    #[test]
    fn quoted_text_is_one_value(value in "[ -#%-~]{1,30}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let snippet = parse(&format!("add_header X \"{quoted}\";"));
        let text = Text::fixed(&value);
        prop_assert_eq!(Ok(&snippet.changes.added[0].text), text.as_ref());
    }

    /// A directive that is not known refuses all, wherever it stands.
    #[test]
    fn an_unknown_directive_refuses_all(name in "[a-z_]{1,20}", before in 0..3usize, after in 0..3usize) {
        let known = ["more_set_headers", "more_clear_headers", "add_header", "proxy_set_header",
            "proxy_hide_header", "rewrite", "return"];
        prop_assume!(!known.contains(&name.as_str()));
        let good = "add_header X y;\n";
        let text = format!("{}{name} a b;{}", good.repeat(before), good.repeat(after));
        let wrong = Snippet::parse(&text, Level::Location).unwrap_err();
        let named = format!("directive {name:?}: ");
        prop_assert!(wrong.contains(&named), "{}", wrong);
    }
}
