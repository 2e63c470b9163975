//! The command line: one table, one file a verb.
//!
//! The table below gives the parser, the help texts, the completions and the
//! man page. A verb prints what it is asked for on standard output and what it
//! has to say about it on standard error. Exit codes: 0 done, 1 failed, 2
//! misused, 78 (EX_CONFIG) the configuration is at fault.

mod calibrate;
mod check;
mod completions;
mod demo;
mod drill;
mod explain;
mod keys;
mod ledger;
mod man;
mod prices;
mod run;
mod train;
mod usage;

use clap::{Parser, Subcommand};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// sysexits.h's EX_CONFIG: trying again without a change cannot help.
const EX_CONFIG: u8 = 78;

const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("TOLLGATE_COMMIT"),
    ")"
);

const EXAMPLES: &str = "\
Examples:
  tollgate demo                               try it, without keys or accounts
  tollgate keys new search >>tollgate.toml    make a key; the key itself is shown on the terminal
  tollgate check -c tollgate.toml             everything that is wrong with a file
  tollgate run -c tollgate.toml               serve
  tollgate drill -c tollgate.toml --route m   what becomes of requests when a provider fails
  tollgate prices show gpt-5.4                what a model costs

Exit codes:
  0   done; for run, stopped by SIGTERM after its requests had ended
  1   failed: an address in use, a file not writable; for drill, a row that did not pass
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/tollgate/tollgate.toml                 the configuration of the packaged service
";

