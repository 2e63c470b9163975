//! `tollgate completions`: the table, for a shell.

use super::{Arguments, print};
use clap::CommandFactory as _;
use std::process::ExitCode;

/// Prints the script that completes tollgate's command line.
pub fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tollgate", &mut script);
    print(&String::from_utf8_lossy(&script))
}
