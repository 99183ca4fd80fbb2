// SPDX-License-Identifier: Apache-2.0
//! Certificates that clients show, as curl shows them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::World;
use crate::rig::{eventually, header};
use crate::tls::has;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with its key, in a file.
fn client(world: &World, by: &Issuer, name: &str, expired: bool) -> PathBuf {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if expired {
        params.not_after = date_time_ymd(2001, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, by).unwrap();
    let file = world.file(&format!("{name}-{expired}.pem"));
    fs::write(&file, made.pem() + &key.serialize_pem()).unwrap();
    file
}

/// Status, and head with body, of a request over TLS.
fn curl(world: &World, host: &str, path: &str, arguments: &[&str]) -> (u16, String) {
    let port = world.https.port();
    let output = Command::new("curl")
        .args([
            "-ski",
            "--resolve",
            &format!("{host}.example:{port}:127.0.0.1"),
        ])
        .args(arguments)
        .arg(format!("https://{host}.example:{port}{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), text)
}

fn with(file: &Path) -> [&str; 2] {
    ["--cert", file.to_str().unwrap()]
}

#[test]
fn clients_show_what_their_host_asks_for() {
    if !has("curl") {
        return;
    }
    let Some(mut world) = World::new() else {
        return;
    };
    let (root, other) = (authority("Root"), authority("Other"));
    world.object("Secret", "ca", &[("ca.crt", &root.pem())]);
    let secret = ("auth-tls-secret", "default/ca");
    world.ingress(
        "on",
        &[secret, ("auth-tls-pass-certificate-to-upstream", "true")],
    );
    world.ingress_at("on-more", "/more", &[]);
    for (name, demand) in [
        ("opt", "optional"),
        ("any", "optional_no_ca"),
        ("off", "off"),
    ] {
        world.ingress(name, &[secret, ("auth-tls-verify-client", demand)]);
    }
    world.ingress("cn", &[secret, ("auth-tls-match-cn", "CN=(anna|bert)")]);
    world.ingress(
        "page",
        &[secret, ("auth-tls-error-page", "https://in.example/why")],
    );
    world.ingress("closed", &[("auth-tls-secret", "default/gone")]);
    world.ingress("plain", &[]);
    let (anna, eve) = (
        client(&world, &root, "anna", false),
        client(&world, &root, "eve", false),
    );
    let (old, stranger) = (
        client(&world, &root, "old", true),
        client(&world, &other, "carl", false),
    );
    world.start();
    let status = |host: &str, arguments: &[&str]| curl(&world, host, "/", arguments).0;
    for (host, none, good, expired, unknown) in [
        ("on", 400, 200, 400, 400),
        ("opt", 200, 200, 400, 400),
        ("any", 200, 200, 400, 200),
        ("off", 200, 200, 200, 200),
        ("cn", 400, 200, 400, 400),
        ("page", 302, 200, 302, 302),
        ("closed", 403, 403, 403, 403),
        ("plain", 200, 200, 200, 200),
    ] {
        for (arguments, expected) in [
            (&[][..], none),
            (&with(&anna)[..], good),
            (&with(&old), expired),
            (&with(&stranger), unknown),
        ] {
            assert_eq!(status(host, arguments), expected, "{host} {arguments:?}");
        }
    }
    assert_eq!(status("cn", &with(&eve)), 403);
    let (_, text) = curl(&world, "on", "/", &[]);
    assert!(
        text.contains("No required SSL certificate was sent"),
        "{text}"
    );
    let (_, text) = curl(&world, "on", "/", &with(&stranger));
    assert!(text.contains("The SSL certificate error"), "{text}");
    // All paths of the host ask for it, whichever Ingress they belong to.
    assert_eq!(curl(&world, "on", "/more", &[]).0, 400);
    assert_eq!(curl(&world, "on", "/more", &with(&anna)).0, 200);
    assert_eq!(curl(&world, "on", "/", &["--http1.1"]).0, 400);
    assert_eq!(
        curl(
            &world,
            "on",
            "/",
            &[&["--tls-max", "1.2"][..], &with(&anna)].concat()
        )
        .0,
        200
    );
    // In plain text nobody can show any; only the subject is looked at.
    assert_eq!((world.status("on"), world.status("cn")), (200, 403));
}

#[test]
fn endpoints_are_told_who_it_is() {
    if !has("curl") {
        return;
    }
    let Some(mut world) = World::new() else {
        return;
    };
    let root = authority("Root");
    world.object("Secret", "ca", &[("ca.crt", &root.pem())]);
    let secret = ("auth-tls-secret", "default/ca");
    world.ingress(
        "pass",
        &[secret, ("auth-tls-pass-certificate-to-upstream", "true")],
    );
    world.ingress(
        "opt",
        &[secret, ("auth-tls-verify-client", "optional_no_ca")],
    );
    let anna = client(&world, &root, "anna", false);
    let stranger = client(&world, &authority("Other"), "carl", false);
    world.start();
    let faked = [
        "-H",
        "ssl-client-verify: SUCCESS",
        "-H",
        "ssl-client-cert: x",
    ];
    let told = |host: &str, arguments: &[&str]| {
        let (status, text) = curl(&world, host, "/", &[&faked, arguments].concat());
        assert_eq!(status, 200, "{text}");
        let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
        let names = ["verify", "subject-dn", "issuer-dn", "cert"];
        let of = |name| {
            header(&body, &format!("ssl-client-{name}"))
                .unwrap_or("-")
                .to_owned()
        };
        names.map(of)
    };
    let [verify, subject, issuer, certificate] = told("pass", &with(&anna));
    assert_eq!(
        [&*verify, &*subject, &*issuer],
        ["SUCCESS", "CN=anna", "CN=Root"]
    );
    assert!(
        certificate.starts_with("-----BEGIN%20CERTIFICATE-----%0A"),
        "{certificate}"
    );
    assert_eq!(told("opt", &with(&anna))[3], "-");
    assert_eq!(told("opt", &[]), ["NONE", "-", "-", "-"]);
    let [verify, subject, ..] = told("opt", &with(&stranger));
    assert_eq!(verify, "FAILED:unable to verify the first certificate");
    assert_eq!(subject, "CN=carl");
}

/// What was shown for one host is not good for another.
#[test]
fn a_host_is_not_reached_by_another_s_handshake() {
    if !has("curl") {
        return;
    }
    let Some(mut world) = World::new() else {
        return;
    };
    let (root, other) = (authority("Root"), authority("Other"));
    world.object("Secret", "ca", &[("ca.crt", &root.pem())]);
    world.object("Secret", "other", &[("ca.crt", &other.pem())]);
    world.ingress("one", &[("auth-tls-secret", "default/ca")]);
    world.ingress("two", &[("auth-tls-secret", "default/other")]);
    world.ingress("plain", &[]);
    let carl = client(&world, &other, "carl", false);
    world.start();
    let host = ["-H", "Host: one.example"];
    let via = |name: &str| curl(&world, name, "/", &[&host[..], &with(&carl)].concat()).0;
    assert_eq!((via("two"), via("plain")), (421, 421));
    // Without a name nobody was asked.
    let output = Command::new("curl")
        .args(["-sk", "-o", "/dev/null", "-w", "%{http_code}"])
        .args(host)
        .arg(format!("https://{}/", world.https))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "400");
    // Another authority in the Secret holds for those who come now.
    world.object("Secret", "ca", &[("ca.crt", &other.pem())]);
    eventually("the authority is another", || {
        curl(&world, "one", "/", &with(&carl)).0 == 200
    });
}
