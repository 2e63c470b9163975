//! One `[[price]]` of a file, read key by key so that every problem is told at
//! once, with its row and its key.
//!
//! Amounts are numbers as people write them (`2.5`, `5`, `"0.075"`), and are
//! read as decimal text: the shortest text of a TOML float is what was written,
//! as long as that has at most 15 digits. Longer ones are refused.

use super::price::{IMAGE_TOKENS, Price, Rates, Tier};
use crate::chat::models::{matches, undated};
use crate::units::{Moment, Rate};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use toml::{Table, Value};

/// Models, and what they cost in some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Of models' names, in lower case.
    pub patterns: Vec<String>,
    /// Only for models asked through these; empty: all.
    pub dialects: Vec<String>,
    /// Patterns of the operator's providers, in lower case; empty: all.
    pub providers: Vec<String>,
    /// Where the figures are from.
    pub source: Option<String>,
    /// The day when they were last compared with it, or a word about that.
    pub checked: Option<String>,
    pub price: Arc<Price>,
    /// Rows of a higher layer go before all of a lower one.
    pub layer: usize,
}

/// Layer, is for named providers, letters of the pattern, is for some dialects,
/// the moment from which it holds.
pub(super) type Rank = (usize, bool, usize, bool, Moment);

impl Row {
    /// How specifically it names the model; `None` if it does not.
    /// `provider` and `name` are in lower case.
    pub(super) fn rank(&self, provider: &str, dialect: &str, name: &str) -> Option<Rank> {
        let one_of = |all: &[String], found: &dyn Fn(&str) -> bool| {
            all.is_empty() || all.iter().any(|one| found(one))
        };
        if !one_of(&self.dialects, &|one| one == dialect)
            || !one_of(&self.providers, &|one| matches(one, provider))
        {
            return None;
        }
        self.specificity(name)
    }

    /// The same for whichever provider and dialect.
    pub(super) fn specificity(&self, name: &str) -> Option<Rank> {
        let short = undated(name);
        let named = self.patterns.iter();
        let letters = named
            .filter(|pattern| matches(pattern, name) || matches(pattern, short))
            .map(|pattern| pattern.bytes().filter(|byte| *byte != b'*').count())
            .max()?;
        let (for_providers, for_dialects) = (!self.providers.is_empty(), !self.dialects.is_empty());
        Some((
            self.layer,
            for_providers,
            letters,
            for_dialects,
            self.price.from,
        ))
    }
}

/// What a row or a tier says of the rates, in the order of [`RATES`].
type Said = [Option<Rate>; RATES.len()];

/// Keys, and what they are a price of.
const RATES: [(&str, Unit); 10] = [
    ("input", Unit::Million),
    ("output", Unit::Million),
    ("cached", Unit::Million),
    ("cache_write", Unit::Million),
    ("cache_write_1h", Unit::Million),
    ("reasoning", Unit::Million),
    ("audio_in", Unit::Million),
    ("audio_out", Unit::Million),
    ("image", Unit::One),
    ("request", Unit::One),
];

#[derive(Clone, Copy)]
enum Unit {
    /// Dollars for a million tokens.
    Million,
    /// Dollars for one.
    One,
}

