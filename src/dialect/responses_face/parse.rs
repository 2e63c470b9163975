//! A request: everything but its input items and tools.

use serde_json::{Map, Value};

use super::{input, tools};
use crate::chat::{Conversation, Format, Logprobs, Message, Part, Reasoning};
use crate::error::{ErrorKind, GatewayError};

/// Fields that need a store of earlier answers.
const STATE: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

/// Fields of chat completions that have another name or no place here. OpenAI
/// refuses them as well; to ignore them would change what is asked for.
const CHAT: [(&str, &str); 9] = [
    ("messages", "Use 'input'."),
    ("max_tokens", "Use 'max_output_tokens'."),
    ("max_completion_tokens", "Use 'max_output_tokens'."),
    ("response_format", "Use 'text.format'."),
    ("reasoning_effort", "Use 'reasoning.effort'."),
    ("functions", "Use 'tools'."),
    ("function_call", "Use 'tool_choice'."),
    ("n", "A response is one answer."),
    ("stop", "A response has no stop texts."),
];

pub(super) fn request(body: &[u8]) -> Result<Conversation, GatewayError> {
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        GatewayError::new(ErrorKind::InvalidJson, "The body is not valid JSON.").because(error)
    })?;
    let Value::Object(body) = body else {
        let text = "The body must be a JSON object.";
        return Err(GatewayError::new(ErrorKind::InvalidValue, text));
    };
    let mut fields = Fields::new("", body);
    refuse(&mut fields)?;
    let mut asked = Conversation {
        model: fields.string("model")?.ok_or_else(|| missing("model"))?,
        ..Conversation::default()
    };
    if let Some(text) = fields.string("instructions")? {
        let parts = vec![Part::text(text)];
        asked.messages.push(Message::System { parts });
    }
    let input = fields.take("input").ok_or_else(|| missing("input"))?;
    input::read(input, &mut asked)?;
    tools::read(&mut fields, &mut asked)?;
    text(&mut fields, &mut asked)?;
    reasoning(&mut fields, &mut asked)?;
    logprobs(&mut fields, &mut asked)?;
    scalars(&mut fields, &mut asked)?;
    asked.other.extend(fields.left);
    Ok(asked)
}

fn refuse(fields: &mut Fields) -> Result<(), GatewayError> {
    for name in STATE {
        if fields.take(name).is_some() {
            return Err(invalid(
                name,
                format!(
                    "'{name}' needs stored state, which this model's provider does not offer. Send the whole conversation in 'input'."
                ),
            ));
        }
    }
    if fields.boolean("background")? == Some(true) {
        let text = "'background' needs stored state, which this model's provider does not offer.";
        return Err(invalid("background", text));
    }
    match CHAT
        .iter()
        .find(|(name, _)| fields.left.contains_key(*name))
    {
        Some((name, instead)) => {
            let text = format!("Unknown parameter: '{name}'. {instead}");
            Err(invalid(*name, text))
        }
        None => Ok(()),
    }
}

fn scalars(fields: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    asked.max_tokens = fields.count("max_output_tokens")?;
    asked.sampling.temperature = fields.number("temperature")?;
    asked.sampling.top_p = fields.number("top_p")?;
    asked.sampling.top_k = fields.count("top_k")?;
    asked.parallel_tool_calls = fields.boolean("parallel_tool_calls")?;
    asked.user = fields.string("user")?;
    asked.service_tier = fields.string("service_tier")?;
    asked.metadata = fields.object("metadata")?.unwrap_or_default();
    asked.stream = fields.boolean("stream")?.unwrap_or_default();
    // The last event of a stream always holds the usage.
    asked.include_usage = asked.stream;
    // What is OpenAI's default, or what every answer here is anyway, is no loss.
    if fields.boolean("store")? == Some(true) {
        asked.other.insert("store".into(), true.into());
    }
    match fields.string("truncation")?.as_deref() {
        None | Some("disabled") => {}
        Some(how) => {
            asked.other.insert("truncation".into(), how.into());
        }
    }
    fields.take("stream_options");
    Ok(())
}

fn text(fields: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    let Some(mut text) = fields.inner("text")? else {
        return Ok(());
    };
    if let Some(format) = text.inner("format")? {
        asked.format = self::format(format)?;
    }
    if let Some(verbosity) = text.take("verbosity") {
        asked.other.insert("verbosity".into(), verbosity);
    }
    text.leave("text.", &mut asked.other);
    Ok(())
}

