//! The fleet that this gateway is one of: how its store is reached, and the task
//! that keeps both agreed.

use crate::admission::{Fleet, Shared};
use crate::config::State;
use crate::gateway::Accounts;
use crate::ledger::MEMORY;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Where a store is that nobody has given an address of.
const LOCAL: &str = "redis://127.0.0.1:6379/0";

/// Added to the name of the ledger's file, for the file that holds the name by
/// which the store knows this gateway.
const NAME: &str = "-gateway";

/// What the config says of the fleet. `ledger`: the file that this gateway's part
/// is known from.
///
/// # Errors
/// What is wrong with the address or its password, for the operator.
pub(super) fn of(state: &State, ledger: &Path) -> Result<Fleet, String> {
    let password = state.password.as_ref().map(|reference| {
        let secret = reference.resolve();
        secret.map(|secret| secret.expose().to_owned())
    });
    let password = password
        .transpose()
        .map_err(|e| format!("state.password: {e}"))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is from 0 to 1"
    )]
    let lease = (state.lease * 1e6) as u64;
    Fleet::new(Shared {
        url: state.url.clone().unwrap_or_else(|| LOCAL.to_owned()),
        password,
        prefix: state.prefix.clone(),
        timeout: state.timeout,
        lease,
        gateway: name(ledger)?,
    })
}

/// This gateway's name in the store: it stands beside the ledger, for whoever has
/// the ledger has what was spent by that name.
fn name(ledger: &Path) -> Result<String, String> {
    if ledger.as_os_str() == MEMORY {
        return fresh();
    }
    let mut path = OsString::from(ledger);
    path.push(NAME);
    match std::fs::read_to_string(&path) {
        Ok(name) if is_name(name.trim()) => Ok(name.trim().to_owned()),
        Ok(_) => Err(format!("{} holds no gateway's name", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let name = fresh()?;
            let written = std::fs::write(&path, format!("{name}\n"));
            written.map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(name)
        }
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn is_name(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn fresh() -> Result<String, String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| format!("no randomness: {e}"))?;
    let mut name = String::with_capacity(16);
    for byte in random {
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}

/// Keeps the store and this gateway agreed for as long as the process lives:
/// requests that end while it stops are still told.
pub(super) struct Tending(pub Arc<Accounts>);

#[async_trait]
impl BackgroundService for Tending {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let accounts = &self.0;
        accounts.limiter.tend(|| accounts.clock.now()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_keeps_its_name_beside_its_ledger() {
        let directory = std::env::temp_dir().join(format!("tollgate-{}", fresh().unwrap()));
        std::fs::create_dir(&directory).unwrap();
        let ledger = directory.join("tollgate.db");
        let first = name(&ledger).unwrap();
        assert!(is_name(&first));
        assert_eq!(name(&ledger), Ok(first.clone()));
        assert_ne!(name(&directory.join("other.db")), Ok(first));
        std::fs::write(directory.join("tollgate.db-gateway"), "x").unwrap();
        assert!(name(&ledger).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
        assert_ne!(name(Path::new(MEMORY)), name(Path::new(MEMORY)));
    }
}
