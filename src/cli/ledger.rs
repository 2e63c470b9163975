//! `tollgate ledger`: what is done to the ledger's file by hand.

use super::{fail, prices, print};
use crate::ledger::keys::rfc3339;
use crate::ledger::{Mode, place, reset};
use crate::units::Moment;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(clap::Args)]
#[group(id = "which", required = true, multiple = false, args = ["config", "ledger"])]
pub struct ResetClock {
    /// The gateway's configuration: its ledger.path, or else tollgate.db in $STATE_DIRECTORY or
    /// beside it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The ledger's file itself
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,

    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Takes this machine's clock for the right one.
pub fn reset_clock(asked: &ResetClock) -> ExitCode {
    let path = match (&asked.ledger, &asked.config) {
        (Some(path), _) => path.clone(),
        (None, Some(file)) => match prices::load(file) {
            Ok(config) => config.ledger.path.unwrap_or_else(|| place(file)),
            Err(code) => return code,
        },
        (None, None) => return fail("which ledger? give --ledger or -c"),
    };
    let now = Moment::from(SystemTime::now());
    let mode = match asked.dry_run {
        true => Mode::DryRun,
        false => Mode::Write,
    };
    match reset(&path, now, mode) {
        Ok(reset) if reset.latest <= now => {
            print("The ledger's clock is not ahead of this machine's; nothing is to be done.\n")
        }
        Ok(reset) => {
            let what = match mode {
                Mode::DryRun => "would be dated",
                Mode::Write => "are dated",
            };
            print(&format!(
                "The ledger's clock was at {}. {} entries of after {} {what} then.\n",
                rfc3339(reset.latest),
                reset.entries,
                rfc3339(now),
            ))
        }
        Err(error) => fail(&error.to_string()),
    }
}
