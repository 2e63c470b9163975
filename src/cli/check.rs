//! `tollgate check`: everything that is wrong with a file, and no more.

use super::{EX_CONFIG, print, remark};
use crate::config::{self, Config, Diagnostic, printable};
use crate::table::RoutingTable;
use std::path::Path;
use std::process::ExitCode;

/// Says everything that is wrong with the file at `path`.
pub fn check(path: &Path) -> ExitCode {
    let file = path.display().to_string();
    let (ready, found) = match config::read(path) {
        Ok(text) => examine(&text, RoutingTable::compile),
        Err(diagnostic) => (None, vec![diagnostic]),
    };
    remark(&rendered(&file, &found));
    match ready {
        Some((config, _)) => print(&summary(&file, &config)),
        None => ExitCode::from(EX_CONFIG),
    }
}

/// Reads and compiles the text of a file: what it says, unless one of the
/// problems is an error, and all problems in the order of their lines.
fn examine(
    text: &str,
    compile: impl FnOnce(&Config) -> (Option<RoutingTable>, Vec<Diagnostic>),
) -> (Option<(Config, RoutingTable)>, Vec<Diagnostic>) {
    let (config, mut found) = config::load(text);
    let Some(config) = config else {
        return (None, found);
    };
    let (table, more) = compile(&config);
    found.extend(more);
    (
        table.map(|table| (config, table)),
        config::with_lines(text, found),
    )
}

/// The problems as text, each on lines of its own.
pub fn rendered(file: &str, found: &[Diagnostic]) -> String {
    found
        .iter()
        .map(|diagnostic| diagnostic.render(file) + "\n")
        .collect()
}

fn summary(file: &str, config: &Config) -> String {
    format!(
        "{}: ok ({}, {}, {})\n",
        printable(file),
        counted(config.providers.len(), "provider"),
        counted(config.models.len(), "model"),
        counted(config.keys.len(), "key"),
    )
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grammatical() {
        let mut config = Config::default();
        assert_eq!(
            summary("f", &config),
            "f: ok (0 providers, 0 models, 0 keys)\n"
        );
        let key = config::Key {
            hash: config::Hash([0; 32]),
            models: Vec::new(),
            direct: false,
            disabled: false,
            metadata: Default::default(),
        };
        config.keys.insert("a".to_owned(), key);
        assert_eq!(
            summary("f\n", &config),
            "f\\n: ok (0 providers, 0 models, 1 key)\n"
        );
    }

    #[test]
    fn the_table_is_compiled_from_sound_configs_only() {
        let (ready, found) = examine("[nonsense]\n", |_| panic!("compiled"));
        assert!(ready.is_none());
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn problems_of_the_table_get_lines() {
        let compile = |_: &Config| (None, vec![Diagnostic::error(["log", "level"], "too loud")]);
        let (ready, found) = examine("\n[log]\nlevel = \"debug\"\n", compile);
        assert!(ready.is_none());
        assert_eq!(rendered("f", &found), "error: f:3: log.level: too loud\n");
    }
}
