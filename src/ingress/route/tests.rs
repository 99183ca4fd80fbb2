// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::aliases::Alias;
use super::*;
use crate::ingress::action::pattern::Pattern;
use crate::ingress::table::{Backend, Behaviour, RouteSettings};
use crate::model::ServiceName;
use PathType::{Exact, ImplementationSpecific, Prefix};

/// A route that tells where it was added.
fn route(host: &str, path: &str, number: usize) -> Arc<Route> {
    Arc::new(Route {
        ingress: ServiceName::new("default", number.to_string()),
        host: host.into(),
        path: path.into(),
        backend: Backend::Status(404),
        settings: Arc::new(RouteSettings::default()),
    })
}

fn router(routes: &[(&str, &str, PathType)]) -> Router {
    let mut router = Router::default();
    for (number, (host, path, kind)) in routes.iter().enumerate() {
        router.add(host, path, *kind, route(host, path, number));
    }
    router
}

fn number(found: Option<&Arc<Route>>) -> Option<usize> {
    found.map(|route| route.ingress.name.parse().expect("a number"))
}

type Paths<'a> = &'a [(&'a str, PathType)];

/// The paths of one host, a request, and which of the paths it takes.
#[test]
fn paths_as_the_documentation_has_them() {
    let rows: &[(Paths<'_>, &str, Option<usize>)] = &[
        (&[("/", Prefix)], "/any/path", Some(0)),
        (&[("/foo", Exact)], "/foo", Some(0)),
        (&[("/foo", Exact)], "/bar", None),
        (&[("/foo", Exact)], "/foo/", None),
        (&[("/foo/", Exact)], "/foo", None),
        (&[("/foo", Prefix)], "/foo", Some(0)),
        (&[("/foo", Prefix)], "/foo/", Some(0)),
        (&[("/foo/", Prefix)], "/foo", Some(0)),
        (&[("/foo/", Prefix)], "/foo/", Some(0)),
        (&[("/aaa/bb", Prefix)], "/aaa/bbb", None),
        (&[("/aaa/bbb", Prefix)], "/aaa/bbb", Some(0)),
        (&[("/aaa/bbb/", Prefix)], "/aaa/bbb", Some(0)),
        (&[("/aaa/bbb", Prefix)], "/aaa/bbb/", Some(0)),
        (&[("/aaa/bbb", Prefix)], "/aaa/bbb/ccc", Some(0)),
        (&[("/aaa/bbb", Prefix)], "/aaa/bbbxyz", None),
        (&[("/", Prefix), ("/aaa", Prefix)], "/aaa/ccc", Some(1)),
        (&ALL, "/aaa/bbb", Some(2)),
        (&ALL, "/ccc", Some(0)),
        (&[("/aaa", Prefix)], "/ccc", None),
        (&[("/foo", Prefix), ("/foo", Exact)], "/foo", Some(1)),
    ];
    const ALL: [(&str, PathType); 3] = [("/", Prefix), ("/aaa", Prefix), ("/aaa/bbb", Prefix)];
    for (paths, request, expected) in rows {
        let routes: Vec<_> = paths.iter().map(|(p, kind)| ("h", *p, *kind)).collect();
        let found = number(router(&routes).find("h", request));
        assert_eq!(found, *expected, "{paths:?} {request}");
    }
}

#[test]
fn wildcards_as_the_documentation_has_them() {
    let router = router(&[("*.foo.com", "/", Prefix)]);
    assert!(router.find("bar.foo.com", "/").is_some());
    assert!(router.find("baz.bar.foo.com", "/").is_none());
    assert!(router.find("foo.com", "/").is_none());
    assert!(router.find(".foo.com", "/").is_none());
    assert!(router.find("", "/").is_none());
    assert!(router.find("*.foo.com.", "/").is_none());
}

#[test]
fn a_host_goes_before_a_wildcard_before_none() {
    let router = router(&[
        ("", "/all", Prefix),
        ("", "/", Prefix),
        ("*.foo.com", "/wild", Prefix),
        ("*.foo.com", "/both", Exact),
        ("a.foo.com", "/both", Prefix),
    ]);
    let find = |host, path| number(router.find(host, path));
    assert_eq!(find("a.foo.com", "/both"), Some(4));
    assert_eq!(find("b.foo.com", "/both"), Some(3));
    assert_eq!(find("a.foo.com", "/wild"), Some(2), "goes on");
    assert_eq!(find("a.foo.com", "/all/x"), Some(0), "and on");
    assert_eq!(find("192.0.2.1", "/"), Some(1));
    assert_eq!(find("", "/"), Some(1));
}

#[test]
fn a_default_stands_behind_all_paths_of_its_host() {
    let entry = |path: &str, number| PathRoute {
        kind: Prefix,
        path: path.into(),
        route: route("h.com", path, number),
        behaviour: Behaviour::default(),
    };
    let host = HostRoutes::new(vec![entry("/a", 0)], Some(route("h.com", "", 1)));
    let mut router = router(&[("*.com", "/b", Prefix)]);
    router.replace("h.com", Some(Arc::new(host)));
    assert_eq!(number(router.find("h.com", "/a")), Some(0));
    assert_eq!(number(router.find("h.com", "/b")), Some(1));
    router.add("h.com", "/c", Exact, route("h.com", "/c", 2));
    assert_eq!(number(router.find("h.com", "/c")), Some(2));
    assert_eq!(number(router.find("h.com", "/d")), Some(1));
    router.replace("h.com", None);
    assert_eq!(number(router.find("h.com", "/b")), Some(0));
}

#[test]
fn implementation_specific_is_a_prefix_of_bytes() {
    let router = router(&[
        ("h", "/api/*", ImplementationSpecific),
        ("h", "/api", ImplementationSpecific),
        ("h", "/api", Prefix),
        ("h", "/apis/", ImplementationSpecific),
        ("h", "/apis", Prefix),
        ("i", "", ImplementationSpecific),
        ("i", "/", Prefix),
    ]);
    let find = |path| number(router.find("h", path));
    assert_eq!(find("/apix"), Some(1));
    assert_eq!(find("/api/x"), Some(2), "as long, so Prefix wins");
    assert_eq!(find("/api/*x"), Some(0), "a star is a star");
    assert_eq!(find("/apis/x"), Some(3), "longer by its slash");
    assert_eq!(find("/apis"), Some(4));
    assert_eq!(find("/ap"), None);
    assert_eq!(number(router.find("i", "/")), Some(6));
    assert_eq!(
        number(router.find("i", "*")),
        Some(5),
        "begins with no slash"
    );
}

#[test]
fn the_first_of_equal_paths_stays() {
    let router = router(&[
        ("h", "/a", Prefix),
        ("h", "/a/", Prefix),
        ("h", "/a", Exact),
        ("h", "/a", Exact),
    ]);
    assert_eq!(number(router.find("h", "/a")), Some(2));
    assert_eq!(number(router.find("h", "/a/")), Some(0));
    let paths = router.host("h").expect("a host").paths();
    assert_eq!(paths.len(), 2);
    assert_eq!(paths[0].kind, Exact);
}

#[test]
fn tables_share_what_did_not_change() {
    let hosts: Vec<String> = (0..1000).map(|n| format!("h{n}.example.com")).collect();
    let routes: Vec<_> = hosts.iter().map(|h| (h.as_str(), "/", Prefix)).collect();
    let before = router(&routes);
    let mut after = before.clone();
    after.add("h7.example.com", "/new", Exact, route("", "", 5000));
    assert_eq!(number(before.find("h7.example.com", "/new")), Some(7));
    assert_eq!(number(after.find("h7.example.com", "/new")), Some(5000));
    let same = |host: &str| {
        let (before, after) = (before.host(host), after.host(host));
        std::ptr::eq(before.expect("there"), after.expect("there"))
    };
    let shared = hosts.iter().filter(|host| same(host)).count();
    assert_eq!(shared, 999);
    assert_eq!(after.hosts().count(), 1000);
}

/// The rules, word by word.
fn by_the_rules(routes: &[(String, String, PathType)], host: &str, path: &str) -> Option<usize> {
    let fits_host = |rule: &str, rank: u8| match (rank, rule.strip_prefix("*.")) {
        (0, None) => rule == host && !rule.is_empty(),
        (1, Some(suffix)) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == suffix),
        (2, None) => rule.is_empty(),
        _ => false,
    };
    let elements = |path: &str| -> Vec<String> {
        let path = path.trim_end_matches('/');
        path.split('/').skip(1).map(str::to_owned).collect()
    };
    let fits_path = |rule: &str, kind| match kind {
        Exact => rule == path,
        Prefix => elements(path).starts_with(&elements(rule)),
        ImplementationSpecific => path.starts_with(rule),
    };
    let length = |rule: &str, kind| match kind {
        Prefix => rule.trim_end_matches('/').len().max(1),
        _ => rule.len().max(1),
    };
    (0..3).find_map(|rank| {
        let mut best: Option<(bool, usize, std::cmp::Reverse<PathType>, usize)> = None;
        for (number, (h, p, kind)) in routes.iter().enumerate() {
            if fits_host(h, rank) && fits_path(p, *kind) {
                let exact = *kind == Exact;
                let key = (exact, length(p, *kind), std::cmp::Reverse(*kind), number);
                let better = best.is_none_or(|b| (key.0, key.1, key.2) > (b.0, b.1, b.2));
                best = if better { Some(key) } else { best };
            }
        }
        best.map(|best| best.3)
    })
}

fn kinds() -> impl Strategy<Value = PathType> {
    prop_oneof![Just(Exact), Just(Prefix), Just(ImplementationSpecific)]
}

/// Paths of few letters, so that many are prefixes of others; `!` sorts before the slash.
fn path() -> impl Strategy<Value = String> {
    "(/[ab!]{1,2}){0,3}/?".prop_map(|path| match path.is_empty() {
        true => "/".to_owned(),
        false => path,
    })
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(""),
        Just("a.c"),
        Just("*.c"),
        Just("b.c"),
        Just("*.a.c")
    ]
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn the_route_is_the_one_that_the_rules_say(
        routes in prop::collection::vec((host(), path(), kinds()), 0..40),
        requests in prop::collection::vec(("(a|b|x|x\\.a)\\.c|c|", path()), 1..40),
    ) {
        let all: Vec<_> = routes.iter().map(|(h, p, k)| (&**h, &**p, *k)).collect();
        let router = router(&all);
        for (host, path) in &requests {
            let expected = by_the_rules(&routes, host, path);
            prop_assert_eq!(number(router.find(host, path)), expected, "{} {}", host, path);
        }
    }
}

/// Half of them in one host of their own, as nested as paths get, the others in hosts of ten.
#[test]
fn fifty_thousand_paths_are_found_in_under_a_microsecond() {
    let entry = |path: String, number| PathRoute {
        kind: [Prefix, Exact, Prefix, ImplementationSpecific][number % 4],
        path: path.as_str().into(),
        route: route("", &path, number),
        behaviour: Behaviour::default(),
    };
    let deep = (0..25_000).map(|n| entry(format!("/api/v1/tenants/{n}/items"), n));
    let mut router = Router::default();
    let deep = HostRoutes::new(deep.collect(), None);
    router.replace("deep.example.com", Some(Arc::new(deep)));
    for host in 0..2_500 {
        let paths = (0..10)
            .map(|n| entry(format!("/service-{n}/"), n))
            .collect();
        let routes = Arc::new(HostRoutes::new(paths, None));
        router.replace(&format!("h{host}.example.com"), Some(routes));
    }
    let deep = |n| {
        (
            "deep.example.com".to_owned(),
            format!("/api/v1/tenants/{n}/items"),
        )
    };
    let flat = |n| (format!("h{n}.example.com"), "/service-4/x/y".to_owned());
    let requests: Vec<_> = (0..2_500).flat_map(|n| [deep(n * 10), flat(n)]).collect();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let found = requests.iter().filter(|(h, p)| router.find(h, p).is_some());
        assert_eq!(found.count(), requests.len());
        best = best.min(begun.elapsed() / u32::try_from(requests.len()).expect("few"));
    }
    println!("{best:?} a look-up");
    // Without optimisation, and beside other tests, this only tells whether it grows with the paths.
    let most = if cfg!(debug_assertions) { 1000 } else { 1 };
    assert!(best < Duration::from_micros(most), "{best:?}");
}

