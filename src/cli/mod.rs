//! The command line: one table, one file a verb.
//!
//! The table below gives the parser, the help texts, the completions and the
//! man page. A verb prints what it is asked for on standard output and what it
//! has to say about it on standard error. Exit codes: 0 done, 1 failed, 2
//! misused, 78 (EX_CONFIG) the configuration is at fault.

mod check;
mod completions;
mod demo;
mod drill;
mod keys;
mod man;
mod run;

use clap::{Parser, Subcommand};
use std::io::{self, Write as _};
use std::path::PathBuf;
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

    /// Make keys for clients
    Keys {
        #[command(subcommand)]
        verb: KeysVerb,
    },

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
        Verb::Drill(asked) => drill::drill(&asked),
        Verb::Keys {
            verb: KeysVerb::New(new),
        } => keys::new(&new),
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
