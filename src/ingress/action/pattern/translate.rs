// SPDX-License-Identifier: Apache-2.0
//! From PCRE's syntax to that of the engine.

use super::Wrong;

/// The beginning of a pattern that stands for itself.
pub(crate) fn literal_prefix(pattern: &str) -> &str {
    if has_alternatives(pattern) {
        return "";
    }
    let special = |c: char| ".+*?()|[]{}^$\\".contains(c);
    let Some(end) = pattern.find(special) else {
        return pattern;
    };
    let literal = &pattern[..end];
    match pattern.as_bytes()[end] {
        // The character before it may be missing.
        b'*' | b'?' | b'{' => {
            let last = literal.chars().next_back().map_or(0, char::len_utf8);
            &literal[..literal.len() - last]
        }
        _ => literal,
    }
}

/// Whether it may begin in one way or in another, outside of groups. What only looks so does no
/// harm.
pub(crate) fn has_alternatives(pattern: &str) -> bool {
    let mut depth = 0usize;
    pattern.chars().any(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '|' && depth == 0
    })
}

/// Writes a pattern as the engine has it.
///
/// # Errors
///
/// Names what the engine has not.
pub(crate) fn translate(pattern: &str) -> Result<String, Wrong> {
    let mut translator = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len() + 8),
    };
    match translator.run() {
        Ok(()) => Ok(translator.out),
        Err(what) => Err(format!(
            "has {what}, which cannot be served in linear time: {pattern:?}"
        )),
    }
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
}

/// What cannot be served.
type Step = Result<(), &'static str>;

