// SPDX-License-Identifier: Apache-2.0
use hyper::Request;

use super::*;

fn pattern(text: &str) -> Arc<Pattern> {
    Arc::new(Pattern::search(text).expect(text))
}

/// What a request becomes, as text.
fn rewritten(path: &str, target: &str, uri: &str, decoded: &str) -> String {
    let target = Target::parse(target, Some("/p$2")).expect(target);
    let rewrite = Rewrite::new(pattern(path), Arc::new(target));
    let request = Request::builder().uri(uri).header("host", "a.example");
    let parts = request.body(()).expect("a request").into_parts().0;
    let context = Context {
        path: decoded,
        ..Context::of(&parts)
    };
    match rewrite.apply(decoded.as_bytes(), &context) {
        Rewritten::Same(_) => "same".to_owned(),
        Rewritten::Path(uri, _) => uri.to_string(),
        Rewritten::Redirect(to) => format!("302 {}", to.to_str().expect("text")),
        Rewritten::Broken => "500".to_owned(),
    }
}

#[test]
fn the_whole_path_is_replaced() {
    for (path, target, uri, expected) in [
        ("/something(/|$)(.*)", "/$2", "/something", "/"),
        ("/something(/|$)(.*)", "/$2", "/something/", "/"),
        ("/something(/|$)(.*)", "/$2", "/Something/New", "/New"),
        ("/testpath", "/", "/testpath/a/b", "/"),
        ("/testpath", "/", "/TESTPATHology", "/"),
        ("/testpath", "/", "/other", "same"),
        ("/foo/(\\d+)/(.*)", "/x/$2/$1", "/foo/7/y", "/x/y/7"),
        ("/foo/(.*)", "$1", "/foo/bar", "/bar"),
        ("/foo/(.*)", "$1", "/foo/", "500"),
        ("/foo", "/bar$uri", "/foo/x", "/bar/foo/x"),
        ("/foo", "/$host/$namespace", "/foo", "/a.example/"),
    ] {
        assert_eq!(rewritten(path, target, uri, uri), expected, "{path} {uri}");
    }
}

#[test]
fn the_query_is_kept_behind_the_target_s() {
    for (target, uri, expected) in [
        ("/b", "/a/c?x=1", "/b?x=1"),
        ("/b", "/a/c?", "/b"),
        ("/b?y=$1", "/a/c?x=1", "/b?y=c&x=1"),
        ("/b?y=$1", "/a/c", "/b?y=c"),
        ("/b?y=$1?", "/a/c?x=1", "/b?y=c"),
        ("/b?", "/a/c?x=1", "/b"),
        ("/b?y=$arg_x?", "/a/c?x=1", "/b?y=1"),
    ] {
        let path = uri.split('?').next().expect("a path");
        assert_eq!(
            rewritten("/a/(.*)", target, uri, path),
            expected,
            "{target} {uri}"
        );
    }
}

#[test]
fn what_was_decoded_is_escaped_again() {
    let of = |target, uri, decoded| rewritten("/a/(.*)", target, uri, decoded);
    assert_eq!(of("/b/$1", "/a/x%20y", "/a/x y"), "/b/x%20y");
    assert_eq!(of("/b/$1", "/a/x%3fy%2525", "/a/x?y%25"), "/b/x%3Fy%2525");
    assert_eq!(of("/b/$1", "/a/x;y|z", "/a/x;y|z"), "/b/x;y|z");
    assert_eq!(of("/b/$1", "/a/%3b{|}", "/a/;{|}"), "/b/;%7B%7C%7D");
    assert_eq!(of("/b?q=$1", "/a/x%26y", "/a/x&y"), "/b?q=x%26y");
    assert_eq!(of("/b?q=$1", "/a/x&y", "/a/x&y"), "/b?q=x&y");
    assert_eq!(of("/b?q=$1", "/a/x+y", "/a/x+y"), "/b?q=x%2By");
    // A dot is no line feed.
    assert_eq!(of("/b/$1", "/a/%0d%0ax", "/a/\r\nx"), "/b/%0D");
}

#[test]
fn a_url_redirects() {
    let of = |target, uri, decoded| rewritten("/a/(.*)", target, uri, decoded);
    let new = "https://new.example/$1";
    assert_eq!(of(new, "/a/b?x=1", "/a/b"), "302 https://new.example/b?x=1");
    assert_eq!(
        of(new, "/a/b%20c", "/a/b c"),
        "302 https://new.example/b%20c"
    );
    assert_eq!(
        // A dot is no line feed.
        of(new, "/a/b%0d%0aX:%20y", "/a/b\r\nX: y"),
        "302 https://new.example/b%0D"
    );
    assert_eq!(
        of("https://new.example/?to=$1", "/a/b?x=1", "/a/b"),
        "302 https://new.example/?to=b&x=1"
    );
    assert_eq!(
        of("$scheme://$host/", "/a/b", "/a/b"),
        "302 http://a.example/"
    );
    assert_eq!(of(new, "/other", "/other"), "same");
}

#[test]
fn endpoints_are_told_the_prefix() {
    let target = Arc::new(Target::parse("/", Some("/app/$1")).expect("a target"));
    let rewrite = Rewrite::new(pattern("/a(.*)"), target);
    let parts = Request::new(()).into_parts().0;
    let prefix = |path: &[u8]| match rewrite.apply(path, &Context::of(&parts)) {
        Rewritten::Path(_, prefix) | Rewritten::Same(prefix) => prefix,
        other => panic!("{other:?}"),
    };
    assert_eq!(prefix(b"/ab"), Some(HeaderValue::from_static("/app/b")));
    assert_eq!(prefix(b"/x"), Some(HeaderValue::from_static("/app/")));
}

#[test]
fn a_target_that_is_the_path_is_none() {
    let target = Target::parse("/", None).expect("a target");
    assert!(!target.is_active("/"));
    assert!(target.is_active("/a"));
    assert!(!target.may_lack_slash());
    assert!(
        Target::parse("$1", None)
            .expect("a target")
            .may_lack_slash()
    );
    assert!(Target::parse("/$nonsense", None).is_err());
    assert!(Target::parse("/", Some("$nonsense")).is_err());
}
