//! `tollgate prices`: what models cost, and where that is known from.

use super::check::rendered;
use super::{EX_CONFIG, fail, print, remark};
use crate::config::{self, Config, printable};
use crate::meter::{self, Book, Price, Row, litellm};
use crate::units::{Moment, NotAMoment};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(clap::Args)]
pub struct Show {
    /// The model, as its provider calls it
    model: String,

    /// The configuration: its files of prices count, and its providers
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,

    /// A file of prices, over those that come with the gateway; may be repeated
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The provider that is asked for the model: a name in `[providers]`
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,

    /// How the provider is asked, where the configuration does not say
    #[arg(long, value_name = "DIALECT", value_parser = DIALECTS, requires = "provider")]
    dialect: Option<String>,

    /// The price at that time: a date, or a time in UTC
    #[arg(long, value_name = "DATE", value_parser = at)]
    at: Option<Moment>,

    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::Args)]
pub struct Import {
    /// The price map, a JSON file
    file: PathBuf,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

const DIALECTS: [&str; 7] = [
    "openai",
    "azure",
    "anthropic",
    "gemini",
    "vertex",
    "bedrock",
    "cohere",
];

fn at(text: &str) -> Result<Moment, String> {
    text.parse().map_err(|e: NotAMoment| e.to_string())
}

/// Prints the rows that price a model.
pub fn show(asked: &Show) -> ExitCode {
    match found(asked) {
        Ok(rows) if rows.is_empty() => {
            let named = printable(&asked.model);
            fail(&format!(
                "no price is known for {named}; give it a row in one of the files of prices.files"
            ))
        }
        Ok(rows) => print(&match asked.format {
            Format::Table => rows
                .iter()
                .map(|row| table(row))
                .collect::<Vec<_>>()
                .join("\n"),
            Format::Json => {
                let all: Vec<Value> = rows.iter().map(|row| object(row)).collect();
                format!("{:#}\n", Value::Array(all))
            }
        }),
        Err(code) => code,
    }
}

fn found(asked: &Show) -> Result<Vec<Arc<Row>>, ExitCode> {
    let config = asked.config.as_deref().map(load).transpose()?;
    let written = config.iter().flat_map(|config| &config.prices.files);
    let book = book(written.chain(&asked.files))?;
    let at = asked.at.unwrap_or_else(|| SystemTime::now().into());
    let Some(provider) = &asked.provider else {
        return Ok(book.naming(&asked.model, at));
    };
    let dialect = match (&asked.dialect, &config) {
        (Some(dialect), _) => dialect.clone(),
        (None, Some(config)) => dialect_of(config, provider)?,
        (None, None) => "openai".to_owned(),
    };
    let row = book.find_row(provider, &dialect, &asked.model, at);
    Ok(row.into_iter().collect())
}

/// Reads a config, and says what is wrong with it.
pub(super) fn load(path: &Path) -> Result<Config, ExitCode> {
    let file = path.display().to_string();
    let (config, problems) = match config::read(path) {
        Ok(text) => {
            let (config, problems) = config::load(&text);
            (config, config::with_lines(&text, problems))
        }
        Err(problem) => (None, vec![problem]),
    };
    remark(&rendered(&file, &problems));
    config.ok_or_else(|| ExitCode::from(EX_CONFIG))
}

/// The dialect's name as the config has it.
pub(super) fn dialect_of(config: &Config, provider: &str) -> Result<String, ExitCode> {
    let Some(found) = config.providers.get(provider) else {
        let named = printable(provider);
        let _ = fail(&format!("the configuration has no provider {named}"));
        return Err(ExitCode::from(EX_CONFIG));
    };
    let name = serde_json::to_value(found.dialect).ok();
    let name = name.and_then(|name| name.as_str().map(str::to_owned));
    Ok(name.unwrap_or_default())
}

/// The prices that come with the gateway, and the files over them.
pub(super) fn book<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Result<Book, ExitCode> {
    let mut book = meter::shipped().map_err(|problem| fail(&problem))?;
    for path in files {
        let file = printable(&path.display().to_string());
        let text = fs::read_to_string(path)
            .map_err(|error| fail(&format!("cannot read {file}: {error}")))?;
        let over = Book::parse(&text).map_err(|problems| {
            for problem in problems {
                remark(&format!("{file}: error: {problem}\n"));
            }
            ExitCode::from(EX_CONFIG)
        })?;
        book = book.overlaid(over);
    }
    Ok(book)
}

/// Prints a map's rows, and says what is not in them.
pub fn import(asked: &Import) -> ExitCode {
    let file = printable(&asked.file.display().to_string());
    let text = match fs::read_to_string(&asked.file) {
        Ok(text) => text,
        Err(error) => return fail(&format!("cannot read {file}: {error}")),
    };
    let done = match litellm::import(&text) {
        Ok(done) => done,
        Err(problem) => return fail(&format!("{file}: {problem}")),
    };
    let code = print(&format!(
        "# From LiteLLM's price map, by tollgate prices import. Check what you bill by.\n\n{}",
        done.toml
    ));
    let mut said = String::new();
    for (name, why) in &done.left_out {
        said.push_str(&format!("left out: {}: {why}\n", printable(name)));
    }
    for (name, what) in &done.partly {
        said.push_str(&format!("without {what}: {}\n", printable(name)));
    }
    remark(&said);
    remark(&format!(
        "{} rows; {} entries left out, {} not in full\n",
        done.rows,
        done.left_out.len(),
        done.partly.len()
    ));
    code
}

fn date(moment: Moment) -> String {
    humantime::format_rfc3339_seconds(moment.into()).to_string()
}

fn table(row: &Row) -> String {
    let price = &row.price;
    let mut lines = vec![
        ("price", price.version.to_string()),
        ("match", row.patterns.join(", ")),
    ];
    let listed = [("dialects", &row.dialects), ("providers", &row.providers)];
    let listed = listed.into_iter().filter(|(_, names)| !names.is_empty());
    lines.extend(listed.map(|(key, names)| (key, names.join(", "))));
    if price.from > Moment::default() {
        lines.push(("from", date(price.from)));
    }
    lines.extend(price.until.map(|until| ("until", date(until))));
    lines.push((
        "image tokens",
        format!("at most {}", price.max_image_tokens),
    ));
    lines.extend(row.source.iter().map(|source| ("source", source.clone())));
    lines.extend(row.checked.iter().map(|day| ("checked", day.clone())));
    let lines = lines
        .iter()
        .map(|(key, value)| format!("{key:<16}{}\n", printable(value)));
    let mut text: String = lines.collect();
    text.push_str(&rates(price));
    text
}

/// A line for each rate; a column for the common prompt and for each longer one.
fn rates(price: &Price) -> String {
    let mut text = String::new();
    let longer: Vec<_> = price
        .tiers
        .iter()
        .map(|tier| tier.rates.written())
        .collect();
    if !longer.is_empty() {
        text.push_str(&format!("{:<16}{:>12}", "input tokens", "any"));
        let heads = price
            .tiers
            .iter()
            .map(|tier| format!("above {}", tier.above));
        text.extend(heads.map(|head| format!("{head:>16}")));
        text.push('\n');
    }
    for (at, (key, own)) in price.rates.written().iter().enumerate() {
        text.push_str(&format!("{key:<16}{own:>12}"));
        for column in &longer {
            let amount = column.get(at).map_or("", |(_, amount)| amount);
            text.push_str(&format!("{amount:>16}"));
        }
        text.push_str(unit(key));
        text.push('\n');
    }
    text
}

fn unit(key: &str) -> &'static str {
    match key {
        "image" | "request" => "  usd each",
        _ => "  usd / million",
    }
}

fn object(row: &Row) -> Value {
    let price = &row.price;
    let rates = |rates: &meter::Rates| -> Value {
        let written = rates.written().into_iter();
        written
            .map(|(key, amount)| (key.to_owned(), Value::from(amount)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let tiers: Vec<Value> = price
        .tiers
        .iter()
        .map(|tier| json!({"above": tier.above, "rates": rates(&tier.rates)}))
        .collect();
    json!({
        "version": &*price.version,
        "match": row.patterns,
        "dialects": row.dialects,
        "providers": row.providers,
        "from": (price.from > Moment::default()).then(|| date(price.from)),
        "until": price.until.map(date),
        "rates": rates(&price.rates),
        "tiers": tiers,
        "max_image_tokens": price.max_image_tokens,
        "bytes_per_token": price.bytes_per_token,
        "source": row.source,
        "checked": row.checked,
    })
}
