//! `tollgate run`: check the config, then serve it.

use super::check::rendered;
use super::{EX_CONFIG, remark};
use crate::config::{Config, Diagnostic};
use crate::reload;
use crate::server::{self, Source};
use crate::table::RoutingTable;
use crate::telemetry;
use std::path::PathBuf;
use std::process::ExitCode;

/// Serves the file at `path` until the process is told to stop.
pub fn run(path: PathBuf) -> ExitCode {
    let source = Source::File(path);
    match Prepared::new(source) {
        Ok(prepared) => prepared.serve(),
        Err(code) => code,
    }
}

/// A config that is good to serve.
pub struct Prepared {
    source: Source,
    pub config: Config,
    table: RoutingTable,
    warnings: Vec<Diagnostic>,
}

impl Prepared {
    /// Reads and compiles the config; when it has errors, prints them as
    /// `check` does.
    ///
    /// # Errors
    /// The exit code, after the errors were printed.
    pub fn new(source: Source) -> Result<Self, ExitCode> {
        let text = source.read().map_err(|problem| vec![problem]);
        match text.and_then(|text| reload::compile(&text, None)) {
            Ok((config, table, warnings)) => Ok(Self {
                source,
                config,
                table,
                warnings,
            }),
            Err(problems) => {
                remark(&rendered(&source.name(), &problems));
                Err(ExitCode::from(EX_CONFIG))
            }
        }
    }

    /// Serves until the process is told to stop.
    pub fn serve(self) -> ExitCode {
        telemetry::log::init(self.config.log.level.into());
        let file = self.source.name();
        log::info!(
            version = env!("CARGO_PKG_VERSION"), commit = env!("TOLLGATE_COMMIT"), config = file.as_str();
            "starting"
        );
        for warning in &self.warnings {
            let text = warning.render(&file);
            log::warn!(problem = text.as_str(); "config problem");
        }
        server::run(self.source, self.config, self.table)
    }
}
