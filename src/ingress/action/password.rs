// SPDX-License-Identifier: Apache-2.0
//! Hashes of passwords, as htpasswd and `crypt(3)` write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;

/// What 64 values are written as in hashes of `crypt`.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The most that one comparison may cost: about two seconds. Who writes a Secret must not hold up
/// everybody's passwords.
const BCRYPT_COST: u32 = 15;
const SHA_ROUNDS: u32 = 1_000_000;

/// A password that is known by its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    kind: Kind,
    text: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `{PLAIN}password`.
    Plain,
    /// `{SHA}` and base64.
    Sha1,
    /// `{SSHA}` and base64 of the digest with the salt.
    SaltedSha1,
    /// `$apr1$` and, with another mark, `$1$`.
    Md5,
    /// `$2y$12$…`, with this cost.
    Bcrypt(u32),
    /// `$5$` and `$6$`, with so many rounds.
    Sha2(u32),
}

/// Why nobody can come in by a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is no hash.
    #[error("must be NAME:HASH")]
    Malformed,
    /// It is of no kind that is served.
    #[error("is hashed in a way that is not served (DES, or no hash at all)")]
    Kind,
    /// To compare with it would take too long.
    #[error(
        "costs too much to compare with: bcrypt's cost is 15 at most, sha-crypt's 1000000 rounds"
    )]
    Cost,
}

impl std::fmt::Debug for Hash {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hash").field(&self.kind).finish()
    }
}