/// A host whose paths are patterns, in this order.
fn patterns(texts: impl IntoIterator<Item = String>) -> HostRoutes {
    let routes = texts.into_iter().enumerate().map(|(number, text)| {
        let pattern = Pattern::location(&text).expect("a pattern");
        PatternRoute {
            pattern: Arc::new(pattern),
            entry: PathRoute {
                kind: Prefix,
                path: text.as_str().into(),
                route: route("h", &text, number),
                behaviour: Behaviour::IngressNginx,
            },
        }
    });
    HostRoutes::new(Vec::new(), None).with_patterns(routes.collect())
}

#[test]
fn the_first_pattern_counts_whatever_it_begins_with() {
    let texts = ["/a/[0-9]+", "/a", "/(b|a)/x", "/A/b", "/a/b/c", "[^/]", "/"];
    let host = patterns(texts.map(str::to_owned));
    let find = |path| number(host.find(path));
    for (path, expected) in [
        ("/a/7", Some(0)),
        ("/A/x", Some(1)),
        ("/a/b/c", Some(1)),
        ("/b/x", Some(2)),
        ("/B/X/y", Some(2)),
        ("/c", Some(6)),
        ("x", Some(5)),
        ("", None),
    ] {
        assert_eq!(find(path), expected, "{path}");
    }
    assert_eq!(host.len(), texts.len());
}

