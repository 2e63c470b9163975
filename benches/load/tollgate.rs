//! tollgate as its users run it: a key, an alias that rewrites the model, metrics, an access log.

use std::path::Path;

use crate::body::{ALIAS, UPSTREAM_MODEL};
use crate::failure::Failure;
use crate::gateway::{Contender, Gateway, free_ports, wait_until_listening};
use crate::measure::Bench;
use crate::process::{Running, log_to, pinned};

/// What the client sends; nginx passes it on and the mock ignores it.
pub const KEY: &str = "tg-bench";
/// `printf %s tg-bench | sha256sum`
const KEY_HASH: &str = "a07615e0ddc0c6015f2ac02ef896fdd41e6081527494826f599ef212e74d6098";

pub const CONTENDER: Contender = Contender {
    name: "tollgate",
    start,
};

fn start(bench: &Bench<'_>) -> Result<Gateway, Failure> {
    let scratch = bench.scratch;
    let [port, admin] = free_ports()?;
    let log = scratch.path("tollgate.log");
    // Emptied before each run, so that a long bench does not fill the disk.
    let access_log = scratch.write("access.log", "")?;
    let config = config(port, admin, bench.mock_port, &access_log);
    let config = scratch.write("tollgate.toml", &config)?;

    let mut command = pinned(bench.cpus.gateway, &bench.options.tollgate);
    command.arg("run").arg("-c").arg(&config);
    log_to(&mut command, &log)?;
    let process = Running::start("tollgate", &mut command)?;
    wait_until_listening(port, &process, &log)?;
    Ok(Gateway { port, process, log })
}

fn config(listen: u16, admin: u16, mock: u16, access_log: &Path) -> String {
    // Debug formatting quotes and escapes as TOML's basic strings do.
    let access_log = access_log.display().to_string();
    format!(
        r#"[server]
threads = 1

[[listen]]
address = "127.0.0.1:{listen}"

[admin]
listen = "127.0.0.1:{admin}"

[access_log]
output = {access_log:?}

[providers.mock]
dialect = "openai"
base_url = "http://127.0.0.1:{mock}/v1"

[models.{ALIAS}]
targets = ["mock/{UPSTREAM_MODEL}"]

[keys.bench]
hash = "sha256:{KEY_HASH}"
models = ["{ALIAS}"]
"#
    )
}
