// SPDX-License-Identifier: Apache-2.0
//! Finds the paths that a source file mentions.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Collects every path, with the braces of `use` expanded. Skips what is `#[cfg(test)]`.
pub(crate) fn collect(tokens: TokenStream, paths: &mut BTreeSet<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(&tokens[at..]) {
            at = after_item(&tokens, at + 2);
            continue;
        }
        at = match &tokens[at] {
            TokenTree::Ident(_) => path(&tokens, at, &[], paths),
            TokenTree::Group(group) => {
                collect(group.stream(), paths);
                at + 1
            }
            _ => at + 1,
        };
    }
}

/// Reads the path that starts here; returns the place after it.
fn path(
    tokens: &[TokenTree],
    start: usize,
    prefix: &[String],
    paths: &mut BTreeSet<Vec<String>>,
) -> usize {
    let mut names = prefix.to_vec();
    let mut at = start;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => names.push(ident.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                expand(group.stream(), &names, paths);
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !is_separator(&tokens[at.min(tokens.len())..]) {
            break;
        }
        at += 2;
    }
    if let [bang, TokenTree::Group(_), ..] = &tokens[at.min(tokens.len())..]
        && let (true, Some(last)) = (is_punct(bang, '!'), names.last_mut())
    {
        last.push('!');
    }
    paths.insert(names);
    at
}

/// The comma-separated trees within the braces of a `use`.
fn expand(tokens: TokenStream, prefix: &[String], paths: &mut BTreeSet<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        at = match &tokens[at] {
            TokenTree::Ident(_) => path(&tokens, at, prefix, paths),
            _ => at + 1,
        };
        while at < tokens.len() && !is_punct(&tokens[at], ',') {
            at += 1;
        }
        at += 1;
    }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == character)
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [a, b, ..] if is_punct(a, ':') && is_punct(b, ':'))
}

/// `#[cfg(test)]`, also within `all(...)`.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(group), ..] = tokens else {
        return false;
    };
    let text = group.stream().to_string().replace(' ', "");
    is_punct(hash, '#') && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

/// The place after the item that starts here: after its body or its semicolon.
fn after_item(tokens: &[TokenTree], start: usize) -> usize {
    let ends = |t: &TokenTree| match t {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_punct(other, ';'),
    };
    let length = tokens[start.min(tokens.len())..].iter().position(ends);
    length.map_or(tokens.len(), |n| start + n + 1)
}