proptest! {
    /// Beside the same, one after the other.
    #[test]
    fn the_pattern_is_the_first_that_matches(
        texts in prop::collection::vec("(/[abAB]{1,2}|/\\(a\\|b\\)|/\\.\\*|b\\?|\\$){0,4}", 1..30),
        paths in prop::collection::vec("(/[abAB]{0,3}){0,4}", 1..30),
    ) {
        let host = patterns(texts.iter().cloned());
        for path in &paths {
            let expected = texts.iter().position(|text| {
                let whole = format!("(?i-u)^{text}");
                regex::bytes::Regex::new(&whole).expect("a pattern").is_match(path.as_bytes())
            });
            prop_assert_eq!(number(host.find(path)), expected, "{}", path);
        }
    }
}

#[test]
fn other_names_come_in_nginx_s_order() {
    let alias = |text: &str| Alias::parse(text).expect(text);
    let mut router = router(&[
        ("a.com", "/", Prefix),
        ("b.com", "/", Prefix),
        ("*.c.com", "/", Prefix),
        ("", "/", Prefix),
    ]);
    let all = [
        ("d.com", "a.com"),
        ("*.e.com", "a.com"),
        ("*.x.e.com", "b.com"),
        ("www.*", "b.com"),
        ("~^w", "a.com"),
        ("~^y\\.c", "a.com"),
        ("b.com", "a.com"),
    ];
    let all = all.map(|(name, host)| (alias(name), host.into()));
    router.set_aliases(Some(Arc::new(Aliases::new(all))));
    for (host, expected) in [
        ("d.com", 0),
        ("b.com", 1),
        ("y.e.com", 0),
        ("y.x.e.com", 1),
        ("e.com", 3),
        ("www.any", 1),
        ("www", 0),
        ("y.c.com", 2),
        ("z.c.com", 2),
        ("other", 3),
    ] {
        assert_eq!(number(router.find(host, "/")), Some(expected), "{host}");
    }
    for wrong in ["", "*.", "a*b.com", "*", ".a", "a b", "~(?!a)"] {
        assert!(Alias::parse(wrong).is_err(), "{wrong}");
    }
}

