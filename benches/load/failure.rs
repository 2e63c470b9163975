//! Why the harness stopped, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

#[derive(Debug)]
pub enum Failure {
    /// Wrong arguments, or the machine lacks something: exit 2.
    Setup(String),
    /// A gateway or the mock did not do its job, so there is nothing to report: exit 1.
    Run(String),
    /// SIGINT or SIGTERM: exit 130.
    Interrupted,
}

impl Failure {
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Run(_) => 1,
            Self::Setup(_) => 2,
            Self::Interrupted => 130,
        })
    }

    /// For `map_err`: an I/O failure while doing `what`.
    pub fn during<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Run(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(message) | Self::Run(message) => f.write_str(message),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}
