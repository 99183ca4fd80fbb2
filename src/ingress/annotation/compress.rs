// SPDX-License-Identifier: Apache-2.0
//! Compression, by the names of ingress-nginx's ConfigMap keys, which are taken of Ingresses too.

use std::sync::Arc;

use super::value::{Wrong, number, switch};
use super::{Draft, Reader};
use crate::ingress::action::compress::{Compress, Means, types};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let before = draft.route.compress.as_deref().cloned().unwrap_or_default();
    let mut compress = before.clone();
    for name in KEYS {
        reader.value(name, |value| set(&mut compress, name, value));
    }
    if compress != before {
        draft.route.compress = Some(Arc::new(compress));
    }
}

/// The names.
const KEYS: [&str; 8] = [
    "use-gzip",
    "gzip-level",
    "gzip-min-length",
    "gzip-types",
    "enable-brotli",
    "brotli-level",
    "brotli-min-length",
    "brotli-types",
];

/// Sets one of the values.
pub(crate) fn set(compress: &mut Compress, name: &str, value: &str) -> Result<(), Wrong> {
    let means: &mut Means = match name {
        "use-gzip" | "gzip-level" | "gzip-min-length" | "gzip-types" => &mut compress.gzip,
        _ => &mut compress.brotli,
    };
    match name {
        "use-gzip" | "enable-brotli" => means.on = switch(value)?,
        "gzip-level" => means.level = level(1, 9, value)?,
        "brotli-level" => means.level = level(0, 11, value)?,
        "gzip-min-length" | "brotli-min-length" => means.least = number(0, value)?.into(),
        _ => means.types = types(value),
    }
    Ok(())
}

fn level(least: u32, most: u32, value: &str) -> Result<u32, Wrong> {
    let level = value.parse().ok();
    let level = level.filter(|level| (least..=most).contains(level));
    level.ok_or_else(|| format!("must be from {least} to {most}, is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};

    #[test]
    fn each_means_has_its_settings() {
        let annotated = read_all(&[
            ("use-gzip", "true"),
            ("gzip-level", "5"),
            ("gzip-min-length", "100"),
            ("gzip-types", "text/css  Image/PNG"),
            ("brotli-level", "11"),
            ("brotli-min-length", "1"),
            ("brotli-types", "*"),
        ]);
        let compress = annotated.plain.compress.clone().unwrap();
        assert!(compress.gzip.on && !compress.brotli.on);
        assert_eq!((compress.gzip.level, compress.gzip.least), (5, 100));
        assert_eq!(
            *compress.gzip.types,
            ["text/css".into(), "image/png".into()]
        );
        assert_eq!((compress.brotli.level, compress.brotli.least), (11, 1));
        assert_eq!(*compress.brotli.types, ["*".into()]);
        assert!(annotated.notes.is_empty());
        assert_eq!(read_all(&[("use-gzip", "false")]).plain.compress, None);
    }

    #[test]
    fn levels_have_bounds() {
        let annotated = read_all(&[("gzip-level", "10"), ("enable-brotli", "maybe")]);
        assert_eq!(annotated.plain.compress, None);
        assert_eq!(
            notes(&annotated),
            [
                "annotation enable-brotli: must be true or false, is \"maybe\"; the default holds",
                "annotation gzip-level: must be from 1 to 9, is \"10\"; the default holds",
            ]
        );
    }
}
