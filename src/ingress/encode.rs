// SPDX-License-Identifier: Apache-2.0
//! Bodies encoded on their way. What an encoder holds does not grow with the body: gzip's window is
//! 32 KiB, brotli's [`WINDOW`].

use std::fmt;
use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::action::compress::Coding;

/// brotli's window is 2 to the power of this, in bytes: 256 KiB, what nginx's module has is 512.
const WINDOW: u32 = 18;
/// What brotli's writer holds back, in bytes.
const BUFFER: usize = 4096;

/// Encodes one body.
pub(crate) struct Encoder {
    kind: Kind,
    /// Something went in that has not come out.
    holds: bool,
}

enum Kind {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(coding: Coding) -> Self {
        let kind = match coding {
            Coding::Gzip(level) => {
                let writer = GzEncoder::new(Vec::new(), Compression::new(level));
                Kind::Gzip(Box::new(writer))
            }
            Coding::Brotli(level) => {
                let writer = CompressorWriter::new(Vec::new(), BUFFER, level, WINDOW);
                Kind::Brotli(Box::new(writer))
            }
        };
        Self { kind, holds: false }
    }

    /// Takes in some of the body; what comes out may be nothing yet.
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<Bytes> {
        self.holds |= !data.is_empty();
        match &mut self.kind {
            Kind::Gzip(writer) => writer.write_all(data)?,
            Kind::Brotli(writer) => writer.write_all(data)?,
        }
        Ok(self.take())
    }

    /// All that went in comes out, so that a client may read it; none if it has already.
    pub(crate) fn flush(&mut self) -> io::Result<Option<Bytes>> {
        if !std::mem::take(&mut self.holds) {
            return Ok(None);
        }
        match &mut self.kind {
            Kind::Gzip(writer) => writer.flush()?,
            Kind::Brotli(writer) => writer.flush()?,
        }
        Ok(Some(self.take()))
    }

    /// The end.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        Ok(match self.kind {
            Kind::Gzip(writer) => writer.finish()?.into(),
            Kind::Brotli(writer) => writer.into_inner().into(),
        })
    }

    fn take(&mut self) -> Bytes {
        let out = match &mut self.kind {
            Kind::Gzip(writer) => writer.get_mut(),
            Kind::Brotli(writer) => writer.get_mut(),
        };
        std::mem::take(out).into()
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decode(coding: Coding, encoded: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let read = match coding {
            Coding::Gzip(_) => flate2::read::GzDecoder::new(encoded).read_to_end(&mut plain),
            Coding::Brotli(_) => brotli::Decompressor::new(encoded, BUFFER).read_to_end(&mut plain),
        };
        read.unwrap();
        plain
    }

    #[test]
    fn what_went_in_comes_out() {
        let text: Vec<u8> = (0..300_000u32)
            .map(|n| (n % 251 + n / 9000) as u8)
            .collect();
        for coding in [
            Coding::Gzip(1),
            Coding::Gzip(9),
            Coding::Brotli(0),
            Coding::Brotli(4),
        ] {
            let mut encoder = Encoder::new(coding);
            let mut encoded = Vec::new();
            for part in text.chunks(7919) {
                encoded.extend(encoder.write(part).unwrap());
            }
            encoded.extend(encoder.finish().unwrap());
            assert!(encoded.len() < text.len() / 2, "{coding:?}");
            assert_eq!(decode(coding, &encoded), text, "{coding:?}");
            let empty = Encoder::new(coding).finish().unwrap();
            assert_eq!(decode(coding, &empty), b"", "{coding:?}");
        }
    }

    #[test]
    fn a_flush_lets_clients_read_on() {
        for coding in [Coding::Gzip(1), Coding::Brotli(4)] {
            let mut encoder = Encoder::new(coding);
            let mut encoded = encoder.write(b"hello").unwrap().to_vec();
            encoded.extend(encoder.flush().unwrap().expect("something to flush"));
            let mut start = [0; 5];
            match coding {
                Coding::Gzip(_) => {
                    flate2::read::GzDecoder::new(&encoded[..]).read_exact(&mut start)
                }
                Coding::Brotli(_) => {
                    brotli::Decompressor::new(&encoded[..], BUFFER).read_exact(&mut start)
                }
            }
            .unwrap();
            assert_eq!(&start, b"hello", "{coding:?}");
            assert_eq!(encoder.flush().unwrap(), None, "{coding:?}");
        }
    }
}
