//! A conversation to a `GenerateContentRequest`.

use super::contents::{self, is_levelled};
use super::pieces::Contents;
use super::tools::{self, Entry};
use super::{Flavour, Target};
use crate::chat::{
    Capabilities, Conversation, Format, Losses, Reasoning, SamplingRule, Thinking, Unsupported,
};
use crate::dialect::meaningful;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Options = BTreeMap<String, String>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    /// Only in requests within requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    contents: Vec<Contents<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Contents<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    generation_config: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_settings: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

/// AI Studio counts a request within a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CountWhole<'a> {
    generate_content_request: Body<'a>,
}

impl<'a> Body<'a> {
    pub(super) fn counted_whole(mut self, model: &str) -> CountWhole<'a> {
        let model = model.strip_prefix("models/").unwrap_or(model);
        self.model = Some(format!("models/{model}"));
        CountWhole {
            generate_content_request: self,
        }
    }

    /// Vertex counts what may weigh: it knows no other fields there.
    pub(super) fn counted_parts(self) -> Self {
        Self {
            tool_config: None,
            safety_settings: None,
            labels: Map::new(),
            service_tier: None,
            ..self
        }
    }
}

/// A request's body as bytes.
pub(super) fn bytes(body: &impl Serialize) -> Result<Vec<u8>, Unsupported> {
    serde_json::to_vec(body)
        .map_err(|_| Unsupported::new("messages", "The request cannot be written as JSON."))
}

/// Writes a conversation.
pub(super) fn body<'a>(
    flavour: Flavour,
    asked: &'a Conversation,
    target: Target<'a>,
    losses: &mut Losses,
) -> Result<Body<'a>, Unsupported> {
    others(asked, losses)?;
    let written = contents::write(flavour, target.capabilities, &asked.messages, losses)?;
    let (tools, tool_config) = tools::write(target.capabilities, asked, losses)?;
    let mut config = generation(target.capabilities, asked, losses)?;
    put(&mut config, "mediaResolution", written.media_resolution);
    Ok(Body {
        model: None,
        contents: written.contents,
        system_instruction: written.system,
        tools,
        tool_config,
        generation_config: config,
        safety_settings: safety(target.options)?,
        labels: labels(flavour, asked, target.options, losses)?,
        service_tier: tier(asked, losses)?,
    })
}

/// What the client sent that has no form here.
fn others(asked: &Conversation, losses: &mut Losses) -> Result<(), Unsupported> {
    const TAKEN: [&str; 2] = ["modalities", "audio"];
    meaningful::refuse_but(asked, &TAKEN)?;
    // Hints, names and what the client's own provider keeps.
    for (name, value) in &asked.other {
        // Both are read for the generation's configuration.
        if !TAKEN.contains(&name.as_str()) && meaningful::says(value) {
            losses.drop(name)?;
        }
    }
    if asked.user.is_some() {
        losses.drop("user")?;
    }
    Ok(())
}

/// What the answer may hold, and with which voice it speaks.
fn modalities(
    capabilities: &Capabilities,
    asked: &Conversation,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let list = asked.other.get("modalities").and_then(Value::as_array);
    let mut wanted = Vec::new();
    for modality in list.into_iter().flatten() {
        let able = match modality.as_str().unwrap_or_default() {
            "text" => true,
            "image" => capabilities.image_output,
            "audio" => capabilities.audio_output,
            _ => false,
        };
        if !able {
            let reason = format!("This model does not answer in {modality}.");
            return Err(Unsupported::new("modalities", reason));
        }
        wanted.extend(modality.as_str().map(str::to_ascii_uppercase));
    }
    let speaks = wanted.iter().any(|modality| modality == "AUDIO");
    if wanted.iter().any(|modality| modality != "TEXT") {
        put(config, "responseModalities", Some(wanted));
    }
    match asked.other.get("audio").filter(|audio| !audio.is_null()) {
        None => Ok(()),
        Some(_) if !speaks => {
            let reason = "'audio' needs 'modalities' to hold \"audio\".";
            Err(Unsupported::new("audio", reason))
        }
        Some(audio) => {
            let voice = audio.get("voice").and_then(Value::as_str);
            let config_of =
                |voice| json!({ "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": voice } } });
            put(config, "speechConfig", voice.map(config_of));
            // Google always answers in PCM of 16 bits.
            match audio.get("format").and_then(Value::as_str) {
                None | Some("pcm16") => Ok(()),
                Some(_) => losses.drop("audio.format"),
            }
        }
    }
}

