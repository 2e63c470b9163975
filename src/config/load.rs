//! From the file's text to a [`Config`], or to everything that is wrong with it.
//!
//! serde stops at its first error. To show all of them at once, each error is
//! written down, its cause is taken out of the document, and what is left is
//! read again. A syntax error is the only one shown alone: past it there is no
//! document. What compiling the routing table finds comes without lines;
//! [`with_lines`] adds them.

use super::diagnostic::{Diagnostic, Path};
use super::document::{Document, Span, line};
use super::{Config, HeaderSource, message};
use serde::Deserialize as _;
use std::collections::BTreeSet;
use std::io::Read as _;
use toml::de::{DeValue, Error};

/// The largest file; a config is thousands of times smaller.
const LARGEST: u64 = 4 << 20;

/// Nobody reads more at once, and each costs a pass over the document.
const MOST: usize = 100;

/// What must be a table. serde would also take an array, by position, so that
/// `[[server]]` or `log = ["debug"]` would be read as something not written.
/// `*` stands for any key, `[]` for any element.
const TABLES: [&[&str]; 23] = [
    &["server"],
    &["admin"],
    &["demo"],
    &["log"],
    &["access_log"],
    &["limits"],
    &["times"],
    &["listen", "[]"],
    &["listen", "[]", "tls"],
    &["providers"],
    &["providers", "*"],
    &["providers", "*", "aws"],
    &["providers", "*", "google"],
    &["providers", "*", "base_urls", "[]"],
    &["providers", "*", "headers"],
    &["providers", "*", "timeouts"],
    &["providers", "*", "health_check"],
    &["models"],
    &["models", "*"],
    &["keys"],
    &["keys", "*"],
    &["keys", "*", "metadata"],
    &["capabilities", "[]"],
];

/// Reads the file at `path`.
///
/// # Errors
/// When it cannot be read, is over 4 MiB or not UTF-8.
pub fn read(path: &std::path::Path) -> Result<String, Diagnostic> {
    let unreadable =
        |error| Diagnostic::error(Path::root(), format!("cannot read the file: {error}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Diagnostic::error(
            Path::root(),
            "the file is larger than 4 MiB",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let lines = error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|byte| **byte == b'\n')
            .count();
        Diagnostic::error(Path::root(), "the file is not UTF-8").at(lines + 1)
    })
}

/// The config that `text` says, and all that is wrong with it, in the order of
/// the lines; no config where there is an error.
pub fn load(text: &str) -> (Option<Config>, Vec<Diagnostic>) {
    let loaded = load_rest(text);
    (
        loaded.rest.filter(|_| loaded.found.is_empty()),
        loaded.found,
    )
}

/// A file as far as it can be read.
#[derive(Debug)]
pub struct Loaded {
    /// What is left without the parts that are wrong; `None` when nothing is.
    pub rest: Option<Config>,
    /// All that is wrong, in the order of the lines.
    pub found: Vec<Diagnostic>,
    /// What was taken out, or was missing.
    gone: BTreeSet<Path>,
}

impl Loaded {
    /// Whether a problem of what is left only follows from what was taken out:
    /// it concerns the same place, or a target of a provider that is gone.
    pub fn explains(&self, problem: &Diagnostic) -> bool {
        let at = &problem.path.0;
        let near = |gone: &Path| gone.0.starts_with(at) || at.starts_with(&gone.0);
        let provider = |gone: &Path| {
            gone.0.first().is_some_and(|room| room == "providers") && gone.0.len() <= 2
        };
        let targets = at.first().is_some_and(|room| room == "models");
        self.gone
            .iter()
            .any(|gone| near(gone) || (targets && provider(gone)))
    }
}

/// Reads `text` as far as it goes, so that what is left can be checked too.
pub fn load_rest(text: &str) -> Loaded {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let found = vec![syntax(text, &error)];
            return Loaded {
                rest: None,
                found,
                gone: BTreeSet::new(),
            };
        }
    };
    let mut reading = Reading {
        text,
        document: document.clone(),
        rest: document,
        found: Vec::new(),
        known: BTreeSet::new(),
        stand_ins: 0,
    };
    reading.expect_tables();
    let rest = reading.config();
    if let Some(config) = &rest {
        reading.refuse_literal_secrets(config);
    }
    let mut found = reading.found;
    found.sort_by_key(|diagnostic| diagnostic.line);
    Loaded {
        rest,
        found,
        gone: reading.known,
    }
}

/// The line, from 1, of the longest part of `path` that is in the file.
pub fn locate(text: &str, path: &Path) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    document.span(path).map(|span| line(text, span.start))
}

/// The diagnostics with the lines that were missing, in the order of the lines.
pub fn with_lines(text: &str, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let Ok(document) = Document::parse(text) else {
        return diagnostics;
    };
    for diagnostic in &mut diagnostics {
        if diagnostic.line.is_none() {
            diagnostic.line = document
                .span(&diagnostic.path)
                .map(|span| line(text, span.start));
        }
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.line);
    diagnostics
}

fn syntax(text: &str, error: &Error) -> Diagnostic {
    let line = error.span().map(|span| line(text, span.start));
    Diagnostic::error(Path::root(), format!("not TOML: {}", error.message())).at(line)
}

/// Reading one file until nothing new is found.
struct Reading<'t> {
    text: &'t str,
    /// The file, for paths and lines.
    document: Document<'t>,
    /// The file without what was already reported.
    rest: Document<'t>,
    found: Vec<Diagnostic>,
    /// What was reported or taken out: that it is now missing is no news.
    known: BTreeSet<Path>,
    /// Empty strings put in for missing keys so far.
    stand_ins: usize,
}

