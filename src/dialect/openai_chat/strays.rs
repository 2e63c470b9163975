//! What is left of a client's objects when everything with a form has been
//! taken out of them; and how it gets back into a provider's.

use super::options::Options;
use crate::chat::{Conversation, Losses, Message, Place, Stray, Unsupported};
use serde_json::{Map, Value};
use std::collections::HashMap;

type Fields = Map<String, Value>;

/// Members that are left, each with the inner object that it stood in.
#[derive(Debug, Default)]
pub(super) struct Left(Vec<(Option<&'static str>, String, Value)>);

impl Left {
    /// Keeps what is left of an object. What says nothing is not kept.
    pub(super) fn keep(&mut self, within: Option<&'static str>, map: Fields) {
        for (name, value) in map {
            let silent = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            if !silent {
                self.0.push((within, name, value));
            }
        }
    }

    /// Gives everything a place.
    pub(super) fn put(
        self,
        strays: &mut Vec<Stray>,
        place: impl Fn(Option<&'static str>) -> Place,
    ) {
        let placed = self.0.into_iter().map(|(within, name, value)| Stray {
            place: place(within),
            name,
            value,
        });
        strays.extend(placed);
    }
}

/// Inner objects that members are read from.
const WITHIN: [Option<&str>; 5] = [
    None,
    Some("image_url"),
    Some("input_audio"),
    Some("file"),
    Some("function"),
];

/// Writes strays back. Found by their place: a client may send very many.
pub(super) struct Returns<'a> {
    messages: &'a [Message],
    options: Options<'a>,
    placed: HashMap<Place, Vec<&'a Stray>>,
    /// Those of a message's parts, and whole parts.
    in_parts: HashMap<usize, Vec<&'a Stray>>,
}

impl<'a> Returns<'a> {
    pub(super) fn new(asked: &'a Conversation, options: Options<'a>) -> Self {
        let mut placed: HashMap<Place, Vec<&Stray>> = HashMap::new();
        let mut in_parts: HashMap<usize, Vec<&Stray>> = HashMap::new();
        for stray in &asked.strays {
            placed.entry(stray.place).or_default().push(stray);
            if let Place::Part { message, .. } | Place::Whole { message, .. } = stray.place {
                in_parts.entry(message).or_default().push(stray);
            }
        }
        Self {
            messages: &asked.messages,
            options,
            placed,
            in_parts,
        }
    }

    /// Gives an object its members back. What is there already is known better,
    /// but for an echo: the provider's own words have more in them.
    ///
    /// # Errors
    /// Where the route is strict and the provider does not take one.
    pub(super) fn members(
        &self,
        place: impl Fn(Option<&'static str>) -> Place,
        fields: &mut Fields,
        losses: &mut Losses,
    ) -> Result<(), Unsupported> {
        if self.placed.is_empty() {
            return Ok(());
        }
        for within in WITHIN {
            let place = place(within);
            for stray in self.at(place).filter(|_| place.within() == within) {
                let inner = match within {
                    None => Some(&mut *fields),
                    Some(name) => fields.get_mut(name).and_then(Value::as_object_mut),
                };
                match inner {
                    Some(inner) if inner.contains_key(&stray.name) && !stray.is_echo() => {}
                    Some(inner) if self.takes(stray) => {
                        inner.insert(stray.name.clone(), stray.value.clone());
                    }
                    _ if stray.is_echo() || stray.names_tool(self.messages) => {}
                    _ => losses.drop(&stray.field())?,
                }
            }
        }
        Ok(())
    }

    fn at(&self, place: Place) -> impl Iterator<Item = &'a Stray> {
        self.placed.get(&place).into_iter().flatten().copied()
    }

    fn takes(&self, stray: &Stray) -> bool {
        // OpenAI's own on some messages, and so no member beyond them.
        let own = stray.name == "name" && matches!(stray.place, Place::Message(_));
        (own || self.options.takes_member(&stray.name)) && !self.options.drops(&stray.field())
    }

    /// The whole parts that stand before a part of a message.
    pub(super) fn parts(&self, message: usize, before: usize) -> impl Iterator<Item = &'a Value> {
        let place = Place::Whole { message, before };
        self.at(place).map(|stray| &stray.value)
    }

    /// Whether a message has whole parts of other kinds.
    pub(super) fn has_whole(&self, message: usize) -> bool {
        self.in_parts(message).any(Stray::matters)
    }

    /// Whether a message has parts, or members of parts, that are written back.
    pub(super) fn has_parts(&self, message: usize) -> bool {
        self.in_parts(message)
            .any(|stray| stray.matters() || self.takes(stray))
    }

    fn in_parts(&self, message: usize) -> impl Iterator<Item = &'a Stray> {
        self.in_parts.get(&message).into_iter().flatten().copied()
    }

    /// Names what is not written back, because the parts became one text.
    ///
    /// # Errors
    /// Where the route is strict.
    pub(super) fn drop_parts(
        &self,
        message: usize,
        losses: &mut Losses,
    ) -> Result<(), Unsupported> {
        for stray in self.in_parts(message) {
            losses.drop(&stray.field())?;
        }
        Ok(())
    }

    /// Fields of the request itself.
    pub(super) fn top(&self) -> impl Iterator<Item = &'a Stray> {
        self.at(Place::Top)
    }
}