fn generation(
    capabilities: &Capabilities,
    asked: &Conversation,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut config = Map::new();
    sampling(capabilities, asked, &mut config, losses)?;
    put(&mut config, "maxOutputTokens", asked.max_tokens);
    if asked.stop.len() > 5 {
        return Err(Unsupported::new(
            "stop",
            "This model's provider takes five stop texts at most.",
        ));
    }
    // An empty text ends nothing.
    let stop: Vec<&String> = asked.stop.iter().filter(|stop| !stop.is_empty()).collect();
    put(
        &mut config,
        "stopSequences",
        (!stop.is_empty()).then_some(stop),
    );
    match asked.n {
        None | Some(1) => {}
        Some(n @ 2..=8) => put(&mut config, "candidateCount", Some(n)),
        Some(_) => {
            return Err(Unsupported::new(
                "n",
                "This model's provider gives one to eight answers.",
            ));
        }
    }
    if let Some(logprobs) = asked.logprobs {
        put(&mut config, "responseLogprobs", Some(true));
        put(&mut config, "logprobs", logprobs.top.filter(|top| *top > 0));
    }
    format(capabilities, asked, &mut config)?;
    modalities(capabilities, asked, &mut config, losses)?;
    if let Some(reasoning) = &asked.reasoning {
        let thinking = thinking(capabilities, reasoning, losses)?;
        if !thinking.is_empty() {
            put(&mut config, "thinkingConfig", Some(thinking));
        }
    }
    Ok(config)
}

fn sampling(
    capabilities: &Capabilities,
    asked: &Conversation,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let from = &asked.sampling;
    let rule = capabilities.sampling;
    let heat = rule != SamplingRule::None;
    let both = rule == SamplingRule::Free || from.temperature.is_none() && heat;
    let mut draw = |ours, theirs, value: Option<Value>, takes: bool| match value {
        Some(value) if takes => {
            put(config, ours, Some(value));
            Ok(())
        }
        Some(_) => losses.drop(theirs),
        None => Ok(()),
    };
    draw(
        "temperature",
        "temperature",
        from.temperature.map(Value::from),
        heat,
    )?;
    draw("topP", "top_p", from.top_p.map(Value::from), both)?;
    draw("topK", "top_k", from.top_k.map(Value::from), heat)?;
    // A seed is an int32 here.
    let fits = from.seed.is_none_or(|seed| i32::try_from(seed).is_ok());
    draw("seed", "seed", from.seed.map(Value::from), fits)?;
    let presence = from.presence_penalty.map(Value::from);
    draw("presencePenalty", "presence_penalty", presence, true)?;
    let frequency = from.frequency_penalty.map(Value::from);
    draw("frequencyPenalty", "frequency_penalty", frequency, true)?;
    draw("", "logit_bias", from.logit_bias.clone(), false)
}

fn format(
    capabilities: &Capabilities,
    asked: &Conversation,
    config: &mut Map<String, Value>,
) -> Result<(), Unsupported> {
    if asked.format != Format::Text && !asked.tools.is_empty() && !is_levelled(capabilities) {
        let reason = "This model takes a format for its answer only without tools.";
        return Err(Unsupported::new("response_format", reason));
    }
    match &asked.format {
        Format::Text => {}
        Format::JsonObject => put(config, "responseMimeType", Some("application/json")),
        Format::JsonSchema { .. } if !capabilities.json_schema => {
            let reason = "This model does not take a JSON schema for its answer.";
            return Err(Unsupported::new("response_format", reason));
        }
        // A name is for the client's eyes. A description is for the model's.
        Format::JsonSchema {
            description,
            schema,
            ..
        } => {
            let mut schema = schema.clone();
            if let (Some(description), Some(schema)) = (description, schema.as_object_mut()) {
                schema
                    .entry("description")
                    .or_insert_with(|| description.as_str().into());
            }
            put(config, "responseMimeType", Some("application/json"));
            put(config, "responseJsonSchema", Some(schema));
        }
    }
    Ok(())
}

/// `thinkingConfig`: a budget or a level, never both.
fn thinking(
    capabilities: &Capabilities,
    asked: &Reasoning,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut config = Map::new();
    let effort = asked.effort.as_deref();
    if let Some(effort) = effort
        && !EFFORTS.contains(&effort)
    {
        let reason = format!("'{effort}' is no effort that this model's provider knows.");
        return Err(Unsupported::new("reasoning_effort", reason));
    }
    let off = effort.map_or(asked.budget == Some(0), |effort| effort == "none");
    if capabilities.thinking == Thinking::None {
        if !off && effort.is_some() {
            losses.drop("reasoning_effort")?;
        } else if !off && asked.budget.is_some() {
            losses.drop("thinking")?;
        }
        return Ok(config);
    }
    if is_levelled(capabilities) {
        level(capabilities, asked, &mut config, losses)?;
    } else {
        budget(capabilities, asked, off, &mut config, losses)?;
    }
    let thinks = !off && !config.is_empty();
    if asked.visible.unwrap_or(thinks) {
        put(&mut config, "includeThoughts", Some(true));
    }
    Ok(config)
}

