// SPDX-License-Identifier: Apache-2.0
//! `/debug`, if profiling is on (upstream: `apiserver/pkg/server/routes/{flags,profiling}.go`).
//!
//! There are no profiles: those of Go's runtime have no meaning here, and a sampler inside the
//! process that programs the node interrupts it by signals (docs/health.md).

use http_body_util::{BodyExt, Limited};
use hyper::header::{HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};

use crate::observe::http::{PATIENCE, Reply, TEXT, not_found, plain, reply};
use crate::observe::log;

const HTML: &str = "text/html; charset=utf-8";
/// Go's, which has no character set here.
const BARE_TEXT: &str = "text/plain";
/// Tells the `pprof` tool that the text is an error to show.
const PPROF: HeaderName = HeaderName::from_static("x-go-pprof");
/// A level is short.
const LONGEST: usize = 4096;
/// klog keeps the level in 31 bits.
const HIGHEST: u32 = i32::MAX.unsigned_abs();

const FLAGS: &str = "<html>\n<head>\n<title>/debug/flags/</title>\n</head>\n<body>\n\
    /debug/flags/<br>\n<br>\nflags:<br>\n<table>\n<tr>v<br>\n</table>\n<br>\n\
    full flags configurable<br>\n</body>\n</html>\n";
const INDEX: &str = "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n\
    <p>ferrule is no Go program and serves no profiles of Go's runtime.</p>\n\
    <p>On the node: <code>perf record -g -p $(pidof ferrule) -- sleep 30</code></p>\n\
    <p><a href=\"/debug/flags/\">/debug/flags/</a> changes the log level.</p>\n\
    </body>\n</html>\n";
const NO_PROFILE: &str = "ferrule is no Go program and serves no such profile; on the node, \
    'perf record -g -p $(pidof ferrule) -- sleep 30' takes one\n";

/// Answers what is below `/debug/`.
pub(super) async fn answer<B>(request: Request<B>) -> Reply
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match request.uri().path() {
        "/debug/flags/v" => verbosity(request).await,
        "/debug/pprof" => redirect(request.method()),
        "/debug/pprof/" => reply(StatusCode::OK, HTML, INDEX),
        // "Are there symbols?" is all that the tool wants to know.
        "/debug/pprof/symbol" => reply(StatusCode::OK, TEXT, "num_symbols: 0\n"),
        "/debug/flags" => plain(StatusCode::OK, HTML, FLAGS),
        path => match path.strip_prefix("/debug/pprof/") {
            Some(name) => profile(name),
            None if path.starts_with("/debug/flags/") => plain(StatusCode::OK, HTML, FLAGS),
            None => not_found(),
        },
    }
}

fn profile(name: &str) -> Reply {
    let known = [
        "allocs",
        "block",
        "goroutine",
        "heap",
        "mutex",
        "profile",
        "threadcreate",
        "trace",
    ];
    let mut reply = if known.contains(&name) {
        reply(StatusCode::NOT_IMPLEMENTED, TEXT, NO_PROFILE)
    } else {
        reply(StatusCode::NOT_FOUND, TEXT, "Unknown profile\n")
    };
    let one = HeaderValue::from_static("1");
    reply.headers_mut().insert(PPROF, one);
    reply
}

fn redirect(method: &Method) -> Reply {
    let body = match *method {
        Method::GET => "<a href=\"/debug/pprof/\">Found</a>.\n\n",
        _ => "",
    };
    let mut reply = plain(StatusCode::FOUND, HTML, body);
    let target = HeaderValue::from_static("/debug/pprof/");
    reply.headers_mut().insert(LOCATION, target);
    reply
}

/// `/debug/flags/v`: PUT a number to change the log's verbosity.
async fn verbosity<B>(request: Request<B>) -> Reply
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let say = |code, text: &str| reply(code, BARE_TEXT, format!("{text}\n"));
    if *request.method() != Method::PUT {
        return say(StatusCode::NOT_ACCEPTABLE, "unsupported http method");
    }
    let bad = |why: String| say(StatusCode::BAD_REQUEST, &why);
    let read = Limited::new(request.into_body(), LONGEST).collect();
    let body = match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return bad(format!("error reading request body: {error}")),
        Err(_) => return bad("error reading request body: it does not come".to_owned()),
    };
    match level(&String::from_utf8_lossy(&body)) {
        Ok(level) => {
            log::set_verbosity(level);
            tracing::info!(level, "the verbosity of the log was changed by request");
            let body = String::from_utf8_lossy(&body);
            say(
                StatusCode::OK,
                &format!("successfully set klog.logging.verbosity to {body}"),
            )
        }
        Err(error) => bad(error),
    }
}

/// A level, or the error that kube-proxy's reader gets.
fn level(text: &str) -> Result<u32, String> {
    let fail = |what| Err(format!("strconv.ParseUint: parsing {text:?}: {what}"));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return fail("invalid syntax");
    }
    match text.parse::<u32>() {
        Err(_) => fail("value out of range"),
        Ok(level) if level > HIGHEST => Err(format!(
            "failed set klog.logging.verbosity {text}: strconv.ParseInt: parsing {text:?}: value \
             out of range"
        )),
        Ok(level) => Ok(level),
    }
}
