//! `tollgate keys create`, `list`, `revoke`, `rotate`: keys in the ledger's file,
//! beside a running gateway or without one.

use super::super::check::rendered;
use super::super::{EX_CONFIG, fail, print, remark};
use crate::config::{self, Config, printable};
use crate::identity::{KeyRing, Priority};
use crate::ledger::keys::{
    Actor, Made, Order, Refused, Rights, Shown, Store, expiry, overlap, read_file, rfc3339,
};
use crate::ledger::place;
use crate::reload;
use crate::table::RoutingTable;
use crate::units::{Allowance, Moment};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Which file the keys are in.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct File {
    /// The gateway's configuration: its ledger.path, or else tollgate.db in $STATE_DIRECTORY or
    /// beside it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The ledger's file itself
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

/// How a new key is shown.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    Table,
    /// For programs, on standard output
    Json,
}

#[derive(clap::Args)]
pub struct Create {
    /// Who the key is for: 1 to 64 letters, digits, ".", "_", "-"
    #[arg(value_parser = super::name)]
    name: String,

    #[command(flatten)]
    file: File,

    #[command(flatten)]
    rights: Asked,

    /// It is refused from then on: 90d from now, or 2027-01-31
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,

    /// How the key is shown
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

/// What the key may do.
#[derive(clap::Args)]
struct Asked {
    /// Models that it may ask for, separated by commas; "*" matches any run of characters
    #[arg(
        long,
        value_name = "PATTERNS",
        value_delimiter = ',',
        default_value = "*"
    )]
    models: Vec<String>,

    /// Names in the models section that these may lead to, separated by commas
    #[arg(
        long,
        value_name = "PATTERNS",
        value_delimiter = ',',
        default_value = "*"
    )]
    routes: Vec<String>,

    /// Endpoints of the API that it may call, such as chat_completions,embeddings
    #[arg(
        long,
        value_name = "PATTERNS",
        value_delimiter = ',',
        default_value = "*"
    )]
    endpoints: Vec<String>,

    /// Who owns it
    #[arg(long)]
    team: Option<String>,

    /// A tag of each of its requests; may be given several times
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,

    /// A limit of this key, such as "10 usd / month" or "60 requests / 1m"; may be given several
    /// times
    #[arg(long = "limit", value_name = "ALLOWANCE")]
    limits: Vec<Allowance>,

    /// Who goes first where requests wait for their turn: interactive, normal, batch
    #[arg(long, default_value = "normal", value_parser = priority)]
    priority: Priority,

    /// It may also ask for PROVIDER/MODEL past the names that the configuration defines
    #[arg(long)]
    direct: bool,
}

impl From<Asked> for Rights {
    fn from(asked: Asked) -> Self {
        Self {
            team: asked.team,
            models: asked.models,
            routes: asked.routes,
            endpoints: asked.endpoints,
            direct: asked.direct,
            priority: asked.priority,
            limits: asked.limits,
            metadata: asked.tags.into_iter().collect(),
        }
    }
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    file: File,

    /// How they are shown
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

#[derive(clap::Args)]
pub struct Revoke {
    /// Whose key
    name: String,

    #[command(flatten)]
    file: File,
}

#[derive(clap::Args)]
pub struct Rotate {
    /// Whose key
    name: String,

    #[command(flatten)]
    file: File,

    /// How long the old key goes on to work
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = length)]
    overlap: Duration,

    /// How the key is shown
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn priority(text: &str) -> Result<Priority, String> {
    let names = Priority::ALL.map(Priority::name).join(", ");
    Priority::named(text).ok_or_else(|| format!("it is one of {names}"))
}

fn length(text: &str) -> Result<Duration, String> {
    overlap(text).map_err(|refused| refused.to_string())
}

/// The ledger's file, and the keys of the config where one was named.
struct Opened {
    path: PathBuf,
    written: KeyRing,
}

