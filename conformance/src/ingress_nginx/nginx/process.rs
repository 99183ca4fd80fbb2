// SPDX-License-Identifier: Apache-2.0
//! nginx itself.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Setup, configuration};
use crate::netns::Namespace;

/// Packages of Debian that it needs, by a file of theirs.
pub const PACKAGES: [(&str, &str); 4] = [
    ("/usr/sbin/nginx", "nginx-light"),
    (
        "/usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so",
        "libnginx-mod-http-headers-more-filter",
    ),
    (
        "/usr/lib/nginx/modules/ngx_http_set_misc_module.so",
        "libnginx-mod-http-set-misc",
    ),
    (
        "/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so",
        "libnginx-mod-http-brotli-filter",
    ),
];

/// The first package that is missing.
#[must_use]
pub fn missing() -> Option<&'static str> {
    let mut packages = PACKAGES.iter();
    let missing = packages.find(|(file, _)| !Path::new(file).exists());
    missing.map(|(_, package)| *package)
}

/// What it says of itself: `1.22.1`.
///
/// # Errors
/// If it cannot be started.
pub fn version() -> Result<String> {
    let output = Command::new("nginx").arg("-v").output().context("nginx")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.trim().rsplit('/').next().unwrap_or_default();
    Ok(version.split(' ').next().unwrap_or_default().to_owned())
}

/// Renders and starts.
///
/// # Errors
/// If nginx refuses the configuration: what it says.
pub fn start(namespace: &Namespace, setup: &Setup<'_>) -> Result<Child> {
    fs::create_dir_all(&setup.folder)?;
    let file = setup.folder.join("nginx.conf");
    fs::write(&file, configuration(setup)?)?;
    let errors = setup.folder.join("start.log");
    let arguments = |command: &mut Command| {
        command.arg("-c").arg(&file).arg("-e").arg(&errors);
    };
    let mut test = namespace.command("nginx");
    arguments(&mut test);
    let output = test.arg("-t").output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "nginx refuses {}: {said}",
        file.display()
    );
    let mut command = namespace.command("nginx");
    arguments(&mut command);
    Ok(command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}