impl Hash {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// Says why nobody could come in by it.
    pub fn parse(text: &[u8]) -> Result<Self, Unusable> {
        let text = std::str::from_utf8(text).map_err(|_| Unusable::Kind)?;
        let begins = |mark: &str| text.starts_with(mark);
        let kind = if begins("{PLAIN}") {
            Kind::Plain
        } else if begins("{SHA}") {
            Kind::Sha1
        } else if begins("{SSHA}") {
            Kind::SaltedSha1
        } else if begins("$apr1$") || begins("$1$") {
            Kind::Md5
        } else if ["$2a$", "$2b$", "$2x$", "$2y$"].into_iter().any(begins) {
            let cost = text.get(4..6).and_then(|cost| cost.parse().ok());
            Kind::Bcrypt(cost.ok_or(Unusable::Kind)?)
        } else if begins("$5$") || begins("$6$") {
            Kind::Sha2(rounds(text).ok_or(Unusable::Kind)?)
        } else {
            return Err(Unusable::Kind);
        };
        match kind {
            Kind::Bcrypt(cost) if cost > BCRYPT_COST => Err(Unusable::Cost),
            Kind::Sha2(rounds) if rounds > SHA_ROUNDS => Err(Unusable::Cost),
            kind => Ok(Self {
                kind,
                text: text.into(),
            }),
        }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// About how many microseconds it takes to compare with it.
    pub fn cost(&self) -> u64 {
        match self.kind {
            Kind::Plain | Kind::Sha1 | Kind::SaltedSha1 => 1,
            Kind::Md5 => 300,
            Kind::Bcrypt(cost) => 60 << cost,
            Kind::Sha2(rounds) => u64::from(rounds),
        }
    }

    /// Whether it is so cheap that it need not be done elsewhere.
    pub fn is_cheap(&self) -> bool {
        self.cost() <= 1
    }

    /// Whether a password is the one. Takes as long for any of the same length.
    pub fn verify(&self, password: &[u8]) -> bool {
        // crypt(3) would see what comes before it, only.
        if password.contains(&0) {
            return false;
        }
        let equal = |a: &[u8], b: &[u8]| bool::from(a.ct_eq(b));
        let after = |mark: &str| self.text.strip_prefix(mark).unwrap_or_default();
        match self.kind {
            Kind::Plain => equal(after("{PLAIN}").as_bytes(), password),
            Kind::Sha1 => {
                let digest = STANDARD.encode(Sha1::digest(password));
                equal(after("{SHA}").as_bytes(), digest.as_bytes())
            }
            Kind::SaltedSha1 => {
                let decoded = STANDARD.decode(after("{SSHA}")).unwrap_or_default();
                let Some((digest, salt)) = decoded.split_at_checked(20) else {
                    return false;
                };
                let ours = Sha1::new().chain_update(password).chain_update(salt);
                equal(digest, &ours.finalize())
            }
            Kind::Md5 => {
                let ours = md5_crypt(password, &self.text);
                ours.is_some_and(|ours| equal(ours.as_bytes(), self.text.as_bytes()))
            }
            Kind::Bcrypt(_) => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Sha2(_) => {
                let verified = ShaCrypt::default().verify_password(password, &*self.text);
                verified.is_ok()
            }
        }
    }
}

/// How many rounds sha-crypt takes: `$6$rounds=10000$…`, or 5000.
fn rounds(text: &str) -> Option<u32> {
    match text.get(3..)?.strip_prefix("rounds=") {
        Some(rest) => rest.split('$').next()?.parse().ok(),
        None => Some(5000),
    }
}

/// The MD5-based `crypt` of FreeBSD (`$1$`) and Apache (`$apr1$`), with the mark and the salt that
/// `like` begins with.
fn md5_crypt(password: &[u8], like: &str) -> Option<String> {
    let mark = ["$apr1$", "$1$"]
        .into_iter()
        .find(|m| like.starts_with(m))?;
    let salt = like.get(mark.len()..)?.split('$').next()?;
    let salt = &salt.as_bytes()[..salt.len().min(8)];
    let inner = Md5::new().chain_update(password).chain_update(salt);
    let inner = inner.chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password);
    first.update(mark);
    first.update(salt);
    for at in (0..password.len()).step_by(16) {
        first.update(&inner[..(password.len() - at).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        match bits & 1 {
            1 => first.update([0]),
            _ => first.update(&password[..1]),
        }
        bits >>= 1;
    }
    let mut digest = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round & 1 == 1;
        next.update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    let mut text = format!("{mark}{}$", String::from_utf8_lossy(salt));
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let bytes = [digest[c], digest[b], digest[a], 0];
        push_digits(&mut text, u32::from_le_bytes(bytes), 4);
    }
    push_digits(&mut text, digest[11].into(), 2);
    Some(text)
}

fn push_digits(text: &mut String, mut value: u32, count: usize) {
    for _ in 0..count {
        text.push(DIGITS[(value & 0x3f) as usize].into());
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `openssl passwd`, and of the C library's `crypt`.
    #[test]
    fn hashes_of_other_programs_are_understood() {
        const LONG: &str = "a password that is longer than sixteen bytes";
        for (hash, password) in [
            ("{PLAIN}password", "password"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"),
            ("{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0", "password"),
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "password"),
            ("$apr1$salt1234$k3J5yKYW6TlGmTytnkXbQ0", "password"),
            ("$apr1$abcdefgh$AaK/FVm2z4lOI9DSq69901", LONG),
            ("$1$salt1234$HJCsv4hSeVLHo3hVyl4nh0", "password"),
            (
                "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
                "myPassword",
            ),
            (
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
                "Hello world!",
            ),
            (
                "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
                "Hello world!",
            ),
            (
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBF\
                 dcbYEdFCoEOfaS35inz1",
                "Hello world!",
            ),
            (
                "$6$rounds=1000$abcdefgh$8TNztrsVYEO6dZCCXyVg/KwVk8TGVtbyzoIhbhH/KQLFdukv4PFNsY0\
                 IDrK9fUQbAaF4TT0TyiK6lgDYtciBM.",
                "longer password with spaces and utf8 ä",
            ),
        ] {
            let parsed = Hash::parse(hash.as_bytes()).expect(hash);
            assert!(parsed.verify(password.as_bytes()), "{hash}");
            for wrong in ["", "Password", "password\0", "passwor", "password "] {
                assert!(!parsed.verify(wrong.as_bytes()), "{hash} {wrong:?}");
            }
            assert!(!format!("{parsed:?}").contains(&hash[5..]), "{parsed:?}");
        }
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_told() {
        use Unusable::{Cost, Kind};
        for (hash, expected) in [
            ("", Kind),
            ("password", Kind),
            ("rqXexS6ZhobKA", Kind),
            ("{MD5}x", Kind),
            ("$2y$", Kind),
            ("$2y$xx$", Kind),
            ("$2y$31$abc", Cost),
            ("$6$rounds=x$abc$", Kind),
            ("$6$rounds=999999999$abc$", Cost),
        ] {
            assert_eq!(Hash::parse(hash.as_bytes()), Err(expected), "{hash}");
        }
        assert_eq!(Hash::parse(b"{SHA}\xff"), Err(Kind));
        for broken in [
            "{SHA}",
            "{SSHA}",
            "{SSHA}x",
            "$apr1$",
            "$2y$10$short",
            "$5$",
            "$6$$",
        ] {
            let parsed = Hash::parse(broken.as_bytes()).expect(broken);
            assert!(!parsed.verify(b"") && !parsed.verify(b"x"), "{broken}");
        }
    }

    #[test]
    fn cheap_ones_are_known() {
        let cost = |hash: &str| Hash::parse(hash.as_bytes()).expect(hash).cost();
        assert!(Hash::parse(b"{SHA}x").expect("a hash").is_cheap());
        assert!(!Hash::parse(b"$apr1$x$y").expect("a hash").is_cheap());
        assert!(cost("$2y$12$x") > cost("$2y$10$x"));
        assert!(cost("$6$rounds=20000$x$y") > cost("$6$x$y"));
    }
}
