//! The capability table: what each model can do, read from TOML.
//!
//! A row names models by patterns and says what differs from the rows under
//! it. Every row that matches counts: the least specific first, each next one
//! over it, so that the most specific has the last word on each field. A
//! model that no row knows by name thus takes what its family's row says,
//! which describes the family's newest generation.
//!
//! It does not know providers, only dialects, and it judges nothing: what a
//! row gets wrong is the provider's 400.

use serde::{Deserialize, Deserializer};
use std::sync::{Arc, LazyLock};

use super::{Capabilities, SamplingRule, Thinking};

/// The table that comes with the gateway.
pub const SHIPPED: &str = include_str!("../../conf/tables/models.toml");

static SHIPPED_TABLE: LazyLock<Result<Arc<Table>, String>> =
    LazyLock::new(|| Table::parse(SHIPPED).map(Arc::new));

/// The table that comes with the gateway, read once: reloads share it.
///
/// # Errors
/// When it is broken, which a test rules out.
pub fn shipped() -> Result<Arc<Table>, String> {
    SHIPPED_TABLE.clone()
}

/// Rows, the operator's after those shipped.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    model: Vec<Row>,
}

/// One `[[model]]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    #[serde(rename = "match")]
    pub patterns: Vec<String>,
    /// Empty: all.
    #[serde(default)]
    pub dialects: Vec<String>,
    /// Rows of a higher layer are laid over all of a lower one.
    #[serde(skip)]
    pub layer: usize,
    #[serde(default, deserialize_with = "sampling")]
    pub sampling: Option<SamplingRule>,
    #[serde(default, deserialize_with = "thinking")]
    pub thinking: Option<Thinking>,
    pub effort: Option<Vec<String>>,
    pub thinks_always: Option<bool>,
    pub max_output: Option<u64>,
    pub context: Option<u64>,
    pub prefill: Option<bool>,
    pub mid_system: Option<bool>,
    pub json_schema: Option<bool>,
    pub images: Option<bool>,
    pub audio: Option<bool>,
    pub documents: Option<bool>,
    pub image_output: Option<bool>,
    pub audio_output: Option<bool>,
    pub tools: Option<bool>,
    pub forced_tools: Option<bool>,
    pub parallel_control: Option<bool>,
}

fn sampling<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SamplingRule>, D::Error> {
    Sampling::deserialize(from).map(|said| Some(said.into()))
}

fn thinking<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Thinking>, D::Error> {
    Style::deserialize(from).map(|said| Some(said.into()))
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sampling {
    Free,
    One,
    None,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Style {
    None,
    Budget,
    Adaptive,
    Level,
    Effort,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// What is wrong with it and where, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        for (at, row) in file.model.iter().enumerate() {
            let number = at.saturating_add(1);
            if row.patterns.is_empty() {
                return Err(format!("[[model]] number {number}: 'match' names no model"));
            }
            if row.patterns.iter().any(String::is_empty) {
                return Err(format!(
                    "[[model]] number {number}: 'match' has an empty pattern"
                ));
            }
        }
        Ok(Self::of(file.model))
    }

    /// A table of these rows.
    pub fn of(mut rows: Vec<Row>) -> Self {
        for pattern in rows.iter_mut().flat_map(|row| &mut row.patterns) {
            pattern.make_ascii_lowercase();
        }
        Self { rows }
    }

    /// This table with another laid over it: where both say something of a
    /// model, `over` is right, however specific the rows are.
    #[must_use]
    pub fn overlaid(mut self, over: Self) -> Self {
        let top = self.rows.iter().map(|row| row.layer).max();
        let above = top.map_or(0, |top| top.saturating_add(1));
        self.rows.extend(over.rows.into_iter().map(|mut row| {
            row.layer = row.layer.saturating_add(above);
            row
        }));
        self
    }

    /// What `model`, asked through `dialect`, can do.
    pub fn lookup(&self, dialect: &str, model: &str) -> Capabilities {
        let name = model.to_ascii_lowercase();
        let mut found: Vec<(Rank, &Row)> = self
            .rows
            .iter()
            .filter(|row| row.dialects.is_empty() || row.dialects.iter().any(|d| d == dialect))
            .filter_map(|row| Some((row.rank(&name)?, row)))
            .collect();
        // Stable: of two equals the later row wins.
        found.sort_by_key(|(rank, _)| *rank);
        let mut all = Capabilities::default();
        for (_, row) in found {
            row.lay_over(&mut all);
        }
        all
    }
}

