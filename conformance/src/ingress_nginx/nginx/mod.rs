// SPDX-License-Identifier: Apache-2.0
//! nginx with the configuration that ingress-nginx v1.15.1 would render.
//!
//! What is written here follows its documentation and its template, rootfs/etc/nginx/template/
//! nginx.tmpl, never what ferrule answers. Where ingress-nginx decides in Lua, maps of nginx take
//! the same decision: which endpoint, which canary, whether to redirect, HSTS, cookies. Each server
//! is rendered twice, without and with TLS, as these depend on it.
//!
//! | module | does |
//! |---|---|
//! | [`annotations`] | reads annotations as ingress-nginx does |
//! | `model`, `build` | servers, locations and backends from Ingresses |
//! | `http`, `server`, `location`, `auth`, `cors`, `pass` | the text, a block of the template each |
//! | `balance` | endpoints, canaries and cookies |
//! | `settings` | what a ConfigMap says |
//! | [`process`] | nginx itself |

pub mod annotations;
mod auth;
mod balance;
mod build;
mod cors;
mod http;
mod location;
mod model;
mod pass;
pub mod process;
mod server;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;

use self::build::Model;
use self::settings::Settings;
use super::case::Case;
use super::certificates::{Certificates, Pair};
use super::objects::{Places, secret_data};

/// What is rendered.
#[derive(Debug)]
pub struct Setup<'a> {
    /// All cases of this process.
    pub cases: Vec<&'a Case>,
    /// Where endpoints are.
    pub places: &'a Places,
    /// Certificates.
    pub certificates: &'a Certificates,
    /// The ConfigMap.
    pub config: &'a BTreeMap<String, String>,
    /// ConfigMaps that it names, by name.
    pub maps: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Where nginx listens.
    pub address: IpAddr,
    /// Where it writes.
    pub folder: PathBuf,
    /// The default backend, if there is one.
    pub default: Option<SocketAddr>,
}

/// A text in the making.
#[derive(Debug, Default)]
struct Text(String);

/// Adds a line.
macro_rules! put {
    ($text:expr, $($format:tt)*) => {
        $text.line(&format!($($format)*))
    };
}
use put;

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// Without TLS or with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// What everything that writes needs to know.
struct Page<'a> {
    setup: &'a Setup<'a>,
    settings: Settings<'a>,
    model: Model<'a>,
}

/// Renders the configuration, and writes the files that it names.
///
/// # Errors
/// If a file cannot be written, or a Secret is not known.
pub fn configuration(setup: &Setup<'_>) -> Result<String> {
    let settings = Settings(setup.config);
    let allowed = settings.text("global-allowed-response-headers", "");
    let risk = settings.text("annotations-risk-level", "High");
    let model = build::build(&setup.cases, setup.places, (&allowed, &risk));
    let page = Page {
        setup,
        settings,
        model,
    };
    page.files()?;
    page.http()
}

fn write_pair(path: &Path, pair: &Pair) -> Result<()> {
    Ok(fs::write(
        path,
        format!("{}{}", pair.certificate, pair.key),
    )?)
}

impl Page<'_> {
    fn files(&self) -> Result<()> {
        let folder = &self.setup.folder;
        write_pair(&folder.join("own.pem"), &self.setup.certificates.server)?;
        write_pair(
            &folder.join("default.pem"),
            &self.setup.certificates.default,
        )?;
        for case in &self.setup.cases {
            for (name, secret) in &case.secrets {
                let data = secret_data(secret, self.setup.certificates)?;
                for (key, text) in &data {
                    fs::write(self.secret_file(&case.name, name, key), text)?;
                }
                let users: Vec<String> = data.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
                fs::write(self.secret_file(&case.name, name, "map"), users.concat())?;
            }
        }
        Ok(())
    }

    fn secret_file(&self, namespace: &str, name: &str, key: &str) -> PathBuf {
        let name = name.rsplit('/').next().unwrap_or(name);
        self.setup.folder.join(format!("{namespace}.{name}.{key}"))
    }
}

/// A text in double quotes, as nginx reads it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
