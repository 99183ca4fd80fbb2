// SPDX-License-Identifier: Apache-2.0
//! As much SCTP as a first exchange needs: INIT and INIT-ACK over raw sockets, for kernels without
//! SCTP sockets (RFC 9260, sections 3.1, 3.3.2, 3.3.3; checksum: appendix A).
//!
//! The answer text travels as the State Cookie of the INIT-ACK, which is opaque to the peer.

/// IP protocol number.
pub const PROTOCOL: i32 = 132;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const STATE_COOKIE: u16 = 7;
const HEADER: usize = 12;
/// Chunk header and the fixed part of INIT and INIT-ACK.
const CHUNK: usize = 20;

/// A received INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init {
    /// Port of the sender.
    pub source: u16,
    /// Port that it is for.
    pub destination: u16,
    /// The tag that answers must carry.
    pub tag: u32,
}

impl Init {
    /// The packet.
    pub fn encode(self) -> Vec<u8> {
        packet((self.source, self.destination), 0, INIT, self.tag, None)
    }

    /// Reads a packet. None if it is anything else than an INIT with a correct checksum and
    /// verification tag 0.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let parsed = Parsed::new(bytes)?;
        let good = parsed.kind == INIT && parsed.verification == 0;
        let Parsed {
            source,
            destination,
            tag,
            ..
        } = parsed;
        good.then_some(Self {
            source,
            destination,
            tag,
        })
    }

    /// The INIT-ACK that answers it, with a text.
    pub fn answer(self, text: &str) -> Vec<u8> {
        let ports = (self.destination, self.source);
        packet(
            ports,
            self.tag,
            INIT_ACK,
            self.tag ^ 0x5555_5555,
            Some(text),
        )
    }

    /// Reads an answer. None if it is not one to this INIT: an INIT-ACK with a correct checksum,
    /// our ports and our tag.
    pub fn answered_by(self, bytes: &[u8]) -> Option<String> {
        let parsed = Parsed::new(bytes)?;
        let ours = parsed.kind == INIT_ACK
            && parsed.verification == self.tag
            && (parsed.source, parsed.destination) == (self.destination, self.source);
        let cookie = parsed.cookie.filter(|_| ours)?;
        String::from_utf8(cookie.to_vec()).ok()
    }

    /// Whether an ICMP error's copy of a packet, cut off wherever, begins like this INIT. The copy
    /// may still have its IP header in front.
    pub fn begins_like(self, copy: &[u8]) -> bool {
        let ports = [self.source.to_be_bytes(), self.destination.to_be_bytes()].concat();
        [0, 20, 40]
            .iter()
            .any(|at| copy.get(*at..at + 4) == Some(&ports[..]))
    }
}

struct Parsed<'a> {
    source: u16,
    destination: u16,
    verification: u32,
    kind: u8,
    tag: u32,
    cookie: Option<&'a [u8]>,
}

impl<'a> Parsed<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let stored = u32::from_le_bytes(bytes.get(8..HEADER)?.try_into().ok()?);
        if checksum(bytes) != stored {
            return None;
        }
        Some(Self {
            source: short(bytes, 0)?,
            destination: short(bytes, 2)?,
            verification: long(bytes, 4)?,
            kind: *bytes.get(HEADER)?,
            tag: long(bytes, HEADER + 4)?,
            cookie: cookie(bytes.get(HEADER + CHUNK..)?),
        })
    }
}

fn cookie(parameters: &[u8]) -> Option<&[u8]> {
    let length = usize::from(short(parameters, 2)?);
    (short(parameters, 0)? == STATE_COOKIE)
        .then(|| parameters.get(4..length))
        .flatten()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// CRC32c of the packet with a checksum field of zeros. It is stored least significant byte first.
fn checksum(bytes: &[u8]) -> u32 {
    let head = crc32c::crc32c(&bytes[..8]);
    crc32c::crc32c_append(crc32c::crc32c_append(head, &[0; 4]), &bytes[HEADER..])
}

fn packet(ports: (u16, u16), verification: u32, kind: u8, tag: u32, text: Option<&str>) -> Vec<u8> {
    let mut p = Vec::with_capacity(128);
    p.extend(ports.0.to_be_bytes());
    p.extend(ports.1.to_be_bytes());
    p.extend(verification.to_be_bytes());
    p.extend([0; 4]);
    let parameter = text.map_or(0, |t| 4 + t.len());
    p.extend([kind, 0]);
    p.extend(((CHUNK + parameter) as u16).to_be_bytes());
    p.extend(tag.to_be_bytes());
    p.extend(65_536u32.to_be_bytes()); // receiver window
    p.extend([0, 1, 0, 1]); // one stream out, one in
    p.extend(1u32.to_be_bytes()); // first sequence number
    if let Some(text) = text {
        p.extend(STATE_COOKIE.to_be_bytes());
        p.extend((parameter as u16).to_be_bytes());
        p.extend(text.as_bytes());
        p.resize(p.len().next_multiple_of(4), 0);
    }
    let sum = checksum(&p);
    p[8..HEADER].copy_from_slice(&sum.to_le_bytes());
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Init = Init {
        source: 40_000,
        destination: 80,
        tag: 0xdead_beef,
    };

    #[test]
    fn an_exchange() {
        let received = Init::decode(&SENT.encode());
        assert_eq!(received, Some(SENT));
        let answer = SENT.answer("1a 8080 10.0.0.1");
        assert_eq!(
            SENT.answered_by(&answer).as_deref(),
            Some("1a 8080 10.0.0.1")
        );
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let answer = SENT.answer("1a");
        for bit in 0..answer.len() * 8 {
            let mut broken = answer.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SENT.answered_by(&broken), None, "bit {bit}");
        }
    }

    #[test]
    fn a_stranger_s_answer_is_not_ours() {
        let other = Init { tag: 1, ..SENT };
        assert_eq!(SENT.answered_by(&other.answer("1a")), None);
        assert_eq!(Init::decode(&SENT.answer("1a")), None);
        assert_eq!(Init::decode(b"short"), None);
    }

    #[test]
    fn the_checksum_is_castagnoli_s() {
        // The check value of CRC-32/ISCSI.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
