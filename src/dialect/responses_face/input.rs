//! The input: a text, or items. Items of one turn of the model (reasoning, a
//! message, calls) become one turn of the conversation.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::parse::{Fields, invalid, missing};
use super::thoughts;
use crate::chat::{
    CacheMark, Content, Conversation, Item, Message, Part, Sealed, Source, Thought, ToolCall, Turn,
};
use crate::error::GatewayError;

pub(super) fn read(input: Value, asked: &mut Conversation) -> Result<(), GatewayError> {
    let items = match input {
        Value::String(text) => {
            let parts = vec![Part::text(text)];
            asked.messages.push(Message::User { parts, name: None });
            return Ok(());
        }
        Value::Array(items) => items,
        _ => return Err(invalid("input", "It must be a string or a list of items.")),
    };
    let mut reader = Reader {
        messages: &mut asked.messages,
        other: &mut asked.other,
        turn: None,
        signatures: BTreeMap::new(),
    };
    for (at, item) in items.into_iter().enumerate() {
        reader.item(Fields::of(&format!("input[{at}]"), item)?)?;
    }
    reader.flush();
    Ok(())
}

struct Reader<'a> {
    messages: &'a mut Vec<Message>,
    other: &'a mut Map<String, Value>,
    /// The model's turn that is being put together.
    turn: Option<Turn>,
    /// Of calls to come, by their ids.
    signatures: BTreeMap<String, Sealed>,
}

impl Reader<'_> {
    fn item(&mut self, mut item: Fields) -> Result<(), GatewayError> {
        let kind = item.string("type")?;
        // Ids and states are OpenAI's bookkeeping.
        item.take("status");
        match kind.as_deref().unwrap_or("message") {
            "message" => self.message(item),
            "reasoning" => self.reasoning(item),
            "function_call" => self.call(item),
            "function_call_output" => self.output(item),
            "image_generation_call" => self.image(item),
            "item_reference" => Err(invalid(
                item.name("type"),
                "'item_reference' needs stored state, which this model's provider does not \
                 offer. Send the item itself.",
            )),
            other => Err(invalid(
                item.name("type"),
                format!("Items of type '{other}' are not supported by this model's provider."),
            )),
        }
    }

    fn message(&mut self, mut item: Fields) -> Result<(), GatewayError> {
        item.take("id");
        let role = item.required("role")?;
        let parts = content(&mut item, "content")?;
        match role.as_str() {
            "user" => self.push(Message::User { parts, name: None }),
            "system" | "developer" => {
                if let Some(at) = parts.iter().position(|part| part.as_text().is_none()) {
                    let place = item.name(&format!("content[{at}]"));
                    return Err(invalid(place, "A message of this role holds text only."));
                }
                self.push(Message::System { parts });
            }
            "assistant" => {
                let turn = self.speaking();
                parts.into_iter().for_each(|part| turn.say(part));
            }
            _ => {
                let text = "It must be 'user', 'assistant', 'system' or 'developer'.";
                return Err(invalid(item.name("role"), text));
            }
        }
        item.leave("input[].", self.other);
        Ok(())
    }

    /// The signed thoughts if they are ours, else what can be read of them.
    fn reasoning(&mut self, mut item: Fields) -> Result<(), GatewayError> {
        item.take("id");
        let sealed = item.string("encrypted_content")?;
        let summary = item.take("summary");
        let content = item.take("content");
        let opened = sealed.as_deref().map(thoughts::open);
        let thoughts = match opened {
            Some(Some(opened)) => {
                self.signatures.extend(opened.calls);
                opened.thoughts
            }
            foreign => {
                if foreign.is_some() {
                    let name = "input[].encrypted_content".to_owned();
                    self.other.insert(name, true.into());
                }
                let content = readable(content.as_ref());
                if content.is_empty() {
                    readable(summary.as_ref())
                } else {
                    content
                }
            }
        };
        for thought in thoughts {
            self.turn.get_or_insert_default().think(thought);
        }
        item.leave("input[].", self.other);
        Ok(())
    }

    fn call(&mut self, mut item: Fields) -> Result<(), GatewayError> {
        item.take("id");
        let id = item.required("call_id")?;
        let call = ToolCall {
            signature: self.signatures.remove(&id),
            id,
            name: item.required("name")?,
            arguments: item.required("arguments")?,
            cache: mark(&mut item)?,
        };
        self.turn.get_or_insert_default().call(call);
        item.leave("input[].", self.other);
        Ok(())
    }

    fn output(&mut self, mut item: Fields) -> Result<(), GatewayError> {
        item.take("id");
        item.take("name");
        let call_id = item.required("call_id")?;
        if !self.was_called(&call_id) {
            let text = "No function call before has this id.";
            return Err(invalid(item.name("call_id"), text));
        }
        let parts = content(&mut item, "output")?;
        self.push(Message::Tool {
            call_id,
            parts,
            is_error: false,
        });
        item.leave("input[].", self.other);
        Ok(())
    }

    fn was_called(&self, id: &str) -> bool {
        let earlier = self.messages.iter().filter_map(|message| match message {
            Message::Assistant(turn) => Some(turn),
            _ => None,
        });
        let mut turns = earlier.chain(&self.turn);
        turns.any(|turn| turn.calls.iter().any(|call| call.id == id))
    }

    /// An image that the model made in an earlier answer.
    fn image(&mut self, mut item: Fields) -> Result<(), GatewayError> {
        item.take("id");
        let format = item.string("output_format")?;
        let source = match (item.string("result")?, item.string("url")?) {
            (Some(data), _) => Source::Inline {
                media_type: format!("image/{}", format.as_deref().unwrap_or("png")),
                data,
            },
            (None, Some(url)) => Source::Url(url),
            (None, None) => return Err(missing(item.name("result"))),
        };
        let detail = None;
        let content = Content::Image { source, detail };
        let cache = None;
        self.turn
            .get_or_insert_default()
            .say(Part { content, cache });
        item.leave("input[].", self.other);
        Ok(())
    }

    /// The turn that a message is added to. A message right after another is a
    /// turn of its own, as the client has it; all else between what others say
    /// is one turn, since the results of its calls must follow all of it.
    fn speaking(&mut self) -> &mut Turn {
        let spoke = |turn: &Turn| matches!(turn.items().last(), Some(Item::Part(..)));
        if self.turn.as_ref().is_some_and(spoke) {
            self.flush();
        }
        self.turn.get_or_insert_default()
    }

    fn push(&mut self, message: Message) {
        self.flush();
        self.messages.push(message);
    }

    fn flush(&mut self) {
        self.messages
            .extend(self.turn.take().map(Message::Assistant));
    }
}

