//! The file as a tree whose nodes know their place in the text.
//!
//! serde's errors name a place in the text, not a path; a span of the text
//! identifies a node, so paths are found by looking for the span.

use super::diagnostic::Path;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Error};

/// A place in the text, in bytes.
pub type Span = Range<usize>;

/// A parsed file, or what is left of it.
#[derive(Clone)]
pub struct Document<'t>(DeValue<'t>);

impl<'t> Document<'t> {
    /// # Errors
    /// The first syntax error.
    pub fn parse(text: &'t str) -> Result<Self, Error> {
        Ok(Self(DeValue::Table(DeTable::parse(text)?.into_inner())))
    }

    pub fn root(&self) -> &DeValue<'t> {
        &self.0
    }

    pub fn deserializer(&self) -> toml::de::ValueDeserializer<'t> {
        Spanned::new(0..0, self.0.clone()).into()
    }

    /// The outermost or innermost node with exactly this span. One header can
    /// be the span of an array and of its element.
    pub fn find(&self, span: &Span, innermost: bool) -> Option<Path> {
        find(&self.0, span, innermost, Path::root())
    }

    /// Where the longest part of `path` that exists is in the text.
    pub fn span(&self, path: &Path) -> Option<Span> {
        let mut node = &self.0;
        let mut span = None;
        for segment in &path.0 {
            let (inner, place) = match (node, segment) {
                (DeValue::Table(table), key) => {
                    let Some((key, value)) = table.get_key_value(key.as_str()) else {
                        break;
                    };
                    // A table's value is its header, which is the better place.
                    let place = if value.get_ref().is_table() {
                        value.span()
                    } else {
                        key.span()
                    };
                    (value, place)
                }
                (DeValue::Array(array), index) => {
                    let Some(value) = element(index).and_then(|index| array.get(index)) else {
                        break;
                    };
                    (value, value.span())
                }
                _ => break,
            };
            node = inner.get_ref();
            span = Some(place);
        }
        span
    }

    /// Takes the node out; elements behind it in an array move up.
    pub fn remove(&mut self, path: Path) {
        let Some((parent, last)) = path.split_last() else {
            return;
        };
        match (self.node(&parent), last) {
            (Some(DeValue::Table(table)), key) => {
                table.remove(key.as_str());
            }
            (Some(DeValue::Array(array)), index) => {
                let old = std::mem::replace(array, DeArray::new());
                let kept = old
                    .into_iter()
                    .enumerate()
                    .filter(|(position, _)| Some(*position) != element(&index));
                *array = kept.map(|(_, value)| value).collect();
            }
            _ => {}
        }
    }

    /// Puts an empty string under `key` into the table at `path`.
    pub fn insert(&mut self, path: &Path, key: &str, span: Span) {
        if let Some(DeValue::Table(table)) = self.node(path) {
            let value = DeValue::String(String::new().into());
            table.insert(
                Spanned::new(span.clone(), key.to_owned().into()),
                Spanned::new(span, value),
            );
        }
    }

    fn node(&mut self, path: &Path) -> Option<&mut DeValue<'t>> {
        let mut node = &mut self.0;
        for segment in &path.0 {
            node = match (node, segment) {
                (DeValue::Table(table), key) => table.get_mut(key.as_str())?.get_mut(),
                (DeValue::Array(array), index) => array.get_mut(element(index)?)?.get_mut(),
                _ => return None,
            };
        }
        Some(node)
    }
}

fn find(node: &DeValue<'_>, span: &Span, innermost: bool, path: Path) -> Option<Path> {
    let child = |value: &Spanned<DeValue<'_>>, hit: bool, path: Path| {
        if hit && !innermost {
            return Some(path);
        }
        let deeper = find(value.get_ref(), span, innermost, path.clone());
        deeper.or_else(|| hit.then_some(path))
    };
    match node {
        DeValue::Table(table) => table.iter().find_map(|(key, value)| {
            let hit = key.span() == *span || value.span() == *span;
            child(value, hit, path.clone().then(key.get_ref()))
        }),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(index, value)| {
            child(value, value.span() == *span, path.clone().then(index))
        }),
        _ => None,
    }
}

fn element(segment: &str) -> Option<usize> {
    segment.parse().ok()
}

/// The line, from 1, of a position in bytes.
pub fn line(text: &str, position: usize) -> usize {
    let before = text.as_bytes().iter().take(position);
    1 + before.filter(|byte| **byte == b'\n').count()
}