/// The LLM gateway: one OpenAI-shaped API over every provider
///
/// Clients speak OpenAI's API to one address with one key. tollgate looks at each request,
/// chooses the provider and the model by its configuration, adds that provider's credential,
/// and moves on to the next target when one fails.
#[derive(Parser)]
#[command(name = "tollgate", version = VERSION, after_help = EXAMPLES)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve, until SIGTERM
    ///
    /// Checks the file as `tollgate check` does, then listens. SIGHUP, or a change of the
    /// file, puts the new file into effect; a file with errors changes nothing and is
    /// reported in the log. SIGTERM stops taking connections, lets the requests under way
    /// finish within server.grace_period, and exits with 0.
    ///
    /// The operator's log goes to standard error, the access log to standard output, both
    /// as JSON lines.
    #[command(after_help = "Example:\n  tollgate run -c /etc/tollgate/tollgate.toml\n")]
    Run(File),

    /// Try tollgate with a provider that needs no key
    ///
    /// Starts a gateway on 127.0.0.1:8080, and in the same process a provider on
    /// 127.0.0.1:8088 that answers without a model. Real providers join where their keys
    /// are in the environment: OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY. Prints requests to try. Not for production:
    /// the client's key is public.
    #[command(after_help = "Example:\n  OPENAI_API_KEY=... tollgate demo\n")]
    Demo,

    /// Say everything that is wrong with a configuration
    ///
    /// Prints all problems at once to standard error, each with line, key and hint, and
    /// exits with 78 when one of them is an error. Credentials that are not set here are
    /// warnings, since the file may be meant for another machine. Nothing is sent anywhere.
    #[command(
        after_help = "Example:\n  tollgate check -c tollgate.toml && systemctl reload tollgate\n"
    )]
    Check(File),

    /// Say where a request would go, and why not elsewhere
    ///
    /// Reads the body of a request and decides as the gateway does, by the same code, without
    /// sending anything. What is known of targets only while it serves (usual times, requests
    /// under way, breakers) can be given with --at; without it nothing is known of any.
    #[command(after_help = "Examples:\n  \
        tollgate explain -c tollgate.toml request.json\n  \
        tollgate explain -c tollgate.toml request.json --tag feature=search --format json\n  \
        echo '{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}' | \
        tollgate explain -c tollgate.toml -\n\n\
        A file for --at:\n  \
        {\"targets\": {\"openai/gpt-5\": {\"first_token_ms\": 800, \"load\": 3, \"open\": false}}}\n\n\
        Exit codes:\n  \
        0   it would be sent\n  \
        1   it would be refused, or cannot be read\n  \
        78  the configuration is wrong\n")]
    Explain(explain::Explain),

    /// Try what a route does when its provider misbehaves
    ///
    /// Starts a provider on loopback that fails in every known way (silence, resets, errors,
    /// streams that stall or break off, answers that lie), and a gateway before it with a copy
    /// of the route's policy: its deadline, timeouts, retries, fallbacks and breakers. The first
    /// target is the one that fails; all others are one that does not. Real providers are never
    /// asked, and the gateway that serves is not touched.
    ///
    /// Prints a line for each fault: what came, after how long, and why that is wrong. All of
    /// them run at once; with long timeouts it takes a minute or so.
    #[command(after_help = "Examples:\n  \
        tollgate drill -c tollgate.toml --route chat\n  \
        tollgate drill -c tollgate.toml --route 'openai/*' --deadline 10s --json\n\n\
        Exit codes:\n  \
        0   every fault ended as it has to\n  \
        1   one did not, or the drill could not be run\n  \
        78  the configuration is wrong or has no such route\n")]
    Drill(drill::Drill),

    /// Make keys for clients, and take them back
    ///
    /// A key is in the configuration (`new` prints its stanza) or in the ledger's file (`create`),
    /// where it needs no change of the configuration: a running gateway takes what `create`,
    /// `revoke` and `rotate` do within a second or so. Where both have a key of one name, the
    /// configuration's counts.
    Keys {
        #[command(subcommand)]
        verb: KeysVerb,
    },

    /// What models cost
    Prices {
        #[command(subcommand)]
        verb: PricesVerb,
    },

    /// Say what was used and what it cost
    ///
    /// Asks the ledger's file, also while a gateway writes it. Money is exact, in US dollars.
    /// A request counts for the time at which it was admitted, and for who served it; what
    /// others used that were tried for it counts for them.
    #[command(after_help = "Examples:\n  \
        tollgate usage -c tollgate.toml --user 8473 --endpoint embeddings --since 1h\n  \
        tollgate usage -c tollgate.toml --since 2026-11-01 --by user,model --format csv\n  \
        tollgate usage -c tollgate.toml --since 30d --tag feature=search --by day\n")]
    Usage(usage::Usage),

    /// Set right what a gateway may not decide for itself
    Ledger {
        #[command(subcommand)]
        verb: LedgerVerb,
    },

    /// Fit the classifier to your own traffic
    ///
    /// What judges the difficulty of prompts was trained on benchmarks. With --labels, 400 or more,
    /// it learns from yours: each line of the file is an object with `prompt` and either
    /// `weak_score` and `strong_score` (0 to 1: what the cheap and the strong model's answers were
    /// worth) or `label` ("weak" or "strong": the cheapest model that is good enough). Prints how
    /// well it orders prompts that it did not learn from, beside random and the prompts' length,
    /// with intervals, and writes nothing if it does not beat both.
    ///
    /// With --prompts (objects with `prompt`, or strings) only the shares are set: "30 % to the
    /// strong model" then means 30 % of prompts like these.
    #[command(after_help = "Examples:\n  \
        tollgate calibrate --labels judged.jsonl --out classifier.weights\n  \
        tollgate calibrate --prompts yesterday.jsonl --out classifier.weights\n\n\
        Exit codes:\n  \
        0   written\n  \
        1   a file cannot be read, or the new weights are not better and were not written\n")]
    Calibrate(calibrate::Calibrate),

    /// Make the classifier's weights from labelled prompts
    ///
    /// DIR holds JSON lines. kind_train.jsonl: `kind` (qa, code, math, extract, rewrite, creative,
    /// translate or chat), `source`, `licence`, `prompt`. route_train.jsonl: `bench`, `group`,
    /// `licence`, `prompt`, and `weak_score` and `strong_score`, 0 to 1, of a cheap and a strong
    /// model. kind_dev.jsonl, as kind_train.jsonl, is measured on and never learned from. Rows
    /// whose licence forbids commerce or is not stated are left out. Prompts from templates of
    /// our own, in eighteen languages, are added.
    ///
    /// Prints how good the weights are on sources, languages and benchmarks that were left out,
    /// and writes that into the file as well. The same data gives the same bytes; it takes a
    /// minute or so.
    #[command(after_help = "Example:\n  \
        tollgate train --data labelled --out conf/classifier.weights\n")]
    Train(train::Train),

    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  tollgate completions bash >~/.local/share/bash-completion/completions/tollgate\n"
    )]
    Completions {
        /// The shell to print them for
        shell: clap_complete::Shell,
    },

    /// Print this manual as a man page
    #[command(after_help = "Example:\n  tollgate man | man -l -\n")]
    Man,
}

#[derive(Subcommand)]
enum KeysVerb {
    /// Make a key; prints it once, and the stanza with its hash
    ///
    /// The stanza for the configuration goes to standard output, the key to standard
    /// error, so that the output can be appended to the file. The key is stored nowhere:
    /// the stanza holds its SHA-256 only.
    #[command(after_help = "Examples:\n  \
        tollgate keys new search >>tollgate.toml\n  \
        tollgate keys new batch --models 'fast,openai/*'\n")]
    New(keys::New),

    /// Make a key that is in force at once
    ///
    /// Stores its SHA-256 and its rights in the ledger's file and shows the key itself this
    /// once: on standard error, or with --format json in the output. A running gateway lets it
    /// in within a second or so; none has to run.
    #[command(after_help = "Examples:\n  \
        tollgate keys create search -c tollgate.toml --models fast --expires 90d\n  \
        tollgate keys create batch -c tollgate.toml --team ml --limit '10 usd / month' \
        --priority batch --tag feature=nightly\n")]
    Create(keys::Create),

    /// Show all keys: those of the configuration and those of the ledger's file
    #[command(after_help = "Examples:\n  \
        tollgate keys list -c tollgate.toml\n  \
        tollgate keys list --ledger /var/lib/tollgate/tollgate.db --format json\n")]
    List(keys::List),

