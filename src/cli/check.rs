//! `tollgate check`: everything that is wrong with a file, and no more.

use super::{EX_CONFIG, print, remark};
use crate::config::{self, Config, Diagnostic, printable};
use crate::reload;
use crate::table::RoutingTable;
use std::path::Path;
use std::process::ExitCode;

/// Says everything that is wrong with the file at `path`.
pub fn check(path: &Path) -> ExitCode {
    let file = path.display().to_string();
    let text = config::read(path).map_err(|problem| vec![problem]);
    match text.and_then(|text| reload::compile_with(&text, RoutingTable::compile)) {
        Ok((config, _, warnings)) => {
            remark(&rendered(&file, &warnings));
            print(&summary(&file, &config))
        }
        Err(problems) => {
            remark(&rendered(&file, &problems));
            ExitCode::from(EX_CONFIG)
        }
    }
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
        let text = format!("[keys.a]\nhash = \"sha256:{}\"\n", "0".repeat(64));
        config.keys = config::load(&text).0.unwrap().keys;
        assert_eq!(
            summary("f\n", &config),
            "f\\n: ok (0 providers, 0 models, 1 key)\n"
        );
    }

    #[test]
    fn problems_of_file_and_table_are_told_together_and_once() {
        let text = "[log]\nlevel = \"loud\"\n[providers.p]\ndialect = \"openai\"\nbase_url = \"ftp://x\"\n\
                    [providers.q]\ndialect = \"openai\"\nbase_url = 7\n[models.m]\ntargets = [\"none/x\"]\n";
        let problems = reload::compile_with(text, RoutingTable::compile).unwrap_err();
        let errors: Vec<_> = problems
            .iter()
            .filter(|problem| problem.is_error())
            .map(|problem| (problem.line, problem.path.to_string()))
            .collect();
        let expected = [
            (Some(2), "log.level"),
            (Some(5), "providers.p.base_url"),
            (Some(8), "providers.q.base_url"),
            (Some(10), "models.m.targets[0]"),
        ];
        assert_eq!(errors, expected.map(|(line, path)| (line, path.to_owned())));
    }
}
