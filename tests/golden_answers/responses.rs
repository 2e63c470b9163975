//! A client of OpenAI's Responses, as OpenAI describes them.

use crate::Reading;
use crate::heard::{
    Call, Choice, Heard, Thought, Usage, arguments_are_whole, count, json, list, must, sse, text,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;

fn usage(value: &Value) -> Result<Usage, String> {
    let (prompt, completion) = (
        count(value, "input_tokens")?,
        count(value, "output_tokens")?,
    );
    must!(
        count(value, "total_tokens")? == prompt + completion,
        "the total is no sum: {value}"
    );
    let of_prompt = &value["input_tokens_details"];
    Ok(Usage {
        prompt,
        completion,
        cached: count(of_prompt, "cached_tokens")?,
        cache_write: count(of_prompt, "cache_write_tokens")?,
        reasoning: count(&value["output_tokens_details"], "reasoning_tokens")?,
        ..Usage::default()
    })
}

/// Reads a whole answer, or the one that ends a stream.
pub fn answer(body: &Value) -> Reading {
    must!(
        body["object"] == "response" && text(body, "id").starts_with("resp_"),
        "no response"
    );
    must!(body["model"] == "client-model", "model {}", body["model"]);
    must!(body["created_at"].is_u64(), "no created_at");
    must!(body["error"].is_null(), "an error in an answer");
    for required in [
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "metadata",
        "instructions",
        "temperature",
        "top_p",
    ] {
        must!(body.get(required).is_some(), "no {required}");
    }
    let mut choice = Choice::default();
    let mut sealed = Vec::new();
    for item in list(body, "output") {
        must!(!text(item, "id").is_empty(), "an item without an id");
        take(item, &mut choice, &mut sealed)?;
    }
    must!(sealed.is_empty(), "signatures of no call");
    let reason = text(&body["incomplete_details"], "reason");
    let finish = match (text(body, "status").as_str(), reason.as_str()) {
        ("completed", "") if choice.calls.is_empty() => "stop",
        ("completed", "") => "tool_calls",
        ("incomplete", "max_output_tokens") => "length",
        ("incomplete", "content_filter") => "content_filter",
        (status, reason) => return Err(format!("{status} by {reason}")),
    };
    if finish != "length" {
        arguments_are_whole(&choice.calls)?;
    }
    choice.finish = Some(finish.to_owned());
    Ok(Heard {
        choices: vec![choice],
        usage: Some(&body["usage"])
            .filter(|counts| !counts.is_null())
            .map(usage)
            .transpose()?,
        error: None,
    })
}

/// Adds an item. `sealed`: signatures of calls that are still to come, by the call's id.
fn take(
    item: &Value,
    choice: &mut Choice,
    sealed: &mut Vec<(String, String)>,
) -> Result<(), String> {
    must!(
        ["completed", "incomplete"].contains(&text(item, "status").as_str()),
        "an item's status: {item}"
    );
    match text(item, "type").as_str() {
        "message" => {
            must!(item["role"] == "assistant", "role");
            must!(
                !list(item, "content").is_empty(),
                "a message without content"
            );
            for part in list(item, "content") {
                content(part, choice)?;
            }
        }
        "function_call" => {
            choice.block("call");
            let id = text(item, "call_id");
            let at = sealed.iter().position(|(call, _)| *call == id);
            choice.calls.push(Call {
                name: text(item, "name"),
                arguments: text(item, "arguments"),
                signature: at.map(|at| sealed.remove(at).1),
                id,
            });
        }
        "reasoning" => reasoning(item, choice, sealed)?,
        "image_generation_call" => {
            let (format, data) = (text(item, "output_format"), text(item, "result"));
            must!(!data.is_empty(), "an image without data: {item}");
            choice
                .images
                .push(format!("data:image/{format};base64,{data}"));
        }
        other => return Err(format!("an item of type {other}")),
    }
    Ok(())
}

fn content(part: &Value, choice: &mut Choice) -> Result<(), String> {
    match text(part, "type").as_str() {
        "output_text" => {
            must!(part["annotations"].is_array(), "no annotations");
            choice.block("text");
            choice.text.push_str(&text(part, "text"));
            choice
                .annotations
                .extend(list(part, "annotations").iter().map(|_| Value::Null));
            choice
                .logprobs
                .extend(list(part, "logprobs").iter().map(|one| text(one, "token")));
        }
        "refusal" => {
            choice.block("refusal");
            choice.refusal.push_str(&text(part, "refusal"));
        }
        other => return Err(format!("a part of type {other}")),
    }
    Ok(())
}

/// The summary is for people, the sealed list is what comes back: both tell the same.
fn reasoning(
    item: &Value,
    choice: &mut Choice,
    sealed: &mut Vec<(String, String)>,
) -> Result<(), String> {
    let bytes = STANDARD
        .decode(text(item, "encrypted_content"))
        .map_err(|e| e.to_string())?;
    let entries: Vec<Value> = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    let optional = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
    let mut told = Vec::new();
    for entry in &entries {
        if let Some(call) = optional(entry, "call") {
            sealed.push((call, text(entry, "signature")));
            continue;
        }
        choice.block("thought");
        told.extend(optional(entry, "text").filter(|text| !text.is_empty()));
        choice.thoughts.push(Thought {
            text: text(entry, "text"),
            signature: optional(entry, "signature"),
            redacted: optional(entry, "redacted"),
        });
    }
    let summary: Vec<String> = list(item, "summary")
        .iter()
        .map(|part| text(part, "text"))
        .collect();
    must!(summary == told, "summary {summary:?} is not {told:?}");
    Ok(())
}

/// Reads a stream, which has to keep what OpenAI promises: events numbered from 0, items and parts opened before they
/// grow and closed once, with all that was said in pieces, and one event at the end that repeats all of it.
pub fn stream(stream: &str) -> Reading {
    let mut client = Client::default();
    let mut end = None;
    for (number, (name, data)) in sse(stream)?.into_iter().enumerate() {
        must!(end.is_none(), "after the end: {data}");
        let event = json(&data)?;
        let name = name.ok_or("an event without a name")?;
        must!(
            event["type"] == name.as_str(),
            "{name} is not {}",
            event["type"]
        );
        must!(
            event["sequence_number"] == number,
            "number {}, not {number}",
            event["sequence_number"]
        );
        match name.as_str() {
            "response.completed" | "response.incomplete" => {
                end = Some(client.whole(&name, &event["response"])?);
            }
            "error" => {
                let mut heard = client.cut()?;
                heard.error = Some(event["error"].clone());
                end = Some(heard);
            }
            _ => client.event(number, &name, &event)?,
        }
    }
    end.ok_or_else(|| "no end".to_owned())
}

#[derive(Default)]
struct Client {
    /// Items that are open, by index: what their pieces said so far.
    open: BTreeMap<u64, Growing>,
    items: u64,
    done: BTreeMap<u64, Value>,
}

struct Growing {
    item: Value,
    /// The part that is open.
    part: Option<(Value, String)>,
    parts: Vec<Value>,
    arguments: String,
    annotations: Vec<Value>,
}

impl Client {
    fn event(&mut self, number: usize, name: &str, event: &Value) -> Result<(), String> {
        if number < 2 {
            let first = ["response.created", "response.in_progress"][number];
            must!(
                name == first && event["response"]["status"] == "in_progress",
                "first: {name}"
            );
            must!(
                list(&event["response"], "output").is_empty(),
                "output at the start"
            );
            return Ok(());
        }
        let index = count(event, "output_index")?;
        match name {
            "response.output_item.added" => return self.added(index, &event["item"]),
            "response.output_item.done" => return self.item_done(index, &event["item"]),
            _ => {}
        }
        let item = self.open.get_mut(&index).ok_or("a piece of no item")?;
        must!(
            item.item["id"] == event["item_id"],
            "another item's id: {event}"
        );
        let kind = name.strip_prefix("response.").unwrap_or_default();
        match kind {
            "content_part.added" | "reasoning_summary_part.added" => {
                let place = if kind.starts_with("content") {
                    "content_index"
                } else {
                    "summary_index"
                };
                must!(item.part.is_none(), "a part in a part");
                must!(event[place] == item.parts.len(), "a part's index: {event}");
                item.part = Some((event["part"].clone(), String::new()));
            }
            "output_text.delta" | "refusal.delta" | "reasoning_summary_text.delta" => {
                let (_, said) = item.part.as_mut().ok_or("a delta of no part")?;
                said.push_str(&text(event, "delta"));
            }
            "output_text.annotation.added" => {
                must!(
                    event["annotation_index"] == item.annotations.len(),
                    "an annotation's index"
                );
                item.annotations.push(event["annotation"].clone());
            }
            "output_text.done" | "reasoning_summary_text.done" => {
                item.said(&text(event, "text"))?
            }
            "refusal.done" => item.said(&text(event, "refusal"))?,
            "content_part.done" | "reasoning_summary_part.done" => {
                item.part_done(&event["part"])?
            }
            "function_call_arguments.delta" => item.arguments.push_str(&text(event, "delta")),
            "function_call_arguments.done" => {
                must!(
                    item.arguments == text(event, "arguments"),
                    "other arguments: {event}"
                );
            }
            _ => return Err(format!("an event {name}")),
        }
        Ok(())
    }

    fn added(&mut self, index: u64, item: &Value) -> Result<(), String> {
        must!(index == self.items, "item {index} is not the next");
        must!(
            item["status"] == "in_progress",
            "an item that is not in progress: {item}"
        );
        self.items += 1;
        // Only a call that is not whole may be open beside another item.
        let mut open = self.open.values();
        must!(
            open.all(Growing::is_half_a_call),
            "an item beside one that is not closed: {item}"
        );
        self.open.insert(
            index,
            Growing {
                item: item.clone(),
                part: None,
                parts: Vec::new(),
                arguments: String::new(),
                annotations: Vec::new(),
            },
        );
        Ok(())
    }

    fn item_done(&mut self, index: u64, item: &Value) -> Result<(), String> {
        let open = self.open.remove(&index).ok_or("the end of no item")?;
        must!(open.part.is_none(), "an open part");
        for same in ["id", "type", "call_id", "name"] {
            must!(open.item[same] == item[same], "another {same}: {item}");
        }
        match text(item, "type").as_str() {
            "function_call" => must!(
                open.arguments == text(item, "arguments"),
                "other arguments: {item}"
            ),
            "message" => {
                must!(open.parts == list(item, "content"), "other content: {item}");
                let told: Vec<Value> = list(item, "content")
                    .iter()
                    .flat_map(|part| list(part, "annotations"))
                    .cloned()
                    .collect();
                must!(open.annotations == told, "other annotations: {item}");
            }
            "image_generation_call" => {
                must!(open.item["result"].is_null(), "an image before it is made");
            }
            _ => must!(open.parts == list(item, "summary"), "other summary: {item}"),
        }
        self.done.insert(index, item.clone());
        Ok(())
    }

    fn whole(&self, name: &str, response: &Value) -> Reading {
        must!(self.open.is_empty(), "open items");
        let items: Vec<Value> = self.done.values().cloned().collect();
        must!(
            items == list(response, "output"),
            "the output is not what was streamed"
        );
        must!(
            name == format!("response.{}", text(response, "status")),
            "{name}: {}",
            response["status"]
        );
        answer(response)
    }

    /// What was heard before an error.
    fn cut(&mut self) -> Reading {
        let mut items = self.done.clone();
        for (index, open) in std::mem::take(&mut self.open) {
            items.insert(index, open.cut());
        }
        let mut choice = Choice::default();
        let mut sealed = Vec::new();
        for item in items.values() {
            take(item, &mut choice, &mut sealed)?;
        }
        let begun = !items.is_empty();
        Ok(Heard {
            choices: begun.then_some(choice).into_iter().collect(),
            ..Heard::default()
        })
    }
}

impl Growing {
    fn is_half_a_call(&self) -> bool {
        self.item["type"] == "function_call" && json(&self.arguments).is_err()
    }

    fn said(&self, all: &str) -> Result<(), String> {
        let (_, said) = self.part.as_ref().ok_or("the end of no part")?;
        must!(said == all, "{all:?} is not what was said: {said:?}");
        Ok(())
    }

    fn part_done(&mut self, part: &Value) -> Result<(), String> {
        let (opened, said) = self.part.take().ok_or("the end of no part")?;
        must!(opened["type"] == part["type"], "another part: {part}");
        let all = if part["type"] == "refusal" {
            "refusal"
        } else {
            "text"
        };
        must!(said == text(part, all), "other text: {part}");
        self.parts.push(part.clone());
        Ok(())
    }

    /// The item as far as it came.
    fn cut(mut self) -> Value {
        if let Some((mut part, said)) = self.part.take() {
            let all = if part["type"] == "refusal" {
                "refusal"
            } else {
                "text"
            };
            part[all] = said.into();
            self.parts.push(part);
        }
        self.item["status"] = "incomplete".into();
        self.item["arguments"] = self.arguments.into();
        self.item["content"] = self.parts.clone().into();
        if self.item["type"] == "reasoning" {
            let thoughts: Vec<Value> = self
                .parts
                .iter()
                .map(|part| serde_json::json!({"text": part["text"]}))
                .collect();
            self.item["encrypted_content"] =
                STANDARD.encode(Value::from(thoughts).to_string()).into();
            self.item["summary"] = self.parts.into();
        }
        self.item
    }
}
