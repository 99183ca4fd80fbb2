// SPDX-License-Identifier: Apache-2.0
//! What serving threads share to keep clients out. Each part is bounded, and no lock is held across
//! an await.
//!
//! | module | keeps |
//! |---|---|
//! | `zones` | how often each client has asked, and how much of it is under way |
//! | `hashing` | which passwords are the ones, and threads that find out |
//! | `answers` | what other services have answered |
//! | `ages` | a map that forgets what nobody asks for |

mod ages;
mod answers;
mod hashing;
mod zones;

use std::hash::{BuildHasher, RandomState};

use sha2::{Digest as _, Sha256};

pub(crate) use self::answers::Answers;
pub(crate) use self::hashing::{Checked, Hashing};
pub(crate) use self::zones::{Over, Slot, Zones};

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    pub(crate) zones: Zones,
    pub(crate) hashing: Hashing,
    pub(crate) answers: Answers,
}

/// What stands for a text that must not be kept.
type Fingerprint = [u8; 32];

/// A key that nobody outside of this process knows.
struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Default for Key {
    fn default() -> Self {
        let mut key = Sha256::new();
        // Its keys are the system's random numbers, too, should there be no others.
        key.update(RandomState::new().hash_one(0_u64).to_le_bytes());
        let mut bytes = [0; 32];
        if super::tls::provider()
            .secure_random
            .fill(&mut bytes)
            .is_ok()
        {
            key.update(bytes);
        }
        Self(key.finalize().into())
    }
}

impl Key {
    /// What stands for some texts, in this order.
    fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        let mut digest = Sha256::new().chain_update(self.0);
        for part in parts {
            // So that no text can stand for the beginning of the next.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.chain_update(self.0).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_texts_and_processes_apart() {
        let key = Key::default();
        let of = |parts: &[&[u8]]| key.fingerprint(parts);
        assert_eq!(of(&[b"a", b"b"]), of(&[b"a", b"b"]));
        assert_ne!(of(&[b"a", b"b"]), of(&[b"ab", b""]));
        assert_ne!(of(&[b"a", b"b"]), of(&[b"a", b"c"]));
        assert_ne!(of(&[b"a"]), Key::default().fingerprint(&[b"a"]));
    }
}
