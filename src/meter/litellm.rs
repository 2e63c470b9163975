//! The community price map in LiteLLM's JSON form, as rows of ours.
//!
//! `model_prices_and_context_window.json` is one object: an entry for each
//! model, with dollars for one token as JSON numbers (`1.5e-07`). They are read
//! as decimal text, never as floats. Only figures with more digits than a float
//! keeps (`2.9999999999999997e-06`) are rounded, to a picodollar: they are what
//! some program's arithmetic left.
//!
//! What cannot be said in a row is named, never guessed. So is what costs
//! nothing there: that map has zeros for what is free and for what is unknown.

use crate::units::Rate;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What became of a map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// A file of prices: what [`super::Book::parse`] reads.
    pub toml: String,
    pub rows: usize,
    /// Entries without a row, and why.
    pub left_out: Vec<(String, String)>,
    /// Entries whose row does not say everything, and what it leaves out.
    pub partly: Vec<(String, String)>,
}

type Entry<'a> = BTreeMap<String, &'a RawValue>;

/// Costs of one unit, and our keys.
const PLAIN: [(&str, &str); 13] = [
    ("input_cost_per_token", "input"),
    ("output_cost_per_token", "output"),
    ("cache_read_input_token_cost", "cached"),
    ("cache_creation_input_token_cost", "cache_write"),
    (
        "cache_creation_input_token_cost_above_1hr",
        "cache_write_1h",
    ),
    ("output_cost_per_reasoning_token", "reasoning"),
    ("input_cost_per_audio_token", "audio_in"),
    ("output_cost_per_audio_token", "audio_out"),
    ("output_cost_per_image", "image"),
    ("input_cost_per_image_token", "input"),
    ("output_cost_per_image_token", "output"),
    ("input_cost_per_query", "request"),
    ("input_cost_per_request", "request"),
];

/// Ways of asking that have prices of their own: not list prices.
const OTHER_TIERS: [&str; 4] = ["_batches", "_priority", "_flex", "_batch"];

/// Reads a map.
///
/// # Errors
/// When it is no JSON object.
pub fn import(json: &str) -> Result<Imported, String> {
    let map: BTreeMap<String, &RawValue> =
        serde_json::from_str(json).map_err(|error| format!("not a price map: {error}"))?;
    let mut done = Imported::default();
    for (name, raw) in &map {
        if name == "sample_spec" {
            continue;
        }
        let entry = serde_json::from_str::<Entry<'_>>(raw.get());
        match entry.map_err(|_| "not an object".to_owned()) {
            Ok(entry) => match row(name, &entry) {
                Ok((text, rest)) => {
                    done.toml.push_str(&text);
                    done.rows = done.rows.saturating_add(1);
                    if !rest.is_empty() {
                        done.partly.push((name.clone(), rest.join(", ")));
                    }
                }
                Err(why) => done.left_out.push((name.clone(), why)),
            },
            Err(why) => done.left_out.push((name.clone(), why)),
        }
    }
    Ok(done)
}

/// Our keys with their amounts, of the base and of each tier.
type Amounts = BTreeMap<u64, BTreeMap<&'static str, Rate>>;

/// The row of an entry, and its costs that are not in it.
fn row(name: &str, entry: &Entry<'_>) -> Result<(String, Vec<String>), String> {
    let (model, only) = whose(name, entry)?;
    let (amounts, rest) = amounts(entry)?;
    if amounts
        .values()
        .flat_map(BTreeMap::values)
        .all(|rate| *rate == Rate::ZERO)
    {
        return Err(match rest.is_empty() {
            true => "costs nothing there, which may mean that it is unknown".to_owned(),
            false => format!("only {}", rest.join(", ")),
        });
    }
    let mut text = format!("[[price]]\nmatch = [{}]\n{only}", quoted(&model));
    let mut tiers = Vec::new();
    for (above, rates) in &amounts {
        let said = rates.iter().map(|(key, rate)| {
            let amount = match *key {
                "image" | "request" => rate.for_one(),
                _ => rate.to_string(),
            };
            // As text: a float would lose digits of long amounts.
            format!("{key} = \"{amount}\"")
        });
        match above {
            0 => text.extend(said.map(|line| line + "\n")),
            above => {
                let said: Vec<String> = said.collect();
                tiers.push(format!("{{ above = {above}, {} }}", said.join(", ")));
            }
        }
    }
    if !tiers.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "tiers = [{}]", tiers.join(", "));
    }
    let source = string(entry, "source").unwrap_or_else(|| "LiteLLM's price map".to_owned());
    let _ = writeln!(text, "source = {}\n", quoted(&source));
    Ok((text, rest))
}