impl Reading<'_> {
    /// What is left when all that was wrong is taken out; `None` when there
    /// was too much.
    fn config(&mut self) -> Option<Config> {
        loop {
            match Config::deserialize(self.rest.deserializer()) {
                Ok(config) => return Some(config),
                Err(error) if self.found.len() < MOST => self.take_out(&error)?,
                Err(_) => {
                    let more = format!("more than {MOST} problems; only the first are shown");
                    self.found.push(Diagnostic::error(Path::root(), more));
                    return None;
                }
            }
        }
    }

    /// Reports the error, unless it only follows from an earlier one, and
    /// removes its cause. `None` when there is no cause to remove.
    fn take_out(&mut self, error: &Error) -> Option<()> {
        let missing = message::missing_key(error.message());
        let span = error.span().unwrap_or_default();
        let Some(place) = self.rest.find(&span, missing.is_some()) else {
            let line = line(self.text, span.start);
            self.found
                .push(Diagnostic::error(Path::root(), error.message()).at(line));
            return None;
        };
        if let Some(key) = missing {
            self.stand_in(&span, &place, key);
            return Some(());
        }
        if span.start > self.text.len() {
            // An empty string cannot stand in here: the whole table goes.
            let (table, _) = place.split_last()?;
            let original = self
                .rest
                .span(&table)
                .and_then(|span| self.document.find(&span, true));
            self.known.extend(original);
            self.rest.remove(table);
            return Some(());
        }
        let path = self.document.find(&span, false)?;
        self.found
            .push(message::explain(path.clone(), error.message()).at(line(self.text, span.start)));
        self.known.insert(path);
        self.rest.remove(place);
        Some(())
    }

    /// Reports a missing key once, and fills it so that the rest of its table
    /// is read too.
    fn stand_in(&mut self, span: &Span, place: &Path, key: &str) {
        let table = self.document.find(span, true).unwrap_or_default();
        if self.known.insert(table.clone().then(key)) {
            let line = line(self.text, span.start);
            self.found
                .push(Diagnostic::error(table, format!("missing key \"{key}\"")).at(line));
        }
        // A place past the text's end, so that it is told from what was written.
        self.stand_ins += 1;
        let nowhere = self.text.len() + self.stand_ins;
        self.rest.insert(place, key, nowhere..nowhere);
    }

    fn expect_tables(&mut self) {
        let mut wrong = Vec::new();
        for pattern in TABLES {
            not_tables(self.rest.root(), pattern, Path::root(), &mut wrong);
        }
        // From the back, so that removing moves nothing that is still to go.
        for (path, found) in wrong.into_iter().rev() {
            let line = self
                .document
                .span(&path)
                .map(|span| line(self.text, span.start));
            let mut diagnostic =
                Diagnostic::error(path.clone(), format!("expected a table, found {found}"))
                    .at(line);
            if !(0..path.0.len()).any(|position| path.is_index(position)) {
                diagnostic = diagnostic.hint(format!("write its keys under [{path}]"));
            }
            self.found.push(diagnostic);
            self.rest.remove(path.clone());
            self.known.insert(path);
        }
    }

    /// A secret in the file ends up in backups, tickets and chats.
    fn refuse_literal_secrets(&mut self, config: &Config) {
        const SECRET: [&str; 5] = [
            "authorization",
            "api-key",
            "x-api-key",
            "x-goog-api-key",
            "cookie",
        ];
        let of_providers = config.providers.iter().flat_map(|(provider, settings)| {
            let at = move |header| Path::from(["providers", provider.as_str(), "headers", header]);
            let headers = settings.headers.iter();
            headers.map(move |(header, source)| (header, source, at(header.as_str())))
        });
        let of_traces = config.traces.headers.iter();
        let of_traces = of_traces.map(|(header, source)| {
            (
                header,
                source,
                Path::from(["traces", "headers", header.as_str()]),
            )
        });
        for (header, source, path) in of_providers.chain(of_traces) {
            let secret = SECRET.contains(&header.to_ascii_lowercase().as_str());
            if secret && matches!(source, HeaderSource::Literal(_)) {
                let line = self
                    .document
                    .span(&path)
                    .map(|span| line(self.text, span.start));
                let message = "this header carries a secret; secrets are given by reference";
                let hint = "write \"env:NAME\", \"file:PATH\" or \"credential:NAME\"";
                self.found
                    .push(Diagnostic::error(path, message).hint(hint).at(line));
            }
        }
    }
}

/// Adds what matches `pattern` and is no table, with what it is instead.
fn not_tables(node: &DeValue<'_>, pattern: &[&str], path: Path, wrong: &mut Vec<(Path, String)>) {
    match (pattern, node) {
        ([], DeValue::Table(_)) => {}
        ([], other) => wrong.push((path, message::with_article(other.type_str()))),
        (["[]", rest @ ..], DeValue::Array(array)) => {
            for (index, value) in array.iter().enumerate() {
                not_tables(value.get_ref(), rest, path.clone().then(index), wrong);
            }
        }
        (["*", rest @ ..], DeValue::Table(table)) => {
            for (key, value) in table {
                not_tables(
                    value.get_ref(),
                    rest,
                    path.clone().then(key.get_ref()),
                    wrong,
                );
            }
        }
        ([name, rest @ ..], DeValue::Table(table)) => {
            if let Some(value) = table.get(*name) {
                not_tables(value.get_ref(), rest, path.then(*name), wrong);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