/// Patterns that begin differently cost no more than plain paths; of those that begin alike each is
/// tried.
#[test]
fn a_thousand_patterns_of_a_host_are_searched() {
    let time = |host: &HostRoutes, path: &dyn Fn(usize) -> String| {
        let paths: Vec<String> = (0..1000).map(path).collect();
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            for (number, path) in paths.iter().enumerate() {
                let found = host.find(path).expect("a route");
                assert_eq!(found.ingress.name.parse(), Ok(number));
            }
            best = best.min(begun.elapsed() / 1000);
        }
        best
    };
    let different = patterns((0..1000).map(|n| format!("/tenant-{n}(/|$)(.*)")));
    let different = time(&different, &|n| format!("/tenant-{n}/api/v1/items"));
    let alike = patterns((0..1000).map(|n| format!("/[a-z]+/{n}(/|$)(.*)")));
    let alike = time(&alike, &|n| format!("/tenant/{n}/api/v1/items"));
    println!("{different:?} and {alike:?} a look-up");
    // Without optimisation, and beside other tests, these only tell whether something is wrong.
    let (most, most_alike) = if cfg!(debug_assertions) {
        (2_000, 100_000)
    } else {
        (2, 300)
    };
    assert!(different < Duration::from_micros(most), "{different:?}");
    assert!(alike < Duration::from_micros(most_alike), "{alike:?}");
}