fn format(mut format: Fields) -> Result<Format, GatewayError> {
    let kind = format.string("type")?;
    match kind.as_deref().unwrap_or_default() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let schema = format.object("schema")?;
            Ok(Format::JsonSchema {
                schema: Value::Object(schema.ok_or_else(|| missing("text.format.schema"))?),
                name: format.string("name")?,
                description: format.string("description")?,
                strict: format.boolean("strict")?,
            })
        }
        _ => Err(invalid(
            "text.format.type",
            "It must be 'text', 'json_object' or 'json_schema'.",
        )),
    }
}

fn reasoning(fields: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    let Some(mut said) = fields.inner("reasoning")? else {
        return Ok(());
    };
    let effort = said.string("effort")?;
    let summary = said.string("summary")?;
    let summary = summary.or(said.string("generate_summary")?);
    if effort.is_some() || summary.is_some() {
        asked.reasoning = Some(Reasoning {
            effort,
            budget: None,
            visible: summary.map(|_| true),
        });
    }
    said.leave("reasoning.", &mut asked.other);
    Ok(())
}

/// Asked for by number, or by name in `include`. What else is included is
/// there anyway (thoughts) or belongs to tools that only OpenAI has.
fn logprobs(fields: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    let top = fields.count("top_logprobs")?;
    let mut included = match fields.take("include") {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(invalid("include", "It must be a list of strings.")),
    };
    let wanted = included
        .iter()
        .any(|name| name == "message.output_text.logprobs");
    if wanted || top.is_some_and(|top| top > 0) {
        asked.logprobs = Some(Logprobs { top });
    }
    included.retain(|name| {
        name != "message.output_text.logprobs" && name != "reasoning.encrypted_content"
    });
    if !included.is_empty() {
        asked.other.insert("include".into(), Value::Array(included));
    }
    Ok(())
}

/// An error that names the field at fault.
pub(super) fn invalid(param: impl Into<String>, text: impl Into<String>) -> GatewayError {
    GatewayError::new(ErrorKind::InvalidValue, text.into()).with_param(Some(param))
}

pub(super) fn missing(param: impl Into<String>) -> GatewayError {
    let param = param.into();
    let text = format!("Missing required parameter: '{param}'.");
    invalid(param, text)
}

/// The fields of an object. Those taken are gone; those left nobody knew.
pub(super) struct Fields {
    place: String,
    left: Map<String, Value>,
}

impl Fields {
    /// `place` goes in front of names in errors: `input[2].`.
    pub(super) fn new(place: impl Into<String>, mut fields: Map<String, Value>) -> Self {
        fields.retain(|_, value| !value.is_null());
        Self {
            place: place.into(),
            left: fields,
        }
    }

    /// An object at `place`, which ends without a dot.
    pub(super) fn of(place: &str, value: Value) -> Result<Self, GatewayError> {
        match value {
            Value::Object(fields) => Ok(Self::new(format!("{place}."), fields)),
            _ => Err(invalid(place, "It must be an object.")),
        }
    }

    /// A field's full name.
    pub(super) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.place)
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field)
    }

    fn typed<T>(
        &mut self,
        field: &str,
        kind: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, GatewayError> {
        let wrong = |name: String| invalid(name, format!("It must be {kind}."));
        match self.take(field) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| wrong(self.name(field))),
        }
    }

    pub(super) fn string(&mut self, field: &str) -> Result<Option<String>, GatewayError> {
        self.typed(field, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn required(&mut self, field: &str) -> Result<String, GatewayError> {
        let name = self.name(field);
        self.string(field)?.ok_or_else(|| missing(name))
    }

    pub(super) fn boolean(&mut self, field: &str) -> Result<Option<bool>, GatewayError> {
        self.typed(field, "true or false", |value| value.as_bool())
    }

    pub(super) fn object(
        &mut self,
        field: &str,
    ) -> Result<Option<Map<String, Value>>, GatewayError> {
        self.typed(field, "an object", |value| match value {
            Value::Object(fields) => Some(fields),
            _ => None,
        })
    }

    /// An object's own fields.
    pub(super) fn inner(&mut self, field: &str) -> Result<Option<Self>, GatewayError> {
        let place = format!("{}.", self.name(field));
        Ok(self.object(field)?.map(|fields| Self::new(place, fields)))
    }

    fn number(&mut self, field: &str) -> Result<Option<f64>, GatewayError> {
        self.typed(field, "a number", |value| value.as_f64())
    }

    fn count(&mut self, field: &str) -> Result<Option<u64>, GatewayError> {
        self.typed(field, "a whole number, not negative", |value| {
            value.as_u64()
        })
    }

    /// Hands what is left to the dialect, which drops or refuses it by name.
    pub(super) fn leave(self, prefix: &str, other: &mut Map<String, Value>) {
        for (name, value) in self.left {
            other.insert(format!("{prefix}{name}"), value);
        }
    }
}
