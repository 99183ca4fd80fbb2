// SPDX-License-Identifier: Apache-2.0
//! nginx's configuration syntax, as far as words, quotes, comments and ends of directives go
//! (ngx_conf_file.c, ngx_conf_read_token).

use super::Wrong;

/// The longest snippet, in bytes.
const LONGEST: usize = 64 * 1024;

/// A directive: its name, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
}

/// The text that is read.
struct Lexer<'a> {
    rest: &'a str,
}

/// What comes next.
enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

/// Splits a snippet into its directives. Blocks are refused by the name of their directive.
pub(super) fn directives(text: &str) -> Result<Vec<Directive>, Wrong> {
    if text.len() > LONGEST {
        return Err(format!("must not be longer than {LONGEST} bytes"));
    }
    let mut lexer = Lexer { rest: text };
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    loop {
        match lexer.next()? {
            Token::Word(word) => words.push(word),
            Token::Semicolon if words.is_empty() => {
                return Err("has a semicolon without a directive".to_owned());
            }
            Token::Semicolon => {
                let mut words = std::mem::take(&mut words).into_iter();
                all.push(Directive {
                    name: words.next().unwrap_or_default(),
                    arguments: words.collect(),
                });
            }
            Token::Open => {
                let name = words.first().map_or("", String::as_str);
                return Err(format!("directive {name:?}: blocks are not served"));
            }
            Token::Close => return Err("closes a block that it did not open".to_owned()),
            Token::End => match words.first() {
                None => return Ok(all),
                Some(name) => return Err(format!("directive {name:?} lacks its semicolon")),
            },
        }
    }
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Token, Wrong> {
        self.skip();
        let mut chars = self.rest.chars();
        let token = match chars.next() {
            None => return Ok(Token::End),
            Some(';') => Token::Semicolon,
            Some('{') => Token::Open,
            Some('}') => Token::Close,
            Some(quote @ ('"' | '\'')) => {
                self.rest = chars.as_str();
                return self.quoted(quote).map(Token::Word);
            }
            Some(_) => return Ok(Token::Word(self.plain())),
        };
        self.rest = chars.as_str();
        Ok(token)
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let mut word = String::new();
        loop {
            match self.take(&mut word) {
                None => return Err(format!("does not close the quote after {word:?}")),
                Some((found, false)) if found == quote => break,
                Some((found, _)) => word.push(found),
            }
        }
        let next = self.rest.chars().next();
        if next.is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '{')) {
            return Ok(word);
        }
        Err(format!("has something that touches the quoted {word:?}"))
    }

    fn plain(&mut self) -> String {
        let mut word = String::new();
        loop {
            let next = self.rest.chars().next();
            let ends =
                |c: char| c.is_whitespace() || c == ';' || (c == '{' && !word.ends_with('$'));
            if next.is_none_or(ends) {
                return word;
            }
            if let Some((found, _)) = self.take(&mut word) {
                word.push(found);
            }
        }
    }

    /// The next character, and whether it was escaped. A backslash stays where it escapes nothing
    /// of nginx's: in patterns it means something else.
    fn take(&mut self, word: &mut String) -> Option<(char, bool)> {
        let mut chars = self.rest.chars();
        let first = chars.next()?;
        if first != '\\' {
            self.rest = chars.as_str();
            return Some((first, false));
        }
        let after = chars.clone().next();
        let escaped = match after {
            Some(c @ ('"' | '\'' | '\\')) => Some(c),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('n') => Some('\n'),
            _ => None,
        };
        match (escaped, after) {
            (Some(escaped), _) => {
                chars.next();
                self.rest = chars.as_str();
                Some((escaped, true))
            }
            // The next one belongs to the word, whatever it is.
            (None, Some(after)) => {
                word.push('\\');
                chars.next();
                self.rest = chars.as_str();
                Some((after, true))
            }
            (None, None) => {
                self.rest = "";
                Some(('\\', true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Vec<String>> {
        let all = directives(text).unwrap().into_iter();
        all.map(|d| [vec![d.name], d.arguments].concat()).collect()
    }

    #[test]
    fn words_end_as_in_nginx() {
        for (text, expected) in [
            ("", &[][..]),
            ("a;", &[&["a"][..]]),
            ("a b  c;\n\td e ;", &[&["a", "b", "c"], &["d", "e"]]),
            ("# no\na b; # c;\n", &[&["a", "b"]]),
            ("a 'b c' \"d;{}\";", &[&["a", "b c", "d;{}"]]),
            (r#"a "X: \"v\" \\ \t\.";"#, &[&["a", "X: \"v\" \\ \t\\."]]),
            (
                r"rewrite ^/(a\.b)$ /\;;",
                &[&["rewrite", r"^/(a\.b)$", r"/\;"]],
            ),
            ("a ${host}x b#c;", &[&["a", "${host}x", "b#c"]]),
            ("a ^/x}y;", &[&["a", "^/x}y"]]),
            ("a '';", &[&["a", ""]]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_end_or_nests_is_refused() {
        for (text, part) in [
            ("a", "directive \"a\" lacks its semicolon"),
            ("a 'b;", "does not close the quote"),
            ("a 'b'c;", "touches the quoted"),
            (";", "semicolon without"),
            ("}", "did not open"),
            (
                "if ($a) { return 1; }",
                "directive \"if\": blocks are not served",
            ),
            ("location /a{ }", "directive \"location\""),
        ] {
            let wrong = directives(text).expect_err(text);
            assert!(wrong.contains(part), "{text}: {wrong}");
        }
        assert!(directives(&"a;".repeat(LONGEST)).is_err());
    }
}
