//! `tollgate usage reprice`: what a period costs at the prices of now.

use super::super::{fail, prices, print};
use super::{at, now};
use crate::config::printable;
use crate::ledger::place;
use crate::ledger::{self, Changes, Mode, Period};
use crate::units::Moment;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Reprice {
    /// The gateway's configuration: its providers, its files of prices, and where its ledger is
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: PathBuf,

    /// Another file than that of the configuration
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,

    /// Requests from then on: 1h ago, a day in UTC or a moment
    #[arg(long, value_name = "TIME", value_parser = at)]
    since: Moment,

    /// Requests before then
    #[arg(long, value_name = "TIME", value_parser = at)]
    until: Option<Moment>,

    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Computes again, and prints what changed.
pub fn reprice(asked: &Reprice) -> ExitCode {
    let config = match prices::load(&asked.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let book = match prices::book(config.prices.files.iter()) {
        Ok(book) => book,
        Err(code) => return code,
    };
    let dialects: HashMap<&str, String> = config
        .providers
        .keys()
        .filter_map(|name| Some((name.as_str(), prices::dialect_of(&config, name).ok()?)))
        .collect();
    let path = asked.ledger.clone();
    let path = path.or_else(|| config.ledger.path.clone());
    let path = path.unwrap_or_else(|| place(&asked.config));
    let period = Period {
        since: asked.since,
        until: asked.until,
        now: now(),
        mode: if asked.dry_run {
            Mode::DryRun
        } else {
            Mode::Write
        },
    };
    let changes = ledger::reprice(&path, &period, |attempt| {
        // A provider that the configuration no longer has keeps what it cost.
        let dialect = dialects.get(attempt.provider)?;
        let price = book.find(attempt.provider, dialect, attempt.model, attempt.time)?;
        Some((price.version.clone(), price.cost(attempt.usage)))
    });
    match changes {
        Ok(changes) => print(&told(&changes, period.mode)),
        Err(error) => fail(&error.to_string()),
    }
}

fn told(changes: &Changes, mode: Mode) -> String {
    let mut text = String::new();
    let mut changed = 0;
    for ((provider, model), change) in changes {
        changed += change.changed;
        text.push_str(&format!(
            "{}/{}: {} attempts, {} changed, {} without a price: {} -> {} usd\n",
            printable(provider),
            printable(model),
            change.attempts,
            change.changed,
            change.unpriced,
            change.before,
            change.after,
        ));
    }
    let end = match mode {
        Mode::DryRun => "would change; nothing was written",
        Mode::Write => "changed",
    };
    text.push_str(&format!("{changed} attempts {end}\n"));
    text
}
