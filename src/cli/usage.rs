//! `tollgate usage`: what was used and what it cost, asked of the ledger's file,
//! beside a running gateway or without one.

mod reprice;
mod shown;

pub use reprice::reprice;

use super::{fail, prices, print, remark};
use crate::ledger::place;
use crate::ledger::{By, Filter, Question, Reader};
use crate::units::Moment;
use shown::Format;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Usage {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    ask: Ask,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Compute again what a period cost, at the prices of now
    ///
    /// Prices are looked up for the time of each request, so it is for prices that were
    /// missing or wrong. Nothing that was written is changed: a correction is added beside
    /// each entry, and to the sums of its hour. What a running gateway has counted for its
    /// budgets follows at its next start.
    #[command(after_help = "Example:\n  \
        tollgate usage reprice -c tollgate.toml --since 2026-11-01 --dry-run\n")]
    Reprice(reprice::Reprice),
}

#[derive(clap::Args)]
struct Ask {
    /// The gateway's configuration: its ledger.path, or else tollgate.db in $STATE_DIRECTORY or
    /// beside it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    #[arg(required_unless_present = "ledger", conflicts_with = "ledger")]
    config: Option<PathBuf>,

    /// The ledger's file itself
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,

    /// Requests from then on: 1h ago, a day in UTC or a moment
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = at)]
    since: Moment,

    /// Requests before then
    #[arg(long, value_name = "TIME", value_parser = at)]
    until: Option<Moment>,

    /// Of this end user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// With this key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,

    /// Of this team
    #[arg(long, value_name = "NAME")]
    team: Option<String>,

    /// To this endpoint: chat_completions, embeddings
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,

    /// By this route: a name in the models section
    #[arg(long, value_name = "NAME")]
    route: Option<String>,

    /// Served by this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,

    /// Served by this model, as its provider calls it
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// That ended so: ok, canceled, truncated, recovered
    #[arg(long, value_name = "NAME")]
    outcome: Option<String>,

    /// With this tag; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,

    /// A row for each: user, key, team, endpoint, route, provider, model, outcome, hour, day,
    /// tag:NAME; several, separated by commas
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    by: Vec<By>,

    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn now() -> Moment {
    SystemTime::now().into()
}

fn at(text: &str) -> Result<Moment, String> {
    Moment::before(now(), text).map_err(|e| e.to_string())
}

/// Reads `NAME=VALUE`.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Answers, or does what its verb says.
pub fn usage(asked: Usage) -> ExitCode {
    match asked.verb {
        Some(Verb::Reprice(asked)) => reprice(&asked),
        None => answer(asked.ask),
    }
}

fn answer(ask: Ask) -> ExitCode {
    let path = match (ask.ledger, ask.config) {
        (Some(path), _) => path,
        (None, Some(file)) => match prices::load(&file) {
            Ok(config) => config.ledger.path.unwrap_or_else(|| place(&file)),
            Err(code) => return code,
        },
        (None, None) => return fail("which ledger? give --ledger or -c"),
    };
    let question = Question {
        since: ask.since,
        until: ask.until,
        of: Filter {
            key: ask.key,
            team: ask.team,
            user: ask.user,
            endpoint: ask.endpoint,
            route: ask.route,
            provider: ask.provider,
            model: ask.model,
            outcome: ask.outcome,
            tags: BTreeMap::from_iter(ask.tags),
        },
        by: ask.by,
    };
    let answer = match Reader::open(&path).map(|reader| reader.view().ask(&question)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return fail(&error.to_string()),
        Err(error) => return fail(&error.to_string()),
    };
    if answer.is_widened {
        remark(
            "tollgate: single entries of that time have been deleted; hours at its ends are \
             counted as a whole\n",
        );
    }
    print(&ask.format.text(&answer, &question.by))
}
