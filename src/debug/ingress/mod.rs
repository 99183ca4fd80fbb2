// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug ingress` and `ferrule debug route`: what the Ingress sidecar serves.

mod lint;
#[cfg(test)]
mod lint_tests;

use std::io::Write;

use anyhow::{Context, Result, bail};
use comfy_table::{ContentArrangement, Table, presets};
use hyper::Uri;

use super::print::print;
use super::{Verdict, client};
use crate::cli::{IngressArgs, RouteArgs};
use crate::ingress::explain::{CertificateView, Everything, Explained, RouteView};

const ROUTES: [&str; 6] = ["HOST", "PATH", "TYPE", "INGRESS", "BACKEND", "ENDPOINTS"];
/// Of a table, how many endpoints are shown; the others are counted.
const ENDPOINTS: usize = 3;

/// Asks the running sidecar and prints all that it serves; with `--lint`, what is not served as it is
/// written.
///
/// # Errors
/// No sidecar, or it does not answer; a directory that cannot be read.
pub fn run(args: &IngressArgs, out: &mut impl Write) -> Result<Verdict> {
    if args.lint {
        return lint::run(args, out);
    }
    let all: Everything = client::get(&args.admin_socket, "/ingress")?;
    print(out, args.output, &all, |out, wide| page(&all, wide, out))?;
    Ok(Verdict::Fine)
}

fn page(all: &Everything, wide: bool, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}", routes(&all.routes, wide, false))?;
    writeln!(out, "\nall else: {}\n", all.default_backend)?;
    writeln!(out, "{}\n", certificates(&all.certificates))?;
    if !all.ports.is_empty() {
        let mut ports = table(&["PORT", "SERVICE", "ENDPOINTS"]);
        for port in &all.ports {
            ports.add_row([&port.port, &port.backend, &port.endpoints.join(",")]);
        }
        writeln!(out, "{ports}\n")?;
    }
    if !all.config_maps.is_empty() {
        let mut maps = table(&["CONFIGMAP", "NOT SERVED"]);
        for map in &all.config_maps {
            maps.add_row([&map.name, &map.notes.join("\n")]);
        }
        writeln!(out, "{maps}\n")?;
    }
    let mut ingresses = table(&["INGRESS", "STATE", "BEHAVIOUR", "NOT SERVED"]);
    for ingress in &all.ingresses {
        let notes = ingress.notes.join("\n");
        ingresses.add_row([&ingress.name, &ingress.verdict, &ingress.behaviour, &notes]);
    }
    writeln!(out, "{ingresses}")
}

/// Asks the running sidecar which route a request takes, and prints it.
///
/// # Errors
/// A URL or header that is none, no sidecar, or it does not answer.
pub fn route(args: &RouteArgs, out: &mut impl Write) -> Result<()> {
    let (host, path) = request(&args.url, &args.headers)?;
    let query = format!("/route?host={host}&path={path}");
    let found: Explained = client::get(&args.admin_socket, &query)?;
    let tls = args.url.starts_with("https:");
    print(out, args.output, &found, |out, wide| {
        route_page(&found, tls, wide, out)
    })
}

fn route_page(
    found: &Explained,
    tls: bool,
    wide: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    writeln!(
        out,
        "{}{} is answered by {}",
        found.host, found.path, found.answer
    )?;
    if let Some(to) = found.redirected.as_ref().filter(|_| !tls) {
        writeln!(out, "the client is sent elsewhere: {to}")?;
    }
    if let Some(path) = &found.rewritten {
        writeln!(out, "the endpoint is asked for {path}")?;
    }
    if let Some(taken) = &found.taken {
        writeln!(
            out,
            "\n{}",
            routes(std::slice::from_ref(taken), true, false)
        )?;
    }
    if !found.others.is_empty() {
        writeln!(out, "\nnot taken:\n{}", routes(&found.others, wide, true))?;
    }
    if tls {
        let shown = found.certificate.as_slice();
        match shown.is_empty() {
            true => writeln!(out, "\ncertificate: the sidecar's own, which nobody trusts")?,
            false => writeln!(out, "\n{}", certificates(shown))?,
        }
    }
    Ok(())
}

/// Host and path of a request. A header Host goes before the URL's.
fn request(url: &str, headers: &[String]) -> Result<(String, String)> {
    let parsed: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
    let Some(host) = parsed.host().filter(|_| parsed.scheme().is_some()) else {
        bail!("{url:?} is no URL with a scheme and a host");
    };
    let mut host = host.to_owned();
    for header in headers {
        let Some((name, value)) = header.split_once(':') else {
            bail!("-H {header:?}: must be 'NAME: VALUE'");
        };
        if name.trim().eq_ignore_ascii_case("host") {
            let value = value.trim();
            let port = value
                .rsplit_once(':')
                .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
            value.clone_into(&mut host);
            if let Some((name, _)) = port {
                name.clone_into(&mut host);
            }
        }
    }
    let known = |c: char| c.is_ascii_alphanumeric() || "-._[]:*".contains(c);
    if !host.chars().all(known) {
        bail!("{host:?} is no host");
    }
    Ok((host.to_ascii_lowercase(), parsed.path().to_owned()))
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table
}

fn routes(routes: &[RouteView], wide: bool, lost: bool) -> Table {
    let reason: &[&str] = if lost { &["REASON"] } else { &[] };
    let mut table = table(&[&ROUTES[..], reason].concat());
    for route in routes {
        let count = route.endpoints.len();
        let shown = if wide { count } else { count.min(ENDPOINTS) };
        let mut endpoints = route.endpoints[..shown].join(",");
        if count > shown {
            endpoints = format!("{endpoints} and {} more", count - shown);
        }
        let host = if route.host.is_empty() {
            "*"
        } else {
            &route.host
        };
        let backend = backend(route);
        let mut row = vec![
            host,
            &route.path,
            &route.kind,
            &route.ingress,
            &backend,
            &endpoints,
        ];
        if lost {
            row.push(&route.lost);
        }
        table.add_row(row);
    }
    table
}

/// With what it is asked for, and where clients are sent instead.
fn backend(route: &RouteView) -> String {
    let mut text = route.backend.clone();
    if !route.rewrite.is_empty() {
        text = format!("{text} as {}", route.rewrite);
    }
    if !route.redirect.is_empty() {
        text = format!("{text} (redirects: {})", route.redirect);
    }
    text
}

fn certificates(certificates: &[CertificateView]) -> Table {
    let mut table = table(&["CERTIFICATE FOR", "NAMES", "EXPIRES", "COVERS"]);
    for one in certificates {
        let covers = if one.covers { "yes" } else { "no" };
        table.add_row([&one.host, &one.names.join(","), &one.expires, covers]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_path_of_a_request() {
        let of = |url: &str, headers: &[&str]| {
            let headers: Vec<String> = headers.iter().map(|h| (*h).to_owned()).collect();
            request(url, &headers).map_err(|error| format!("{error:#}"))
        };
        let pair = |host: &str, path: &str| Ok((host.to_owned(), path.to_owned()));
        assert_eq!(of("https://A.com:8443/x/y?q=1", &[]), pair("a.com", "/x/y"));
        assert_eq!(
            of("http://192.0.2.1", &["host: b.com:80", "x: y"]),
            pair("b.com", "/")
        );
        assert!(of("a.com/x", &[]).is_err());
        assert!(
            of("http://a.com/", &["host"])
                .expect_err("no header")
                .contains("-H")
        );
        assert!(of("http://a.com/", &["host: a&b"]).is_err());
    }
}