/// The model's name at its provider, and the keys that restrict the row to it.
fn whose(name: &str, entry: &Entry<'_>) -> Result<(String, String), String> {
    let provider = string(entry, "litellm_provider").ok_or("names no provider")?;
    let family = provider.strip_prefix("text-completion-");
    let family = family.unwrap_or(&provider).split('-').next();
    let family = family.unwrap_or_default();
    let (prefix, only) = match family {
        "openai" => ("openai", "dialects = [\"openai\"]\n".to_owned()),
        "azure" => ("azure", "dialects = [\"azure\"]\n".to_owned()),
        "anthropic" => ("anthropic", "dialects = [\"anthropic\"]\n".to_owned()),
        "bedrock" | "bedrock_converse" => ("bedrock", "dialects = [\"bedrock\"]\n".to_owned()),
        "gemini" => ("gemini", "dialects = [\"gemini\"]\n".to_owned()),
        "vertex_ai" => ("vertex_ai", "dialects = [\"vertex\"]\n".to_owned()),
        "cohere" | "cohere_chat" => ("cohere", "dialects = [\"cohere\"]\n".to_owned()),
        other => {
            let stanza = other.strip_suffix("_ai").unwrap_or(other);
            (
                other,
                format!("providers = [{}]\n", quoted(&format!("{stanza}*"))),
            )
        }
    };
    let model = [provider.as_str(), prefix]
        .into_iter()
        .find_map(|before| name.strip_prefix(before)?.strip_prefix('/'))
        .unwrap_or(name);
    let by_region = matches!(prefix, "bedrock" | "azure") && model.contains('/');
    match model.contains('*') || by_region {
        true => Err("is for a region, a size or a commitment only".to_owned()),
        false => Ok((model.to_owned(), only)),
    }
}

fn amounts(entry: &Entry<'_>) -> Result<(Amounts, Vec<String>), String> {
    let mut amounts = Amounts::new();
    let mut rest = Vec::new();
    for (key, value) in entry {
        if !key.contains("cost") && key != "tiered_pricing" {
            continue;
        }
        if OTHER_TIERS.iter().any(|tier| key.contains(tier)) {
            continue;
        }
        let (plain, above) = tier(key);
        let Some((_, ours)) = PLAIN.iter().find(|(theirs, _)| *theirs == plain) else {
            if !is_nothing(value.get()) {
                rest.push(key.clone());
            }
            continue;
        };
        if value.get() == "null" {
            continue;
        }
        let amount = picos(value.get()).ok_or_else(|| {
            format!(
                "{key} is {}, finer than a picodollar or no amount",
                value.get()
            )
        })?;
        let known = amounts.entry(above).or_default().entry(ours).or_default();
        // Two of theirs may be one of ours: the dearer counts.
        *known = (*known).max(Rate(amount));
    }
    if entry.contains_key("tiered_pricing") {
        return Err("its tiers are in a form of their own".to_owned());
    }
    Ok((amounts, rest))
}

/// `input_cost_per_token_above_200k_tokens`: the key without the tier, and where
/// it begins; 0 for the base.
fn tier(key: &str) -> (&str, u64) {
    let found = key.rsplit_once("_above_").and_then(|(plain, size)| {
        let thousands: u64 = size.strip_suffix("k_tokens")?.parse().ok()?;
        Some((plain, thousands.checked_mul(1_000)?))
    });
    found.unwrap_or((key, 0))
}

/// Zero, null, or an object of such (`search_context_cost_per_query`).
fn is_nothing(json: &str) -> bool {
    json == "null" || picos(json) == Some(0)
}

/// A JSON number of dollars in picodollars, exactly; rounded only where it has
/// more digits than a float keeps. `None` if it is finer, negative, or none.
fn picos(number: &str) -> Option<u64> {
    const FLOAT_DIGITS: usize = 15;
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}");
    let digits = digits.trim_start_matches('0');
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || whole.is_empty() {
        return None;
    }
    let exponent: i64 = exponent.parse().ok()?;
    let places = i64::try_from(part.len()).ok()?;
    // So many zeros to add, or so many digits to take away.
    let shift = exponent.checked_sub(places)?.checked_add(12)?;
    if digits.is_empty() {
        return Some(0);
    }
    if let Ok(zeros) = usize::try_from(shift) {
        return (zeros <= 24)
            .then(|| format!("{digits}{}", "0".repeat(zeros)))?
            .parse()
            .ok();
    }
    let taken = usize::try_from(shift.unsigned_abs()).ok()?;
    let at = digits.len().checked_sub(taken)?;
    let (kept, lost) = digits.split_at_checked(at)?;
    let kept: u64 = if kept.is_empty() {
        0
    } else {
        kept.parse().ok()?
    };
    match lost.trim_end_matches('0').is_empty() {
        true => Some(kept),
        false if digits.len() >= FLOAT_DIGITS => {
            kept.checked_add(u64::from(lost.as_bytes().first() >= Some(&b'5')))
        }
        false => None,
    }
}

fn string(entry: &Entry<'_>, key: &str) -> Option<String> {
    serde_json::from_str(entry.get(key)?.get()).ok()
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
#[path = "litellm_tests.rs"]
mod tests;