impl Rates {
    /// Each rate with its key, as files have them: dollars for a million tokens;
    /// for one image and one request.
    pub fn written(&self) -> [(&'static str, String); RATES.len()] {
        let all = [
            self.input,
            self.output,
            self.cached,
            self.cache_write,
            self.cache_write_1h,
            self.reasoning,
            self.audio_in,
            self.audio_out,
            self.image,
            self.request,
        ];
        let mut rates = all.into_iter();
        RATES.map(|(key, unit)| {
            let rate = rates.next().unwrap_or_default();
            let text = match unit {
                Unit::Million => rate.to_string(),
                Unit::One => rate.for_one(),
            };
            (key, text)
        })
    }
}

/// What is not said falls back on what is next to it.
fn rates(said: &Said) -> Rates {
    let [
        input,
        output,
        cached,
        write,
        write_1h,
        reasoning,
        audio_in,
        audio_out,
        image,
        request,
    ] = *said;
    let (input, output) = (input.unwrap_or_default(), output.unwrap_or_default());
    let cache_write = write.unwrap_or(input);
    Rates {
        input,
        output,
        cached: cached.unwrap_or(input),
        cache_write,
        cache_write_1h: write_1h.unwrap_or(cache_write),
        reasoning: reasoning.unwrap_or(output),
        audio_in: audio_in.unwrap_or(input),
        audio_out: audio_out.unwrap_or(output),
        image: image.unwrap_or_default(),
        request: request.unwrap_or_default(),
    }
}

/// Reads the rows of a file.
///
/// # Errors
/// All that is wrong, each with its row and key.
pub(super) fn parse(text: &str) -> Result<Vec<Row>, Vec<String>> {
    let mut file: Table = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let mut problems = Vec::new();
    let mut rows = Vec::new();
    match file.remove("price") {
        Some(Value::Array(all)) => {
            for (at, row) in all.into_iter().enumerate() {
                let number = at.saturating_add(1);
                match row {
                    Value::Table(table) => {
                        let mut reader = Reader::new(table, number, &mut problems);
                        rows.extend(reader.row());
                    }
                    _ => problems.push(format!("price number {number}: expected a table")),
                }
            }
        }
        Some(_) => problems.push("price: expected rows, each under [[price]]".to_owned()),
        None => {}
    }
    problems.extend(
        file.keys()
            .map(|key| format!("{key}: unknown; a file of prices has [[price]] only")),
    );
    match problems.is_empty() {
        true => Ok(rows),
        false => Err(problems),
    }
}

/// Reads one row, taking each key out of its table.
struct Reader<'a> {
    table: Table,
    /// The row, for problems.
    place: String,
    problems: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(table: Table, number: usize, problems: &'a mut Vec<String>) -> Self {
        let named = table.get("match").and_then(|names| match names {
            Value::Array(all) => all.first()?.as_str(),
            other => other.as_str(),
        });
        let named = named.map_or_else(String::new, |name| format!(" ({})", name.escape_debug()));
        Self {
            place: format!("price number {number}{named}"),
            table,
            problems,
        }
    }

    fn problem(&mut self, key: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{}: {key}: {what}", self.place));
    }