impl Translator<'_> {
    fn run(&mut self) -> Step {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.after_quantifier()?;
                }
                '{' => self.brace()?,
                '}' => self.out.push_str("\\}"),
                c => self.out.push(c),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Takes text off the rest, if that begins with it.
    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A plus here would forbid what was matched to be given back.
    fn after_quantifier(&mut self) -> Step {
        if self.rest.starts_with('+') {
            return Err("a possessive quantifier");
        }
        if self.take("?") {
            self.out.push('?');
        }
        Ok(())
    }

    /// A brace is a quantifier if it reads as one, else it is itself.
    fn brace(&mut self) -> Step {
        let inner = self.rest.split_once('}').map(|(inner, _)| inner);
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let counts = inner.filter(|inner| match inner.split_once(',') {
            Some((least, most)) => number(least) && (most.is_empty() || number(most)),
            None => number(inner),
        });
        let Some(counts) = counts else {
            self.out.push_str("\\{");
            return Ok(());
        };
        self.out.push('{');
        self.out.push_str(counts);
        self.out.push('}');
        self.rest = &self.rest[counts.len() + 1..];
        self.after_quantifier()
    }

    fn escape(&mut self) -> Step {
        let Some(c) = self.next() else {
            // The engine says that something is missing.
            self.out.push('\\');
            return Ok(());
        };
        let translated = match c {
            'Q' => {
                self.quoted();
                return Ok(());
            }
            '0' => {
                self.octal(c);
                return Ok(());
            }
            '1'..='9' | 'g' | 'k' => return Err("a back-reference"),
            'C' | 'G' | 'K' | 'X' | 'c' | 'p' | 'P' => return Err("an escape of PCRE's own"),
            'E' => "",
            'N' => "[^\\n]",
            'R' => "(?:\\r\\n|[\\n-\\r])",
            'H' => "[^ \\t]",
            'h' => "[ \\t]",
            'V' => "[^\\n-\\r]",
            'v' => "[\\n-\\r]",
            'Z' => "\\z",
            'e' => "\\x1B",
            // To the engine these are borders of words.
            '<' => "<",
            '>' => ">",
            c => {
                self.push_escaped(c);
                return Ok(());
            }
        };
        self.out.push_str(translated);
        Ok(())
    }

    fn push_escaped(&mut self, c: char) {
        // The engine takes no backslash before what is not ASCII.
        if c.is_ascii() {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// `\Q` to `\E`: all of it is itself.
    fn quoted(&mut self) {
        let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
        self.out.push_str(&regex::escape(quoted));
        self.rest = rest;
    }

    /// A byte by up to three octal digits, of which one has been read.
    fn octal(&mut self, first: char) {
        let digits = self.rest.chars().take(2);
        let digits: String = digits.take_while(|c| ('0'..='7').contains(c)).collect();
        self.rest = &self.rest[digits.len()..];
        let all = format!("{first}{digits}");
        let value = u32::from_str_radix(&all, 8).unwrap_or_default() & 0xff;
        self.out.push_str(&format!("\\x{value:02X}"));
    }

    fn group(&mut self) -> Step {
        if self.rest.starts_with('*') {
            return Err("a verb");
        }
        if self.take("?'") {
            let (name, rest) = self.rest.split_once('\'').unwrap_or((self.rest, ""));
            self.out.push_str(&format!("(?P<{name}>"));
            self.rest = rest;
            return Ok(());
        }
        if self.take("?#") {
            let (_, rest) = self.rest.split_once(')').unwrap_or(("", ""));
            self.rest = rest;
            return Ok(());
        }
        let refused = [
            ("?=", "look-ahead"),
            ("?!", "look-ahead"),
            ("?<=", "look-behind"),
            ("?<!", "look-behind"),
            ("?>", "an atomic group"),
            ("?|", "a group that resets numbers"),
            ("?(", "a condition"),
            ("?P=", "a back-reference"),
            ("?P>", "a recursion"),
            ("?R", "a recursion"),
            ("?&", "a recursion"),
            ("?+", "a recursion"),
            ("?C", "a callout"),
        ];
        let mut refused = refused.iter();
        if let Some((_, what)) = refused.find(|(begin, _)| self.rest.starts_with(begin)) {
            return Err(what);
        }
        let after = self.rest.strip_prefix('?').unwrap_or_default();
        let after = after.strip_prefix('-').unwrap_or(after);
        if after.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("a recursion");
        }
        self.out.push('(');
        Ok(())
    }

    /// From after the bracket: the engine has classes within classes, and sets of them.
    fn class(&mut self) -> Step {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        if self.take("]") {
            self.out.push_str("\\]");
        }
        // Where a range cannot begin or end, a hyphen is itself.
        let mut alone = true;
        while let Some(c) = self.next() {
            let set = c == '\\' && self.rest.starts_with(|c: char| "dDsSwWhv".contains(c))
                || c == '[' && self.rest.starts_with(':');
            match c {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.class_escape()?,
                '[' => self.class_bracket(),
                '&' | '~' => self.push_escaped(c),
                '-' if alone => self.out.push_str("\\-"),
                '-' if self.take("-") => self.out.push_str("-\\-"),
                c => self.out.push(c),
            }
            alone = set;
        }
        // The engine says that the end is missing.
        Ok(())
    }

    /// `[:alnum:]`, or a bracket as such.
    fn class_bracket(&mut self) {
        let name = self.rest.strip_prefix(':').and_then(|r| r.split_once(":]"));
        let name = name.map(|(name, _)| name);
        let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'^');
        match name.filter(is_name) {
            Some(name) => {
                self.out.push_str(&format!("[:{name}:]"));
                self.rest = &self.rest[name.len() + 3..];
            }
            None => self.out.push_str("\\["),
        }
    }

    fn class_escape(&mut self) -> Step {
        let Some(c) = self.next() else {
            self.out.push('\\');
            return Ok(());
        };
        let translated = match c {
            // Octal in a class, whatever it begins with.
            '0'..='7' => {
                self.octal(c);
                return Ok(());
            }
            'b' => "\\x08",
            'e' => "\\x1B",
            'h' => " \\t",
            'v' => "\\n-\\r",
            'E' => "",
            '<' => "<",
            '>' => ">",
            'C' | 'G' | 'H' | 'K' | 'N' | 'Q' | 'R' | 'V' | 'X' | 'c' | 'p' | 'P' => {
                return Err("an escape of PCRE's own");
            }
            c => {
                self.push_escaped(c);
                return Ok(());
            }
        };
        self.out.push_str(translated);
        Ok(())
    }
}
