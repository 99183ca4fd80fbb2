// SPDX-License-Identifier: Apache-2.0
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    DnValue, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;
use crate::ingress::action::client_certificate::Demand;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Example, Inc");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str, above: Option<&Issuer>) -> Issuer {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    let made = match above {
        None => CertifiedIssuer::self_signed(params, key),
        Some(above) => CertifiedIssuer::signed_by(params, key, above),
    };
    made.expect("an authority")
}

fn client(by: &Issuer, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = params("anna");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let made = params.signed_by(&key, by).expect("a certificate");
    made.der().clone()
}

fn asked(authorities: &[&Issuer], depth: usize) -> ClientCertificate {
    ClientCertificate {
        demand: Demand::On,
        authorities: authorities.iter().map(|a| (**a.der()).into()).collect(),
        depth,
        ..ClientCertificate::closed()
    }
}

fn outcome(asked: &ClientCertificate, chain: &[CertificateDer<'_>]) -> Outcome {
    let now = UnixTime::now();
    shown(asked, chain, now)
        .expect("something was shown")
        .outcome
}

#[test]
fn what_an_authority_has_signed_is_good_and_all_of_it_is_told() {
    let root = authority("Root", None);
    let own = client(&root, |_| {});
    let asked = asked(&[&root], 1);
    let found = shown(&asked, std::slice::from_ref(&own), UnixTime::now()).expect("a certificate");
    assert_eq!(found.outcome, Outcome::Good);
    assert_eq!(found.subject, "CN=anna,O=Example\\, Inc");
    assert_eq!(found.issuer, "CN=Root,O=Example\\, Inc");
    let begin = "-----BEGIN%20CERTIFICATE-----%0A";
    assert!(
        found.certificate.starts_with(begin),
        "{}",
        found.certificate
    );
    assert!(
        found
            .certificate
            .ends_with("-----END%20CERTIFICATE-----%0A")
    );
    assert!(shown(&asked, &[], UnixTime::now()).is_none());
}

#[test]
fn strangers_are_told_from_what_is_bad() {
    let (root, other) = (authority("Root", None), authority("Root", None));
    let asked = asked(&[&root], 1);
    let stranger = client(&authority("Else", None), |_| {});
    assert_eq!(
        outcome(&asked, &[stranger]),
        Outcome::Stranger("unable to verify the first certificate".to_owned())
    );
    let own = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
    assert_eq!(
        outcome(&asked, &[own.cert.der().clone()]),
        Outcome::Stranger("self-signed certificate".to_owned())
    );
    let expired = client(&root, |params| params.not_after = date_time_ymd(2001, 1, 1));
    assert_eq!(
        outcome(&asked, &[expired]),
        Outcome::Bad("certificate has expired".to_owned())
    );
    let early = client(&root, |params| {
        params.not_before = date_time_ymd(2400, 1, 1)
    });
    assert_eq!(
        outcome(&asked, &[early]),
        Outcome::Bad("certificate is not yet valid".to_owned())
    );
    let server = client(&root, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(
        outcome(&asked, &[server]),
        Outcome::Bad("unsuitable certificate purpose".to_owned())
    );
    let forged = client(&other, |_| {});
    assert_ne!(outcome(&asked, &[forged]), Outcome::Good);
    let nonsense = CertificateDer::from(&b"nonsense"[..]);
    assert!(matches!(outcome(&asked, &[nonsense]), Outcome::Bad(_)));
}

#[test]
fn a_certificate_may_be_its_own_authority() {
    let own = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
    let mut asked = asked(&[], 1);
    asked.authorities.push((**own.cert.der()).into());
    assert_eq!(outcome(&asked, &[own.cert.der().clone()]), Outcome::Good);
    let later = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1 << 40));
    let found = shown(&asked, &[own.cert.der().clone()], later).expect("a certificate");
    assert_eq!(
        found.outcome,
        Outcome::Bad("certificate has expired".to_owned())
    );
}

#[test]
fn chains_are_as_long_as_they_may_be() {
    let root = authority("Root", None);
    let first = authority("First", Some(&root));
    let second = authority("Second", Some(&first));
    let chain = [
        client(&second, |_| {}),
        second.der().clone(),
        first.der().clone(),
    ];
    assert_eq!(outcome(&asked(&[&root], 2), &chain), Outcome::Good);
    assert_eq!(
        outcome(&asked(&[&root], 1), &chain),
        Outcome::Bad("certificate chain too long".to_owned())
    );
}

#[test]
fn revoked_certificates_are_refused() {
    let root = authority("Root", None);
    let (good, bad) = (SerialNumber::from(1_u64), SerialNumber::from(2_u64));
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2400, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: bad.clone(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&root).expect("a list");
    let mut asked = asked(&[&root], 1);
    asked.revoked.push((**list.der()).into());
    let of = |number: SerialNumber| client(&root, |params| params.serial_number = Some(number));
    assert_eq!(outcome(&asked, &[of(good)]), Outcome::Good);
    assert_eq!(
        outcome(&asked, &[of(bad)]),
        Outcome::Bad("certificate revoked".to_owned())
    );
}

#[test]
fn names_are_written_as_openssl_writes_them() {
    let root = authority("Root", None);
    let own = client(&root, |params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, " a+b;\"c\"<d>\\ ");
        name.push(DnType::OrganizationalUnitName, "#1 Ünit");
        name.push(DnType::CountryName, "DE");
        let id = DnType::CustomDnType(vec![1, 2, 3, 4]);
        name.push(id, DnValue::Utf8String("x".to_owned()));
    });
    let found = shown(&asked(&[&root], 1), &[own], UnixTime::now()).expect("a certificate");
    assert_eq!(
        found.subject,
        "1.2.3.4=x,C=DE,OU=\\#1 Ünit,CN=\\ a\\+b\\;\\\"c\\\"\\<d\\>\\\\\\ ,O=Example\\, Inc"
    );
}
