// SPDX-License-Identifier: Apache-2.0
//! Names and passwords (RFC 7617), as an htpasswd file has them.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

use super::password::{Hash, Unusable};

/// Asks for a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// `WWW-Authenticate` of an answer to who has none.
    pub challenge: HeaderValue,
    /// Who may come in.
    pub users: Arc<Users>,
}

/// Who may come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    by_name: HashMap<Box<[u8]>, Arc<Hash>>,
    /// What a name that nobody has is compared with, so that it takes as long as any other.
    decoy: Option<Arc<Hash>>,
}

/// What a client says it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub name: Box<[u8]>,
    /// The password.
    pub password: Box<[u8]>,
}

impl std::fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        f.debug_struct("Credentials")
            .field("name", &name)
            .finish_non_exhaustive()
    }
}

impl Basic {
    /// Asks for one of `users`, naming the realm.
    pub fn new(realm: &str, users: Users) -> Self {
        let realm: String = realm
            .chars()
            .flat_map(|c| {
                matches!(c, '"' | '\\')
                    .then_some('\\')
                    .into_iter()
                    .chain([c])
            })
            .collect();
        let challenge = HeaderValue::from_str(&format!("Basic realm=\"{realm}\""));
        Self {
            challenge: challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"\"")),
            users: Arc::new(users),
        }
    }
}

impl Users {
    /// Reads lines of `NAME:HASH`; what follows another colon is not read, and neither are lines
    /// that begin with `#`. Of two lines with one name the first holds, as in nginx. The second
    /// value are the lines that nobody can come in by, with the reasons.
    pub fn parse(file: &[u8]) -> (Self, Vec<String>) {
        let (mut users, mut wrong) = (Self::default(), Vec::new());
        for (n, line) in file.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let mut parts = line.split(|byte| *byte == b':');
            let (name, hash) = (parts.next().unwrap_or_default(), parts.next());
            let added = match hash {
                Some(hash) => users.add(name, hash),
                None => Err(Unusable::Malformed),
            };
            wrong.extend(added.err().map(|why| format!("line {}: {why}", n + 1)));
        }
        (users, wrong)
    }

    /// Takes in one user for each entry, whose value is the hash.
    pub fn from_entries<'a>(
        entries: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> (Self, Vec<String>) {
        let (mut users, mut wrong) = (Self::default(), Vec::new());
        for (name, hash) in entries {
            let hash = hash.split(|byte| matches!(byte, b'\n' | b'\r' | b':'));
            let hash = hash.into_iter().next().unwrap_or_default();
            let added = users.add(name.as_bytes(), hash);
            wrong.extend(added.err().map(|why| format!("entry {name}: {why}")));
        }
        (users, wrong)
    }

    fn add(&mut self, name: &[u8], hash: &[u8]) -> Result<(), Unusable> {
        if self.by_name.contains_key(name) {
            return Ok(());
        }
        let hash = Arc::new(Hash::parse(hash)?);
        let costs_more = |decoy: &Arc<Hash>| hash.cost() > decoy.cost();
        if self.decoy.as_ref().is_none_or(costs_more) {
            self.decoy = Some(hash.clone());
        }
        self.by_name.insert(name.into(), hash);
        Ok(())
    }

    /// What a password is compared with, and whether that is of somebody by this name; none if
    /// there are no users at all.
    pub fn find(&self, name: &[u8]) -> Option<(&Arc<Hash>, bool)> {
        match self.by_name.get(name) {
            Some(hash) => Some((hash, true)),
            None => self.decoy.as_ref().map(|decoy| (decoy, false)),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

impl Credentials {
    /// Reads `Authorization`. None if it is of another scheme or malformed.
    pub fn read(header: &HeaderValue) -> Option<Self> {
        let (scheme, rest) = header.as_bytes().split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        Some(Self {
            name: decoded[..colon].into(),
            password: decoded[colon + 1..].into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_nginx_reads_them() {
        let file = b"# staff\n\nanna:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=:a comment\r\n\
                     bert:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n\
                     anna:{PLAIN}second\nnobody\nold:rqXexS6ZhobKA\n";
        let (users, wrong) = Users::parse(file);
        assert_eq!(users.len(), 2);
        let (anna, real) = users.find(b"anna").expect("anna");
        assert!(real && anna.verify(b"password"), "the first line holds");
        assert_eq!(
            wrong,
            [
                "line 6: must be NAME:HASH",
                "line 7: is hashed in a way that is not served (DES, or no hash at all)",
            ]
        );
        let (decoy, real) = users.find(b"eve").expect("a decoy");
        assert!(!real);
        assert_eq!(decoy, users.find(b"bert").expect("bert").0);
        assert!(Users::parse(b"").0.find(b"anna").is_none());
    }

    #[test]
    fn entries_are_users() {
        let entries = [("anna", &b"{PLAIN}secret\n"[..]), ("bert", b"what is this")];
        let (users, wrong) = Users::from_entries(entries.into_iter());
        assert_eq!(users.len(), 1);
        assert!(users.find(b"anna").expect("anna").0.verify(b"secret"));
        assert!(wrong[0].starts_with("entry bert: "), "{wrong:?}");
    }

    #[test]
    fn credentials_are_read() {
        let read = |text: &str| Credentials::read(&HeaderValue::from_str(text).expect("a header"));
        let good = read("Basic YW5uYTpzOmVjcmV0").expect("credentials");
        assert_eq!(
            (&*good.name, &*good.password),
            (&b"anna"[..], &b"s:ecret"[..])
        );
        assert!(!format!("{good:?}").contains("ecret"));
        assert_eq!(read("basic  YW5uYTpzOmVjcmV0 "), Some(good));
        for bad in [
            "Bearer x",
            "Basic",
            "Basic ",
            "Basic ???",
            "Basic YW5uYQ==",
            "",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn realms_are_quoted() {
        let challenge = |realm| Basic::new(realm, Users::default()).challenge;
        assert_eq!(challenge("Staff only"), "Basic realm=\"Staff only\"");
        assert_eq!(challenge("a\"b\\c"), "Basic realm=\"a\\\"b\\\\c\"");
        assert_eq!(challenge(""), "Basic realm=\"\"");
    }
}