/// OpenAI's scale, from the least.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// By a number of tokens. Numbers for efforts are those of Google's own
/// OpenAI layer.
fn budget(
    capabilities: &Capabilities,
    asked: &Reasoning,
    off: bool,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let always = capabilities.thinks_always;
    let by_effort = asked.effort.as_deref().map(|effort| match effort {
        "none" => 0,
        "minimal" if always => 128,
        "minimal" => 512,
        "low" => 1024,
        "medium" => 8192,
        "xhigh" | "max" if always => 32768,
        _ => 24576,
    });
    let mut budget = asked.budget.or(by_effort);
    if off && always && budget == Some(0) {
        losses.drop("reasoning_effort")?;
        budget = Some(128);
    }
    put(config, "thinkingBudget", budget);
    Ok(())
}

/// By a level: the one asked for, or the nearest that the model has.
fn level(
    capabilities: &Capabilities,
    asked: &Reasoning,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let effort = asked
        .effort
        .as_deref()
        .or(asked.budget.map(|budget| match budget {
            0 => "none",
            1..=1024 => "low",
            1025..=8192 => "medium",
            _ => "high",
        }));
    let Some(effort) = effort else {
        return Ok(());
    };
    let place = |name: &str| EFFORTS.iter().position(|known| *known == name);
    let has = |name: &str| {
        let listed =
            capabilities.effort.is_empty() || capabilities.effort.iter().any(|e| e == name);
        listed && !matches!(name, "none" | "max")
    };
    let wanted = place(effort).unwrap_or_default();
    let nearest = EFFORTS
        .iter()
        .filter(|name| has(name))
        .min_by_key(|name| place(name).unwrap_or_default().abs_diff(wanted));
    let Some(nearest) = nearest else {
        return losses.drop("reasoning_effort");
    };
    if *nearest != effort {
        losses.drop("reasoning_effort")?;
    }
    put(config, "thinkingLevel", Some(nearest.to_ascii_uppercase()));
    Ok(())
}

fn tier(asked: &Conversation, losses: &mut Losses) -> Result<Option<&'static str>, Unsupported> {
    Ok(match asked.service_tier.as_deref() {
        None | Some("auto") => None,
        Some("default" | "standard") => Some("standard"),
        Some("flex") => Some("flex"),
        Some("priority") => Some("priority"),
        Some(_) => {
            losses.drop("service_tier")?;
            None
        }
    })
}

fn safety(options: &Options) -> Result<Option<Value>, Unsupported> {
    let Some(text) = options.get("safety_settings") else {
        return Ok(None);
    };
    match serde_json::from_str(text) {
        Ok(settings @ Value::Array(_)) => Ok(Some(settings)),
        _ => Err(Unsupported::new(
            "safety_settings",
            "The gateway's option 'safety_settings' is no JSON list.",
        )),
    }
}

/// Vertex has labels: the operator's, and the client's metadata if all of it
/// can be such.
fn labels(
    flavour: Flavour,
    asked: &Conversation,
    options: &Options,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut labels = Map::new();
    if flavour == Flavour::Vertex && asked.metadata.iter().all(is_label) {
        labels.clone_from(&asked.metadata);
    } else if !asked.metadata.is_empty() {
        losses.drop("metadata")?;
    }
    if flavour == Flavour::Vertex
        && let Some(text) = options.get("labels")
    {
        let fixed: Map<String, Value> = serde_json::from_str(text).map_err(|_| {
            Unsupported::new("labels", "The gateway's option 'labels' is no JSON object.")
        })?;
        labels.extend(fixed);
    }
    Ok(labels)
}

/// At most 63 of lower-case letters, digits, `_` and `-`; a key starts with a
/// letter.
fn is_label((key, value): (&String, &Value)) -> bool {
    let fits = |text: &str| {
        let plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        text.len() <= 63 && text.bytes().all(plain)
    };
    let starts = key.starts_with(|c: char| c.is_ascii_lowercase());
    starts && fits(key) && value.as_str().is_some_and(fits)
}

fn put(config: &mut Map<String, Value>, name: &str, value: Option<impl Serialize>) {
    if let Some(value) = value {
        let value = json!(value);
        if !value.is_null() {
            config.insert(name.to_owned(), value);
        }
    }
}