/// Layer, letters of the pattern that are no wildcard, and whether the row is
/// for some dialects only.
type Rank = (usize, usize, bool);

impl Row {
    fn rank(&self, name: &str) -> Option<Rank> {
        let short = undated(name);
        let letters = self
            .patterns
            .iter()
            .filter(|pattern| matches(pattern, name) || matches(pattern, short))
            .map(|pattern| pattern.bytes().filter(|byte| *byte != b'*').count())
            .max()?;
        Some((self.layer, letters, !self.dialects.is_empty()))
    }

    fn lay_over(&self, all: &mut Capabilities) {
        if let Some(sampling) = self.sampling {
            all.sampling = sampling;
        }
        if let Some(thinking) = self.thinking {
            all.thinking = thinking;
        }
        if let Some(effort) = &self.effort {
            all.effort.clone_from(effort);
        }
        all.max_output = self.max_output.or(all.max_output);
        all.context = self.context.or(all.context);
        for (said, known) in [
            (self.thinks_always, &mut all.thinks_always),
            (self.prefill, &mut all.prefill),
            (self.mid_system, &mut all.mid_system),
            (self.json_schema, &mut all.json_schema),
            (self.images, &mut all.images),
            (self.audio, &mut all.audio),
            (self.documents, &mut all.documents),
            (self.image_output, &mut all.image_output),
            (self.audio_output, &mut all.audio_output),
            (self.tools, &mut all.tools),
            (self.forced_tools, &mut all.forced_tools),
            (self.parallel_control, &mut all.parallel_control),
        ] {
            *known = said.unwrap_or(*known);
        }
    }
}

impl From<Sampling> for SamplingRule {
    fn from(said: Sampling) -> Self {
        match said {
            Sampling::Free => Self::Free,
            Sampling::One => Self::One,
            Sampling::None => Self::None,
        }
    }
}

impl From<Style> for Thinking {
    fn from(said: Style) -> Self {
        match said {
            Style::None => Self::None,
            Style::Budget => Self::Budget,
            Style::Adaptive => Self::Adaptive,
            Style::Level => Self::Level,
            Style::Effort => Self::Effort,
        }
    }
}

/// Does `name` match `pattern`, whose `*` stands for any text? In time of
/// their product at worst: only the last star is ever tried again, because a
/// shorter match of an earlier one leaves no less to the later.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(expected) if expected == letter => {
                p += 1;
                n += 1;
            }
            _ => match star.as_mut() {
                Some((at, from)) => {
                    *from += 1;
                    (p, n) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// A model's id without the version and the date at its end:
/// `anthropic.claude-opus-4-1-20250805-v1:0`, `claude-opus-4-1@20250805`,
/// `gpt-4o-2024-08-06`. So a pattern can tell `claude-opus-5` from
/// `claude-opus-5-5`.
pub fn undated(name: &str) -> &str {
    let name = match name.rsplit_once("-v") {
        Some((rest, version)) if is_version(version) => rest,
        _ => name,
    };
    let name = name.strip_suffix("@default").unwrap_or(name);
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if let Some((rest, date)) = name.rsplit_once(['-', '@'])
        && digits(date, 8)
    {
        return rest;
    }
    let mut parts = name.rsplitn(4, '-');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(day), Some(month), Some(year), Some(rest))
            if digits(day, 2) && digits(month, 2) && digits(year, 4) =>
        {
            rest
        }
        _ => name,
    }
}

/// `1`, `1:0`.
fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b':')
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
