//! `tollgate drill`: what a route does when its provider misbehaves.

use super::check::rendered;
use super::{EX_CONFIG, fail, print, remark};
use crate::config::{self, Config, printable};
use crate::drill::{self, Task, Trouble};
use crate::reload;
use crate::table::RoutingTable;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Drill {
    /// The configuration, a TOML file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: PathBuf,

    /// The route: a name in `[models]`, as it stands there
    #[arg(long, value_name = "NAME")]
    route: String,

    /// The longest deadline of a request; the route's own, where that is shorter
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    deadline: Duration,

    /// How late an answer may be: what a busy machine needs
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = time)]
    tolerance: Duration,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A day is more than any route waits.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn time(text: &str) -> Result<Duration, String> {
    let rule = "a time over zero with its unit, such as 10s or 500ms, to 24h";
    let time = humantime::parse_duration(text).map_err(|_| rule.to_owned())?;
    match time {
        time if time.is_zero() || time > LONGEST => Err(rule.to_owned()),
        time => Ok(time),
    }
}

/// Runs the drill and prints its scorecard.
pub fn drill(asked: &Drill) -> ExitCode {
    let config = match load(&asked.path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let task = Task {
        config: &config,
        route: &asked.route,
        deadline: asked.deadline,
        tolerance: asked.tolerance,
    };
    let card = match drill::run(&task) {
        Ok(card) => card,
        Err(Trouble::NoRoute) => {
            remark(&unknown(&asked.route, &config));
            return ExitCode::from(EX_CONFIG);
        }
        Err(trouble) => return fail(&trouble.to_string()),
    };
    let printed = match asked.json {
        true => print(&format!("{}\n", card.json())),
        false => print(&card.text()),
    };
    match card.all_passed() {
        true => printed,
        false => ExitCode::FAILURE,
    }
}

/// The config, if it is right; else its problems are printed.
fn load(path: &Path) -> Result<Config, ExitCode> {
    let text = config::read(path).map_err(|problem| vec![problem]);
    match text.and_then(|text| reload::compile_with(&text, RoutingTable::compile)) {
        Ok((config, _, _)) => Ok(config),
        Err(problems) => {
            remark(&rendered(&path.display().to_string(), &problems));
            Err(ExitCode::from(EX_CONFIG))
        }
    }
}

fn unknown(route: &str, config: &Config) -> String {
    let known: Vec<String> = config.models.keys().map(|name| printable(name)).collect();
    let known = match known.is_empty() {
        true => "there are none".to_owned(),
        false => known.join(", "),
    };
    format!(
        "tollgate: there is no route \"{}\"\n  hint: known routes: {known}\n",
        printable(route)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_their_unit() {
        assert_eq!(time("10s"), Ok(Duration::from_secs(10)));
        for bad in ["10", "0s", "soon", "25h"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_route_is_told_with_the_known_ones() {
        let config = "[models.a]\ntargets = [\"p/x\"]\n[models.\"b/*\"]\ntargets = [\"p/*\"]\n";
        let config = config::load(config).0.unwrap();
        let told = unknown("c\n", &config);
        assert!(
            told.contains("\"c\\n\"") && told.contains("known routes: a, b/*"),
            "{told}"
        );
        assert!(unknown("c", &Config::default()).contains("there are none"));
    }
}