    /// Take a key back, for ever
    ///
    /// Its name is not given again, so that a name in the ledger means one key. A running
    /// gateway refuses it within a second or so.
    #[command(after_help = "Example:\n  tollgate keys revoke search -c tollgate.toml\n")]
    Revoke(keys::Revoke),

    /// Replace a key by another of the same name and rights
    ///
    /// The new key is shown this once and works at once. The old one works until the overlap
    /// is over.
    #[command(after_help = "Example:\n  \
        tollgate keys rotate search -c tollgate.toml --overlap 24h\n")]
    Rotate(keys::Rotate),
}

#[derive(Subcommand)]
enum LedgerVerb {
    /// Take this machine's clock for the right one, after it was once far ahead
    ///
    /// Budgets go by the latest time that the ledger knows, so that setting the clock back
    /// opens none. Where that time is wrong, this dates what is later than now as now: what
    /// was spent then counts for the budgets of today. Check this machine's clock first. It is
    /// refused while a gateway has the ledger: stop it before, and start it again after.
    #[command(after_help = "Examples:\n  \
        tollgate ledger reset-clock -c tollgate.toml --dry-run\n  \
        tollgate ledger reset-clock --ledger /var/lib/tollgate/tollgate.db\n")]
    ResetClock(ledger::ResetClock),
}

#[derive(Subcommand)]
enum PricesVerb {
    /// Show the price of a model
    ///
    /// Prints the row that counts: its version, which the ledger keeps with each request,
    /// the rates, those for longer prompts, and where they are from. Without --provider: all
    /// rows that name the model, the most specific first.
    #[command(after_help = "Examples:\n  \
        tollgate prices show claude-opus-5-5\n  \
        tollgate prices show gpt-5.6-sol --at 2026-08-01 --format json\n  \
        tollgate prices show llama3 -c tollgate.toml --provider local\n\n\
        Exit codes:\n  \
        0   it has a price\n  \
        1   it has none, or a file cannot be read\n  \
        78  the configuration or a file of prices is wrong\n")]
    Show(prices::Show),

    /// Make a file of prices from LiteLLM's community price map
    ///
    /// Reads model_prices_and_context_window.json, prints rows for `prices.files` on standard
    /// output, and says on standard error what cannot be expressed.
    #[command(
        after_help = "Example:\n  tollgate prices import model_prices_and_context_window.json >prices.toml\n"
    )]
    Import(prices::Import),
}

#[derive(clap::Args)]
struct File {
    /// The configuration, a TOML file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: PathBuf,
}

/// Does what the process's command line says. Ends the process itself when
/// that is misused, or only asks for help.
pub fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Run(file) => run::run(file.path),
        Verb::Demo => demo::demo(),
        Verb::Check(file) => check::check(&file.path),
        Verb::Explain(asked) => explain::explain(&asked),
        Verb::Drill(asked) => drill::drill(&asked),
        Verb::Keys { verb } => match verb {
            KeysVerb::New(new) => keys::new(&new),
            KeysVerb::Create(create) => keys::create(create),
            KeysVerb::List(list) => keys::list(&list),
            KeysVerb::Revoke(revoke) => keys::revoke(&revoke),
            KeysVerb::Rotate(rotate) => keys::rotate(&rotate),
        },
        Verb::Prices {
            verb: PricesVerb::Show(asked),
        } => prices::show(&asked),
        Verb::Prices {
            verb: PricesVerb::Import(asked),
        } => prices::import(&asked),
        Verb::Usage(asked) => usage::usage(asked),
        Verb::Ledger {
            verb: LedgerVerb::ResetClock(asked),
        } => ledger::reset_clock(&asked),
        Verb::Calibrate(asked) => calibrate::calibrate(&asked),
        Verb::Train(asked) => train::train(&asked),
        Verb::Completions { shell } => completions::completions(shell),
        Verb::Man => man::man(),
    }
}

/// Prints what the verb was asked for.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `tollgate man | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write to standard output: {error}")),
    }
}

/// Prints something about the output; there is no way to say that this failed.
fn remark(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a file as a whole: whoever reads it meanwhile sees the old one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut beside = path.to_path_buf().into_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        format!("cannot write {}: {error}", path.display())
    })
}

fn fail(message: &str) -> ExitCode {
    remark(&format!("tollgate: {message}\n"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_table_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_explains_itself() {
        fn explained(command: &clap::Command) {
            for verb in command.get_subcommands() {
                assert!(verb.get_about().is_some(), "{}", verb.get_name());
                let leaf = verb.get_subcommands().next().is_none();
                assert!(
                    !leaf || verb.get_after_help().is_some(),
                    "{}",
                    verb.get_name()
                );
                explained(verb);
            }
        }
        explained(&Arguments::command());
    }

    #[test]
    fn the_version_has_the_commit() {
        let version = Arguments::command().render_version();
        assert!(
            version.starts_with("tollgate 0.") && version.contains(" (commit "),
            "{version}"
        );
    }
}