impl File {
    fn open(&self) -> Result<Opened, ExitCode> {
        if let Some(path) = &self.ledger {
            return Ok(Opened {
                path: path.clone(),
                written: KeyRing::default(),
            });
        }
        let file = self.config.as_deref().unwrap_or(Path::new(""));
        let text = config::read(file).map_err(|problem| vec![problem]);
        let compiled = text.and_then(|text| reload::compile_with(&text, RoutingTable::compile));
        match compiled {
            Ok((config, table, _)) => Ok(Opened {
                path: ledger(&config, file),
                written: table.keys,
            }),
            Err(problems) => {
                remark(&rendered(&file.display().to_string(), &problems));
                Err(ExitCode::from(EX_CONFIG))
            }
        }
    }
}

fn ledger(config: &Config, file: &Path) -> PathBuf {
    let named = config.ledger.path.clone();
    named.unwrap_or_else(|| place(file))
}

fn now() -> Moment {
    Moment::from(SystemTime::now())
}

/// Makes a key.
pub fn create(asked: Create) -> ExitCode {
    let now = now();
    let expires = asked.expires.as_deref().map(|text| expiry(text, now));
    let expires = match expires.transpose() {
        Ok(expires) => expires,
        Err(refused) => return fail(&refused.to_string()),
    };
    let opened = match asked.file.open() {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    if opened.written.claims(&asked.name) {
        let name = &asked.name;
        return fail(&format!("the configuration has a key \"{name}\""));
    }
    let order = Order {
        name: asked.name,
        expires,
        rights: asked.rights.into(),
    };
    let is_new = !opened.path.exists();
    let made = Store::open(&opened.path).and_then(|mut s| s.create(&order, Actor::Cli, now));
    match made {
        Ok(made) => {
            if is_new {
                elsewhere(&opened.path);
            }
            show(&made, expires, &opened.path, asked.format)
        }
        Err(refused) => failed(&refused, &opened.path),
    }
}

/// A gateway may have its ledger where only it knows: systemd tells its
/// directory to the service and to nobody else.
fn elsewhere(path: &Path) {
    let file = path.display().to_string();
    remark(&format!(
        "There was no ledger {}: it is made. A gateway that runs with another one (under systemd \
         in its state directory) does not see this key; name that one with --ledger.\n",
        printable(&file),
    ));
}

/// Shows a key, this once.
fn show(made: &Made, expires: Option<Moment>, path: &Path, form: Form) -> ExitCode {
    let file = path.display().to_string();
    if form == Form::Json {
        let told = json!({
            "name": made.name,
            "key": made.key.as_str(),
            "expires": expires.map(rfc3339),
            "old_key_until": made.old_until.map(rfc3339),
            "ledger": file,
        });
        return print(&format!("{told:#}\n"));
    }
    if let Some(end) = made.old_until {
        remark(&format!("The old key ends at {}.\n", rfc3339(end)));
    }
    remark(&format!(
        "The key of \"{}\", whose hash is in {}. It is shown this once and stored nowhere:\n{}\n",
        made.name,
        printable(&file),
        made.key.as_str(),
    ));
    ExitCode::SUCCESS
}

fn failed(refused: &Refused, path: &Path) -> ExitCode {
    match refused {
        Refused::File(_) | Refused::Database(_) => {
            let file = path.display().to_string();
            fail(&format!("{}: {refused}", printable(&file)))
        }
        _ => fail(&printable(&refused.to_string())),
    }
}

/// Takes a key back.
pub fn revoke(asked: &Revoke) -> ExitCode {
    let opened = match asked.file.open() {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    match change(&opened, &asked.name, |store| {
        store.revoke(&asked.name, Actor::Cli, now())
    }) {
        Ok(()) => {
            remark(&format!("The key \"{}\" is revoked.\n", asked.name));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Makes another key in the place of one.
pub fn rotate(asked: &Rotate) -> ExitCode {
    let opened = match asked.file.open() {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    match change(&opened, &asked.name, |store| {
        store.rotate(&asked.name, asked.overlap, Actor::Cli, now())
    }) {
        Ok(made) => show(&made, None, &opened.path, asked.format),
        Err(code) => code,
    }
}

/// Changes something about a key of the file, without making one where there is
/// none.
fn change<T>(
    opened: &Opened,
    name: &str,
    change: impl FnOnce(&mut Store) -> Result<T, Refused>,
) -> Result<T, ExitCode> {
    let exists = opened.path.exists();
    let changed = match exists {
        true => Store::open(&opened.path).and_then(|mut store| change(&mut store)),
        false => Err(Refused::Unknown(name.to_owned())),
    };
    changed.map_err(|refused| {
        let code = failed(&refused, &opened.path);
        if matches!(refused, Refused::Unknown(_)) && opened.written.claims(name) {
            remark("It is in the configuration: change it there.\n");
        } else if !exists {
            absent(&opened.path);
        }
        code
    })
}

fn absent(path: &Path) {
    let file = path.display().to_string();
    remark(&format!("There is no ledger {}.\n", printable(&file)));
}

/// Shows all keys.
pub fn list(asked: &List) -> ExitCode {
    let opened = match asked.file.open() {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    if !opened.path.exists() {
        absent(&opened.path);
    }
    let listed = match read_file(&opened.path) {
        Ok(listed) => listed,
        Err(refused) => return failed(&refused, &opened.path),
    };
    let now = now();
    let written = opened.written.written();
    let written = written.map(|who| Shown::config(who, now));
    let runtime = listed.records.iter().map(|record| {
        let is_shadowed = opened.written.claims(&record.name);
        Shown::runtime(record, is_shadowed, now)
    });
    let mut all: Vec<_> = written.chain(runtime).collect();
    all.sort_by(|a, b| (&a.name, a.source).cmp(&(&b.name, b.source)));
    for name in &listed.damaged {
        let name = printable(name);
        remark(&format!(
            "The rights of \"{name}\" are unreadable: it is refused.\n"
        ));
    }
    print(&match asked.format {
        Form::Json => format!("{:#}\n", json!({ "keys": all, "damaged": listed.damaged })),
        Form::Table => table(&all),
    })
}

/// Columns, each as wide as its widest cell.
fn table(keys: &[Shown]) -> String {
    const HEAD: [&str; 8] = [
        "NAME",
        "SOURCE",
        "STATE",
        "TEAM",
        "MODELS",
        "ENDPOINTS",
        "EXPIRES",
        "LIMITS",
    ];
    let row = |key: &Shown| {
        let limits: Vec<_> = key.limits.iter().map(ToString::to_string).collect();
        let or_dash = |text: String| match text.is_empty() {
            true => "-".to_owned(),
            false => printable(&text),
        };
        [
            key.name.clone(),
            key.source.to_owned(),
            key.state.to_owned(),
            or_dash(key.team.clone().unwrap_or_default()),
            or_dash(key.models.join(",")),
            or_dash(key.endpoints.join(",")),
            or_dash(key.expires.clone().unwrap_or_default()),
            or_dash(limits.join(", ")),
        ]
    };
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(keys.iter().map(row));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; HEAD.len()]| {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_columns() {
        let order = Rights {
            limits: vec!["5 usd".parse().unwrap()],
            ..Rights::default()
        };
        let principal = order.principal("a", Some(Moment(0)));
        let shown = table(&[Shown::config(&principal, Moment(1))]);
        assert_eq!(
            shown,
            "NAME  SOURCE  STATE    TEAM  MODELS  ENDPOINTS  EXPIRES               LIMITS\n\
             a     config  expired  -     *       *          1970-01-01T00:00:00Z  5 usd\n"
        );
    }

    #[test]
    fn tags_have_a_name_and_a_value() {
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(tag("a").is_err());
    }
}