/// The thoughts that a reasoning item holds.
pub(super) fn thoughts(item: &Value) -> Vec<Thought> {
    let sealed = item.get("encrypted_content").and_then(Value::as_str);
    if let Some(opened) = sealed.and_then(thoughts::open) {
        return opened.thoughts;
    }
    let content = readable(item.get("content"));
    if content.is_empty() {
        return readable(item.get("summary"));
    }
    content
}

/// Thoughts without a signature, from `summary` or `content`.
fn readable(list: Option<&Value>) -> Vec<Thought> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|part| part.get("text")?.as_str())
        .filter(|text| !text.is_empty())
        .map(|text| Thought {
            text: text.to_owned(),
            ..Thought::default()
        })
        .collect()
}

/// A string, or a list of parts.
fn content(item: &mut Fields, field: &str) -> Result<Vec<Part>, GatewayError> {
    let place = item.name(field);
    match item.take(field) {
        None => Err(missing(place)),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(list)) => {
            let parts = list.into_iter().enumerate();
            parts
                .map(|(at, value)| part(&format!("{place}[{at}]"), value))
                .collect()
        }
        Some(_) => Err(invalid(place, "It must be a string or a list of parts.")),
    }
}

fn part(place: &str, value: Value) -> Result<Part, GatewayError> {
    let mut part = Fields::of(place, value)?;
    let content = match part.required("type")?.as_str() {
        "input_text" | "output_text" | "text" => Content::Text(part.required("text")?),
        "refusal" => Content::Refusal(part.required("refusal")?),
        "input_image" => image(&mut part)?,
        "input_file" => file(&mut part)?,
        "input_audio" => {
            let audio = part.inner("input_audio")?;
            let mut audio = audio.ok_or_else(|| missing(part.name("input_audio")))?;
            Content::Audio {
                data: audio.required("data")?,
                format: audio.required("format")?,
            }
        }
        other => {
            let text = format!("Parts of type '{other}' are not supported.");
            return Err(invalid(part.name("type"), text));
        }
    };
    Ok(Part {
        content,
        cache: mark(&mut part)?,
    })
}

fn image(part: &mut Fields) -> Result<Content, GatewayError> {
    let source = match (part.string("image_url")?, part.string("file_id")?) {
        (Some(url), _) => Source::from_url(&url),
        (None, Some(id)) => Source::Id(id),
        (None, None) => return Err(missing(part.name("image_url"))),
    };
    let detail = part.string("detail")?;
    Ok(Content::Image { source, detail })
}

fn file(part: &mut Fields) -> Result<Content, GatewayError> {
    let name = part.string("filename")?;
    let data = part.string("file_data")?;
    let place = part.name("file_data");
    let source = match (data, part.string("file_url")?, part.string("file_id")?) {
        (Some(data), _, _) => match Source::from_url(&data) {
            inline @ Source::Inline { .. } => inline,
            _ => return Err(invalid(place, "It must be a data: URL with Base64.")),
        },
        (None, Some(url), _) => Source::Url(url),
        (None, None, Some(id)) => Source::Id(id),
        (None, None, None) => return Err(missing(place)),
    };
    Ok(Content::File { source, name })
}

/// OpenAI's breakpoint, or the mark that clients of other providers know.
fn mark(part: &mut Fields) -> Result<Option<CacheMark>, GatewayError> {
    for field in ["prompt_cache_breakpoint", "cache_control"] {
        if let Some(mut mark) = part.inner(field)? {
            // OpenAI's `30m` and `12h` are nobody else's: the provider's own
            // length stands for the short one, the longest there is for the other.
            let ttl = match mark.string("ttl")?.as_deref() {
                Some("12h" | "1h") => Some("1h".to_owned()),
                Some("5m") => Some("5m".to_owned()),
                _ => None,
            };
            return Ok(Some(CacheMark { ttl }));
        }
    }
    Ok(None)
}
