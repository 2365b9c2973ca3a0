//! Rust sources, as tokens: comments are no code, and what is only compiled for tests can be told apart.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// Something found in a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// A text that is not Rust.
#[derive(Debug, thiserror::Error)]
#[error("the source cannot be taken apart into tokens: {0}")]
pub struct SourceError(String);

/// The string literals that begin with one of `beginnings`, outside of comments and of what is compiled for
/// tests only.
///
/// # Errors
/// The text is not Rust.
pub fn literals_outside_tests(source: &str, beginnings: &[&str]) -> Result<Vec<Finding>, SourceError> {
    let mut found = Vec::new();
    walk(tokens(source)?, Tests::LeftOut, &mut |tree, _| {
        if let TokenTree::Literal(literal) = tree
            && let Some(text) = content(&literal.to_string())
            && beginnings.iter().any(|beginning| text.starts_with(beginning))
        {
            found.push(finding(literal.span(), text));
        }
    });
    Ok(found)
}

/// Uses of the macros `names`, tests included.
///
/// # Errors
/// The text is not Rust.
pub fn macros(source: &str, names: &[&str]) -> Result<Vec<Finding>, SourceError> {
    let mut found = Vec::new();
    walk(tokens(source)?, Tests::TakenIn, &mut |tree, next| {
        if let TokenTree::Ident(ident) = tree
            && names.iter().any(|name| ident == name)
            && matches!(next, Some(TokenTree::Punct(p)) if p.as_char() == '!')
        {
            found.push(finding(ident.span(), &format!("{ident}!")));
        }
    });
    Ok(found)
}

/// Which of the crates `names` a source names, as the first part of a path, tests included.
///
/// # Errors
/// The text is not Rust.
pub fn mentions<'n>(source: &str, names: &[&'n str]) -> Result<BTreeSet<&'n str>, SourceError> {
    let mut found = BTreeSet::new();
    walk(tokens(source)?, Tests::TakenIn, &mut |tree, next| {
        if let TokenTree::Ident(ident) = tree
            && matches!(next, Some(TokenTree::Punct(p)) if p.as_char() == ':')
        {
            found.extend(names.iter().copied().filter(|name| ident == name));
        }
    });
    Ok(found)
}

fn finding(span: Span, text: &str) -> Finding {
    Finding { line: span.start().line, text: text.to_owned() }
}

fn tokens(source: &str) -> Result<TokenStream, SourceError> {
    // A file may begin with `#!`, which is no token.
    source.parse().map_err(|error: proc_macro2::LexError| SourceError(error.to_string()))
}

/// The text in a string literal; escapes stay as they are, because none of what is looked for has any.
fn content(literal: &str) -> Option<&str> {
    let literal = literal.trim_start_matches(['b', 'c']);
    match literal.strip_prefix('r') {
        Some(raw) => raw.trim_matches('#').strip_prefix('"')?.strip_suffix('"'),
        None => literal.strip_prefix('"')?.strip_suffix('"'),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tests {
    LeftOut,
    TakenIn,
}

/// Shows each token with the one after it. Attributes, and so documentation, are left out.
fn walk(stream: TokenStream, tests: Tests, see: &mut impl FnMut(&TokenTree, Option<&TokenTree>)) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while let Some(tree) = trees.get(at) {
        if let Some((attribute, after)) = attribute(&trees, at) {
            at = after;
            if tests == Tests::LeftOut && is_for_tests(&attribute) {
                at = after_item(&trees, after);
            }
            continue;
        }
        see(tree, trees.get(at + 1));
        if let TokenTree::Group(group) = tree {
            walk(group.stream(), tests, see);
        }
        at += 1;
    }
}

/// The attribute that begins at `at`, and where it ends.
fn attribute(trees: &[TokenTree], at: usize) -> Option<(Group, usize)> {
    let is = |tree: Option<&TokenTree>, c| matches!(tree, Some(TokenTree::Punct(p)) if p.as_char() == c);
    if !is(trees.get(at), '#') {
        return None;
    }
    let at = if is(trees.get(at + 1), '!') { at + 2 } else { at + 1 };
    match trees.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            Some((group.clone(), at + 1))
        }
        _ => None,
    }
}

/// `#[cfg(test)]`, `#[cfg(any(test, …))]`, `#[test]`, `#[tokio::test]`; not `#[cfg(not(test))]`.
fn is_for_tests(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    let cfg = text.strip_prefix("cfg(").is_some_and(|cfg| {
        cfg.split(['(', ')', ',']).any(|word| word == "test") && !cfg.contains("not(test")
    });
    cfg || text == "test" || text.starts_with("tokio::test")
}

/// Where the item that begins at `at` ends: after its body, or after its semicolon.
fn after_item(trees: &[TokenTree], at: usize) -> usize {
    let end = trees.iter().skip(at).position(|tree| match tree {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(p) => p.as_char() == ';',
        _ => false,
    });
    end.map_or(trees.len(), |end| at + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r##"
        //! "root/doc"
        /// "root/doc"
        fn planted() -> String {
            // "root/comment"
            let raw = r#"root/raw"#;
            format!("root/{}/{raw}", "elsewhere/root/")
        }
        #[cfg(not(test))]
        const REAL: &str = "root/real";
        #[cfg(test)]
        const FOR_TESTS: &str = "root/test";
        #[cfg(test)]
        mod tests {
            #[test]
            fn f() { assert_eq!("root/test", 'r'.to_string()); todo!() }
        }
        fn after<'a>() -> &'a str { "root/after" }
    "##;

    #[test]
    fn a_literal_is_found_in_code_and_not_in_comments_or_tests() {
        let found = literals_outside_tests(SOURCE, &["root/"]).expect("it is Rust");
        let lines: Vec<(usize, &str)> = found.iter().map(|f| (f.line, f.text.as_str())).collect();
        assert_eq!(lines, [(6, "root/raw"), (7, "root/{}/{raw}"), (10, "root/real"), (18, "root/after")]);
    }

    #[test]
    fn a_macro_is_found_wherever_it_is_used_and_a_name_alone_is_none() {
        let found = macros(SOURCE, &["todo"]).expect("it is Rust");
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [16]);
        assert_eq!(macros("fn todo() { let todo = 1; }", &["todo"]).expect("it is Rust"), []);
    }

    #[test]
    fn a_crate_is_mentioned_by_a_path_that_begins_with_it() {
        let names = ["bollard", "sqlx"];
        let found =
            mentions("use bollard::Docker; // sqlx::query\nfn sqlx() {}", &names).expect("it is Rust");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["bollard"]);
    }

    #[test]
    fn what_is_not_rust_is_an_error() {
        assert!(literals_outside_tests("fn f( {", &[]).is_err());
    }
}
