//! All prices: which one is a model's, at a provider, at a time.
//!
//! Of the rows that name the model and hold at the moment the most specific
//! counts, whole: nothing is mixed from several. Rows of a later file go before
//! those of an earlier one; then rows for named providers before those for any;
//! then the pattern with more letters; then rows for some dialects before those
//! for all; then the later `from`; then the later row.
//!
//! A model that no row names has no price. That is said as such, never guessed.

use super::price::Price;
use super::row::{self, Row};
use crate::units::Moment;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// The prices that come with the gateway.
pub const SHIPPED: &str = include_str!("../../conf/prices.toml");

static SHIPPED_BOOK: LazyLock<Result<Book, String>> =
    LazyLock::new(|| Book::parse(SHIPPED).map_err(|problems| problems.join("\n")));

/// The prices that come with the gateway, parsed once: copies share the rows.
///
/// # Errors
/// When they are broken, which a test rules out.
pub fn shipped() -> Result<Book, String> {
    SHIPPED_BOOK.clone()
}

/// Names that are remembered with their rows. A client can ask for models that
/// do not exist: the memory is emptied when it is full.
const REMEMBERED: usize = 4_096;
const REMEMBERED_BYTES: usize = 512;

/// Rows that name a model, the most specific first.
type Found = Arc<[Arc<Row>]>;

/// The rows of all files.
#[derive(Debug, Default)]
pub struct Book {
    rows: Vec<Arc<Row>>,
    remembered: RwLock<HashMap<Box<str>, Found>>,
}

impl Clone for Book {
    /// Rows are shared; what was looked up is forgotten.
    fn clone(&self) -> Self {
        Self::of(self.rows.clone())
    }
}

impl Book {
    fn of(rows: Vec<Arc<Row>>) -> Self {
        Self {
            rows,
            remembered: RwLock::default(),
        }
    }

    /// Reads a file of prices.
    ///
    /// # Errors
    /// All that is wrong with it, each with its row and key.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let rows = row::parse(text)?;
        Ok(Self::of(rows.into_iter().map(Arc::new).collect()))
    }

    /// The prices that come with the gateway.
    ///
    /// # Errors
    /// As [`shipped`].
    pub fn shipped() -> Result<Self, String> {
        shipped()
    }

    /// This book with another laid over it: where both name a model, `over` is
    /// right, however specific the rows are.
    #[must_use]
    pub fn overlaid(mut self, over: Self) -> Self {
        let top = self.rows.iter().map(|row| row.layer).max();
        let above = top.map_or(0, |top| top.saturating_add(1));
        self.rows.extend(over.rows.into_iter().map(|row| {
            let layer = row.layer.saturating_add(above);
            Arc::new(Row {
                layer,
                ..Arc::unwrap_or_clone(row)
            })
        }));
        Self::of(self.rows)
    }

    /// The price of `model` at the operator's `provider`, which speaks `dialect`
    /// (`openai`, `azure`, `anthropic`, `gemini`, `vertex`, `bedrock`, `cohere`).
    ///
    /// Cheap enough for every candidate of every request: what was looked up
    /// before is remembered.
    pub fn find(
        &self,
        provider: &str,
        dialect: &str,
        model: &str,
        at: Moment,
    ) -> Option<Arc<Price>> {
        self.find_row(provider, dialect, model, at)
            .map(|row| Arc::clone(&row.price))
    }

    /// The row that [`Book::find`] takes the price from.
    pub fn find_row(
        &self,
        provider: &str,
        dialect: &str,
        model: &str,
        at: Moment,
    ) -> Option<Arc<Row>> {
        let asked = format!("{provider}\0{dialect}\0{model}");
        let remembered = self
            .remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&*asked)
            .map(Arc::clone);
        let found = remembered.unwrap_or_else(|| {
            let found = self.look_up(provider, dialect, model);
            self.remember(asked, &found);
            found
        });
        found.iter().find(|row| row.price.holds(at)).map(Arc::clone)
    }

    fn look_up(&self, provider: &str, dialect: &str, model: &str) -> Found {
        let name = model.to_ascii_lowercase();
        let provider = provider.to_ascii_lowercase();
        let ranked = self.rows.iter().enumerate().filter_map(|(at, row)| {
            let rank = row.rank(&provider, dialect, &name)?;
            Some(((rank, at), row))
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by(|(one, _), (other, _)| other.cmp(one));
        ranked.into_iter().map(|(_, row)| Arc::clone(row)).collect()
    }

    fn remember(&self, asked: String, found: &Found) {
        if asked.len() > REMEMBERED_BYTES {
            return;
        }
        let mut remembered = self
            .remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(asked.into(), Arc::clone(found));
    }

    /// All rows that name the model and hold at the moment, whichever provider is
    /// asked for it and how; the most specific first.
    pub fn naming(&self, model: &str, at: Moment) -> Vec<Arc<Row>> {
        let name = model.to_ascii_lowercase();
        let mut ranked: Vec<_> = self
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.price.holds(at))
            .filter_map(|(number, row)| Some(((row.specificity(&name)?, number), row)))
            .collect();
        ranked.sort_by(|(one, _), (other, _)| other.cmp(one));
        ranked.into_iter().map(|(_, row)| Arc::clone(row)).collect()
    }

    /// All rows, those of earlier files first.
    pub fn rows(&self) -> &[Arc<Row>] {
        &self.rows
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