    fn row(&mut self) -> Option<Row> {
        let before = self.problems.len();
        let patterns = self.names("match");
        if patterns.is_empty() && self.problems.len() == before {
            self.problem("match", "names no model");
        }
        let dialects = self.names("dialects");
        let providers = self.names("providers");
        let (source, checked) = (self.text("source"), self.text("checked"));
        let (from, until) = (self.date("from"), self.date("until"));
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            self.problem("until", "is not after 'from'");
        }
        let max_image_tokens = self.count("max_image_tokens").unwrap_or(IMAGE_TOKENS);
        let bytes_per_token = self.count("bytes_per_token").unwrap_or(1);
        if bytes_per_token == 0 {
            self.problem("bytes_per_token", "a token has at least one byte");
        }
        let tiers = self.table.remove("tiers");
        let mut table = std::mem::take(&mut self.table);
        let said = self.rates(&mut table, "");
        if said.iter().all(Option::is_none) && self.problems.len() == before {
            let what = "no price is given; what costs nothing has input = 0 and output = 0";
            self.problem("input", what);
        }
        self.unknown(&table, "");
        let tiers = self.tiers(tiers, &said);
        if self.problems.len() > before {
            return None;
        }
        let mut price = Price {
            version: Arc::from(""),
            rates: rates(&said),
            tiers,
            max_image_tokens,
            bytes_per_token,
            from: from.unwrap_or_default(),
            until,
        };
        let first = patterns.first().map_or("", String::as_str);
        price.version = version(first, from, &price);
        Some(Row {
            patterns,
            dialects,
            providers,
            source,
            checked,
            price: Arc::new(price),
            layer: 0,
        })
    }

    /// Each tier's rates: where it says nothing, the row's own; where the row
    /// says nothing either, the tier's next to it.
    fn tiers(&mut self, value: Option<Value>, own: &Said) -> Vec<Tier> {
        let mut tiers: Vec<Tier> = Vec::new();
        let all = match value {
            None => return tiers,
            Some(Value::Array(all)) => all,
            Some(_) => {
                self.problem("tiers", "expected tables, each with 'above' and rates");
                return tiers;
            }
        };
        for (at, tier) in all.into_iter().enumerate() {
            let place = format!("tiers[{at}].");
            let Value::Table(mut table) = tier else {
                self.problem(&format!("tiers[{at}]"), "expected a table");
                continue;
            };
            let above = table.remove("above");
            let above = above.as_ref().and_then(Value::as_integer);
            let above = above.and_then(|above| u64::try_from(above).ok());
            let Some(above) = above else {
                let what = "expected a number of input tokens";
                self.problem(&format!("{place}above"), what);
                continue;
            };
            if tiers.last().is_some_and(|last| last.above >= above) {
                let what = "is not above the tier before";
                self.problem(&format!("{place}above"), what);
            }
            let mut said = self.rates(&mut table, &place);
            for (said, own) in said.iter_mut().zip(own) {
                *said = said.or(*own);
            }
            self.unknown(&table, &place);
            let rates = rates(&said);
            tiers.push(Tier { above, rates });
        }
        tiers
    }

    fn rates(&mut self, table: &mut Table, place: &str) -> Said {
        let mut said = Said::default();
        for (slot, (key, unit)) in said.iter_mut().zip(RATES) {
            let Some(value) = table.remove(key) else {
                continue;
            };
            *slot = rate(&value, unit);
            if slot.is_none() {
                let what = match unit {
                    Unit::Million => {
                        "expected dollars for a million, at most 6 digits after the point"
                    }
                    Unit::One => "expected dollars for one, at most 12 digits after the point",
                };
                self.problem(&format!("{place}{key}"), what);
            }
        }
        said
    }

    fn unknown(&mut self, table: &Table, place: &str) {
        for key in table.keys() {
            self.problem(&format!("{place}{key}"), "unknown");
        }
    }

    /// One text or several, in lower case.
    fn names(&mut self, key: &str) -> Vec<String> {
        let all = match self.table.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(all)) => all,
            Some(one) => vec![one],
        };
        let mut names = Vec::new();
        for name in all {
            match name.as_str() {
                Some(name) if !name.is_empty() => names.push(name.to_ascii_lowercase()),
                Some(_) => self.problem(key, "is empty"),
                None => self.problem(key, "expected names"),
            }
        }
        names
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            Value::Datetime(day) => Some(day.to_string()),
            _ => {
                self.problem(key, "expected a text");
                None
            }
        }
    }

    fn date(&mut self, key: &str) -> Option<Moment> {
        let found = match self.table.remove(key)? {
            Value::String(text) => text.parse().ok(),
            Value::Datetime(day) => day.to_string().parse().ok(),
            _ => None,
        };
        if found.is_none() {
            self.problem(key, "expected a date (2026-03-05) or a time in UTC");
        }
        found
    }

    fn count(&mut self, key: &str) -> Option<u64> {
        let value = self.table.remove(key)?;
        let count = value.as_integer().and_then(|n| u64::try_from(n).ok());
        if count.is_none() {
            self.problem(key, "expected a whole number");
        }
        count
    }
}

/// Digits of a float that its shortest text gives back as they were written.
const FLOAT_DIGITS: usize = 15;

fn rate(value: &Value, unit: Unit) -> Option<Rate> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(whole) => whole.to_string(),
        Value::Float(number) => {
            let text = number.to_string();
            let digits = text.bytes().filter(u8::is_ascii_digit);
            let significant = digits.skip_while(|digit| *digit == b'0').count();
            (significant <= FLOAT_DIGITS).then_some(text)?
        }
        _ => return None,
    };
    match unit {
        Unit::Million => text.parse().ok(),
        Unit::One => Rate::of_one(&text).ok(),
    }
}

/// `NAME@DATE#FIGURES`: the last is a part of a hash over all that decides on an
/// amount, so that no two prices ever have the same version.
fn version(pattern: &str, from: Option<Moment>, price: &Price) -> Arc<str> {
    let mut figures = format!("{pattern} {:?} {:?} ", price.from, price.until);
    for rates in price.tiers.iter().map(|tier| &tier.rates) {
        // Writing to a String cannot fail.
        let _ = write!(figures, "{rates:?} ");
    }
    let above: Vec<u64> = price.tiers.iter().map(|tier| tier.above).collect();
    let _ = write!(figures, "{:?} {above:?}", price.rates);
    let hash = Sha256::digest(figures.as_bytes());
    let mut version = pattern.to_owned();
    if let Some(from) = from {
        let time = humantime::format_rfc3339_seconds(from.into()).to_string();
        let day = time.strip_suffix("T00:00:00Z").unwrap_or(&time);
        let _ = write!(version, "@{day}");
    }
    version.push('#');
    for byte in hash.iter().take(4) {
        let _ = write!(version, "{byte:02x}");
    }
    Arc::from(version)
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
