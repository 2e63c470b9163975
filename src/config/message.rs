//! serde's error texts, said for somebody who writes TOML.
//!
//! serde says what is wrong as text only, in a few fixed forms. An unknown form
//! is shown as it is. Texts of values are dropped where serde would echo them:
//! a misplaced string may be a secret.

use super::diagnostic::{Diagnostic, Path};

/// The key that the text says is missing.
pub fn missing_key(text: &str) -> Option<&str> {
    text.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The problem at `path` in our words, with a hint where there is one.
pub fn explain(path: Path, text: &str) -> Diagnostic {
    if let Some((name, known)) = unknown(text, "unknown field `") {
        return Diagnostic::error(path, format!("unknown key {name:?}"))
            .hint(choices(name, &known, "keys"));
    }
    if let Some((name, known)) = unknown(text, "unknown variant `") {
        return Diagnostic::error(path, format!("unknown value {name:?}"))
            .hint(choices(name, &known, "values"));
    }
    if let Some((found, expected)) = mismatch(text) {
        let brackets = format!("write [[{path}]], with two brackets");
        let problem = Diagnostic::error(path, format!("expected {expected}, found {found}"));
        return match (found.as_str(), expected) {
            ("a table", "an array") => problem.hint(brackets),
            (_, ADDRESS) => problem.hint(ADDRESS_HINT),
            _ => problem,
        };
    }
    match text {
        "wanted string or table" => Diagnostic::error(path, "expected a string"),
        "invalid socket address syntax" => {
            Diagnostic::error(path, format!("expected {ADDRESS}")).hint(ADDRESS_HINT)
        }
        _ => match text.split_once('\n') {
            Some((message, hint)) => Diagnostic::error(path, message).hint(hint),
            None => Diagnostic::error(path, text),
        },
    }
}

const ADDRESS: &str = "an IP address and a port";
const ADDRESS_HINT: &str = "write for example \"127.0.0.1:8080\" or \"[::1]:8080\"";

/// Splits "unknown field `x`, expected one of `a`, `b`" into `x` and the known
/// names. The last comma counts: the unknown name is the file's, and may hold
/// anything.
fn unknown<'t>(text: &'t str, opening: &str) -> Option<(&'t str, Vec<&'t str>)> {
    let (name, known) = text.strip_prefix(opening)?.rsplit_once("`, expected ")?;
    Some((name, known.split('`').skip(1).step_by(2).collect()))
}

/// A hint: what is known, and what of it may have been meant.
pub fn choices(name: &str, known: &[&str], kind: &str) -> String {
    let list = known.join(", ");
    match nearest(name, known) {
        Some(near) => format!("did you mean {near}? known {kind}: {list}"),
        None => format!("known {kind}: {list}"),
    }
}

/// The known name that is a slip of the pen away.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .min()?;
    let (slips, candidate) = near;
    (slips <= (candidate.len() / 3).max(1)).then_some(candidate)
}

/// Levenshtein's distance: how many characters to add, drop or change.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    // A name far longer than all known ones is near none.
    for (row, letter) in from.chars().take(64).enumerate() {
        let mut diagonal = row;
        let mut left = row + 1;
        for (cost, other) in costs.iter_mut().skip(1).zip(&to) {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = *cost;
            left = changed.min(left + 1).min(diagonal + 1);
            *cost = left;
        }
        if let Some(first) = costs.first_mut() {
            *first = row + 1;
        }
    }
    costs.last().copied().unwrap_or_default()
}

/// Splits "invalid type: integer `5`, expected a string" into what was found
/// and what was expected.
fn mismatch(text: &str) -> Option<(String, &str)> {
    let rest = text
        .strip_prefix("invalid type: ")
        .or_else(|| text.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let found = match found.split_once(' ') {
        Some(("string", _)) => "a string".to_owned(),
        Some((kind @ ("integer" | "floating" | "boolean"), _)) => {
            let value = found.split('`').nth(1).unwrap_or_default();
            format!(
                "the {} {value}",
                if kind == "floating" { "number" } else { kind }
            )
        }
        _ => with_article(found),
    };
    let expected = match expected {
        "usize" => "a whole number, 0 or more",
        "socket address" => ADDRESS,
        "path string" => "a path",
        "a map" => "a table",
        "a sequence" => "an array",
        other => other,
    };
    Some((found, expected))
}

/// A type of TOML or of serde, as it stands in a sentence.
pub fn with_article(kind: &str) -> String {
    match kind {
        "map" | "table" => "a table".to_owned(),
        "sequence" | "array" => "an array".to_owned(),
        "integer" => "an integer".to_owned(),
        other => format!("a {other}"),
    }
}
