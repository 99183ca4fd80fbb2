// SPDX-License-Identifier: Apache-2.0
//! Splits a stream of YAML documents without parsing it, one document in memory at a time.

use std::io::{self, BufRead};

/// Reads one document after the other.
///
/// A line that begins with `---` or `...` is a marker wherever it stands, also in a block scalar
/// (YAML 1.2, 9.1.2), so that looking at the beginnings of lines is exact.
#[derive(Debug)]
pub(super) struct Documents<R> {
    reader: R,
    /// Lines read so far.
    line: usize,
    /// The marker line that ended the document before, and belongs to the next one.
    held: String,
}

/// What a line means to the splitter.
#[derive(PartialEq, Eq)]
enum Line {
    Begin,
    End,
    /// Blank, a comment or a directive: may stand before a `---`.
    Prologue,
    Content,
}

impl<R: BufRead> Documents<R> {
    /// Splits what `reader` yields.
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            line: 0,
            held: String::new(),
        }
    }

    /// Replaces `text` by the next document and returns the number of its first line, from 1. None
    /// at the end.
    ///
    /// # Errors
    /// Those of the reader, and `InvalidData` with the line number for bytes that are not UTF-8.
    pub(super) fn next(&mut self, text: &mut String) -> io::Result<Option<usize>> {
        text.clear();
        let mut first = self.line + 1;
        let mut content = false;
        if !self.held.is_empty() {
            text.push_str(&self.held);
            self.held.clear();
            first = self.line;
            content = true;
        }
        loop {
            let start = text.len();
            if !self.read_line(text)? {
                return Ok((!text.is_empty()).then_some(first));
            }
            match classify(&text[start..]) {
                Line::Begin if content => {
                    self.held.push_str(&text[start..]);
                    text.truncate(start);
                    return Ok(Some(first));
                }
                Line::End if content => {
                    text.truncate(start);
                    return Ok(Some(first));
                }
                Line::Begin | Line::Content => content = true,
                Line::End | Line::Prologue => {}
            }
        }
    }

    fn read_line(&mut self, text: &mut String) -> io::Result<bool> {
        let read = self
            .reader
            .read_line(text)
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => {
                    let reason = format!("line {}: not UTF-8", self.line + 1);
                    io::Error::new(io::ErrorKind::InvalidData, reason)
                }
                _ => error,
            })?;
        if self.line == 0 && text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        self.line += 1;
        Ok(read > 0)
    }
}

fn classify(line: &str) -> Line {
    let marker = |mark| {
        line.strip_prefix(mark)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    if marker("---") {
        Line::Begin
    } else if marker("...") {
        Line::End
    } else if line.starts_with(['#', '%']) || line.trim().is_empty() {
        Line::Prologue
    } else {
        Line::Content
    }
}

#[cfg(test)]
mod tests {
    use super::Documents;

    fn split(text: &str) -> Vec<(usize, String)> {
        let mut documents = Documents::new(text.as_bytes());
        let mut all = Vec::new();
        let mut buffer = String::new();
        while let Some(line) = documents.next(&mut buffer).expect("readable") {
            all.push((line, buffer.clone()));
        }
        all
    }

    fn lines(text: &str) -> Vec<(usize, String)> {
        split(text)
            .into_iter()
            .map(|(n, t)| (n, t.replace('\n', "|")))
            .collect()
    }

    fn expect(text: &str, documents: &[(usize, &str)]) {
        let documents: Vec<_> = documents
            .iter()
            .map(|(n, t)| (*n, (*t).to_owned()))
            .collect();
        assert_eq!(lines(text), documents, "{text:?}");
    }

    #[test]
    fn documents_begin_at_their_lines() {
        expect("", &[]);
        expect("a: 1\n", &[(1, "a: 1|")]);
        expect("a: 1\n---\nb: 2", &[(1, "a: 1|"), (2, "---|b: 2")]);
        expect(
            "---\na: 1\n---\nb: 2\n",
            &[(1, "---|a: 1|"), (3, "---|b: 2|")],
        );
        expect("# c\n\n---\na: 1\n", &[(1, "# c||---|a: 1|")]);
        expect(
            "--- {a: 1}\n--- # c\nb: 2\n",
            &[(1, "--- {a: 1}|"), (2, "--- # c|b: 2|")],
        );
    }

    #[test]
    fn end_markers_and_directives() {
        expect(
            "a: 1\n...\n%YAML 1.2\n---\nb: 2\n",
            &[(1, "a: 1|"), (3, "%YAML 1.2|---|b: 2|")],
        );
        expect(
            "a: 1\r\n---\r\nb: 2\r\n",
            &[(1, "a: 1\r|"), (2, "---\r|b: 2\r|")],
        );
    }

    #[test]
    fn what_only_looks_like_a_marker() {
        expect("a: |\n  ---\n  x\n", &[(1, "a: ||  ---|  x|")]);
        expect("----\n", &[(1, "----|")]);
        expect("---a\n", &[(1, "---a|")]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        expect("\u{feff}a: 1\n", &[(1, "a: 1|")]);
    }

    #[test]
    fn not_utf8_is_reported_with_its_line() {
        let mut documents = Documents::new(&b"a: 1\n\xff\n"[..]);
        let error = documents.next(&mut String::new()).expect_err("not UTF-8");
        assert_eq!(error.to_string(), "line 2: not UTF-8");
    }
}
