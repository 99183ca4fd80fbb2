// SPDX-License-Identifier: Apache-2.0
//! What is spoken to endpoints: the whole program, and endpoints that speak TLS.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use ferrule::ingress::table::UpstreamProtocol;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::rig::{PATIENCE, Plan, eventually};
use super::tls::has;
use super::world::World;

/// Signs for others, and for itself.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Identity {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self {
            pem: cert.pem(),
            der: cert.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> Identity {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            pem: cert.pem(),
            der: cert.der().clone(),
            key,
        }
    }
}

/// An endpoint that answers with the name that it was asked for, and what it was shown.
struct Secured {
    address: SocketAddr,
    /// What came after the handshake.
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Secured {
    fn start(own: IpAddr, identity: &Identity, clients: Option<&Authority>, alpn: &[u8]) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).unwrap();
                let roots = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(roots.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
        let chain = vec![identity.der.clone()];
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let listener = TcpListener::bind((own, 0)).unwrap();
        let endpoint = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let (config, seen) = (Arc::new(config), endpoint.seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, seen) = (config.clone(), seen.clone());
                std::thread::spawn(move || serve(stream, config, &seen));
            }
        });
        endpoint
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Vec<u8>>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            return;
        }
        seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        if !seen.lock().unwrap().ends_with(b"\r\n\r\n") {
            continue;
        }
        let name = stream.conn.server_name().unwrap_or("none");
        let shown = stream.conn.peer_certificates().map_or(0, <[_]>::len);
        let version = stream.conn.protocol_version();
        let body = format!("name {name}, shown {shown}, {version:?}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream
            .write_all(format!("{head}{body}").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

/// What comes of one route to this endpoint, with a Secret `tls` of these parts.
fn ask(
    endpoint: SocketAddr,
    secret: &[(&str, &str)],
    annotations: &[(&str, &str)],
) -> Option<(u16, String)> {
    let mut world = World::new()?;
    world.service("web", &[endpoint]);
    world.secret("tls", secret);
    let https = ("backend-protocol", "HTTPS");
    world.ingress("web", "web", &[&[https], annotations].concat());
    world.start(&[]);
    eventually("it has a route", || world.get("/", &[]).status != 404);
    let answer = world.get("/", &[]);
    Some((answer.status, answer.body))
}

const SECRET: (&str, &str) = ("proxy-ssl-secret", "default/tls");
const VERIFY: (&str, &str) = ("proxy-ssl-verify", "on");
const NAME: (&str, &str) = ("proxy-ssl-name", "pod.example");

#[test]
fn certificates_are_verified_only_if_it_is_wanted() {
    let Some(world) = World::new() else { return };
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = authority.sign("pod.example");
    let endpoint = Secured::start(world.own(), &identity, None, b"http/1.1");
    let ask = |pem: &str, annotations: &[(&str, &str)]| {
        ask(endpoint.address, &[("ca.crt", pem)], annotations).expect("it runs")
    };
    let (good, bad) = (&authority.pem, &other.pem);
    assert_eq!(ask(good, &[]).0, 200);
    assert_eq!(ask(bad, &[SECRET]).0, 200);
    assert_eq!(ask(bad, &[SECRET, VERIFY, NAME]).0, 502);
    assert_eq!(ask(good, &[SECRET, VERIFY, NAME]).0, 200);
    // The name is `upstream_balancer`, as in ingress-nginx.
    assert_eq!(ask(good, &[SECRET, VERIFY]).0, 502);
    let other_name = ("proxy-ssl-name", "other.example");
    assert_eq!(ask(good, &[SECRET, VERIFY, other_name]).0, 502);
    // Nothing of it holds without the Secret, and nothing is served without what it must have.
    assert_eq!(ask(bad, &[VERIFY, NAME]).0, 200);
    assert_eq!(ask("", &[SECRET, VERIFY, NAME]).0, 503);
    let missing = ("proxy-ssl-secret", "default/none");
    assert_eq!(ask(good, &[missing]).0, 503);
}

#[test]
fn names_versions_and_certificates_are_told_as_wanted() {
    let Some(world) = World::new() else { return };
    let authority = Authority::new();
    let identity = authority.sign("pod.example");
    let me = authority.sign("ferrule.example");
    let key = me.key.serialize_pem();
    let secret = [
        ("ca.crt", authority.pem.as_str()),
        ("tls.crt", me.pem.as_str()),
        ("tls.key", key.as_str()),
    ];
    let open = Secured::start(world.own(), &identity, None, b"http/1.1");
    let strict = Secured::start(world.own(), &identity, Some(&authority), b"http/1.1");
    let tells = ("proxy-ssl-server-name", "on");
    let both = ("proxy-ssl-protocols", "TLSv1.2 TLSv1.3");
    for (endpoint, annotations, expected) in [
        (&open, &[][..], "name none, shown 0, Some(TLSv1_3)"),
        (&open, &[SECRET], "name none, shown 0, Some(TLSv1_2)"),
        (
            &open,
            &[SECRET, NAME, tells],
            "name pod.example, shown 0, Some(TLSv1_2)",
        ),
        (
            &open,
            &[SECRET, NAME, both],
            "name none, shown 0, Some(TLSv1_3)",
        ),
        (&strict, &[SECRET], "name none, shown 1, Some(TLSv1_2)"),
    ] {
        let (status, body) = ask(endpoint.address, &secret, annotations).expect("it runs");
        assert_eq!((status, body.as_str()), (200, expected), "{annotations:?}");
    }
    let (status, _) = ask(strict.address, &secret, &[]).expect("it runs");
    assert_eq!(status, 502, "without a certificate");
}

#[test]
fn a_certificate_may_be_its_own_authority() {
    let Some(world) = World::new() else { return };
    let mut params = CertificateParams::new(["pod.example".to_owned()]).unwrap();
    // As `openssl req -x509` makes them.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    let identity = Identity {
        pem: cert.pem(),
        der: cert.der().clone(),
        key,
    };
    let endpoint = Secured::start(world.own(), &identity, None, b"http/1.1");
    let secret = [("ca.crt", identity.pem.as_str())];
    for (name, expected) in [("pod.example", 200), ("other.example", 502)] {
        let name = ("proxy-ssl-name", name);
        let answer = ask(endpoint.address, &secret, &[SECRET, VERIFY, name]);
        assert_eq!(answer.expect("it runs").0, expected, "{name:?}");
    }
}

#[test]
fn grpc_is_http_2_with_or_without_tls() {
    let Some(mut world) = World::new() else {
        return;
    };
    let identity = Authority::new().sign("pod.example");
    let secured = Secured::start(world.own(), &identity, None, b"h2");
    let plain = world.saying("");
    world.service("plain", &[plain.address]);
    world.service("secured", &[secured.address]);
    let timeout = ("proxy-read-timeout", "1");
    let grpc = |name| [("backend-protocol", name), timeout];
    world.path("plain", "/plain", "plain", &grpc("GRPC"));
    world.path("secured", "/secured", "secured", &grpc("grpcs"));
    world.path("fcgi", "/fcgi", "plain", &grpc("FCGI"));
    world.start(&[]);
    eventually("it has a route", || world.get("/fcgi", &[]).status == 503);
    let _ = world.get("/plain", &[]);
    let _ = world.get("/secured", &[]);
    eventually("HTTP/2 has come", || {
        let seen = secured.seen.lock().unwrap();
        let plain = plain.requests();
        seen.starts_with(b"PRI * HTTP/2.0\r\n")
            && plain
                .iter()
                .any(|head| head.starts_with("PRI * HTTP/2.0\r\n"))
    });
}

#[test]
fn auto_speaks_what_the_client_speaks() {
    if !has("curl") {
        return;
    }
    let identity = Authority::new().sign("pod.example");
    let local = IpAddr::from([127, 0, 0, 1]);
    let secured = Secured::start(local, &identity, None, b"http/1.1");
    let plain = super::rig::Endpoint::echo();
    for (scheme, endpoint, expected) in [
        ("http", plain.address, "200"),
        ("https", secured.address, "200"),
        ("http", secured.address, "50"),
        // Waits for the end of a head that does not come.
        ("https", plain.address, "50"),
    ] {
        let mut plan = Plan::to(&[endpoint]);
        plan.protocol = UpstreamProtocol::Auto;
        plan.route.connect_timeout = std::time::Duration::from_secs(1);
        let rig = plan.start();
        let at = if scheme == "http" {
            rig.http
        } else {
            rig.https
        };
        let output = Command::new("curl")
            .args(["-sk", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["-H", "Host: a.example"])
            .arg(format!("{scheme}://{at}/"))
            .output()
            .unwrap();
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(status.starts_with(expected), "{scheme}: {status}");
    }
}
