//! A client of Chat Completions, as OpenAI describes it.

use crate::Reading;
use crate::heard::{
    Call, Choice, Heard, Thought, Usage, arguments_are_whole, count, json, list, must, sse, text,
};
use serde_json::{Value, json as object};

const FINISHES: [&str; 4] = ["stop", "length", "tool_calls", "content_filter"];

fn usage(value: &Value) -> Result<Usage, String> {
    let (prompt, completion) = (
        count(value, "prompt_tokens")?,
        count(value, "completion_tokens")?,
    );
    must!(
        count(value, "total_tokens")? == prompt + completion,
        "the total is no sum: {value}"
    );
    let (of_prompt, of_completion) = (
        &value["prompt_tokens_details"],
        &value["completion_tokens_details"],
    );
    Ok(Usage {
        prompt,
        completion,
        cached: count(of_prompt, "cached_tokens")?,
        cache_write: count(of_prompt, "cache_write_tokens")?,
        reasoning: count(of_completion, "reasoning_tokens")?,
        audio_in: count(of_prompt, "audio_tokens")?,
        audio_out: count(of_completion, "audio_tokens")?,
    })
}

fn thought(block: &Value) -> Thought {
    let signature = block["signature"].as_str().map(str::to_owned);
    let redacted = block["data"].as_str().map(str::to_owned);
    Thought {
        text: text(block, "thinking"),
        signature,
        redacted,
    }
}

fn call_signature(call: &Value) -> Option<String> {
    let google = &call["extra_content"]["google"]["thought_signature"];
    google.as_str().map(str::to_owned)
}

fn tokens(logprobs: &Value) -> Vec<String> {
    list(logprobs, "content")
        .iter()
        .map(|token| text(token, "token"))
        .collect()
}

fn images(said: &Value) -> Result<Vec<String>, String> {
    let image = |image: &Value| {
        must!(image["type"] == "image_url", "an image's type: {image}");
        Ok(text(&image["image_url"], "url"))
    };
    list(said, "images").iter().map(image).collect()
}

/// Reads a whole answer.
pub fn answer(body: &Value) -> Reading {
    must!(body["object"] == "chat.completion", "object");
    must!(!text(body, "id").is_empty(), "no id");
    must!(body["created"].is_u64(), "no created");
    must!(body["model"] == "client-model", "model {}", body["model"]);
    let mut heard = Heard::default();
    for (at, choice) in list(body, "choices").iter().enumerate() {
        must!(choice["index"] == at, "index {}", choice["index"]);
        must!(choice.get("logprobs").is_some(), "no logprobs");
        heard.choices.push(message(choice)?);
    }
    must!(!heard.choices.is_empty(), "no choices");
    if let Some(counts) = body.get("usage") {
        heard.usage = Some(usage(counts)?);
    }
    Ok(heard)
}

fn message(choice: &Value) -> Result<Choice, String> {
    let message = &choice["message"];
    must!(message["role"] == "assistant", "role");
    for required in ["content", "refusal"] {
        must!(message.get(required).is_some(), "no {required}");
    }
    let silent = text(message, "content").is_empty();
    let called = message.get("tool_calls").is_some();
    must!(
        !called || !silent || message["content"].is_null(),
        "content beside calls only"
    );
    let thinking = text(message, "reasoning_content");
    let mut thoughts: Vec<Thought> = list(message, "thinking_blocks")
        .iter()
        .map(thought)
        .collect();
    let told: String = thoughts
        .iter()
        .map(|thought| thought.text.as_str())
        .collect();
    must!(
        thoughts.is_empty() || told == thinking,
        "blocks and text of thoughts differ"
    );
    if thoughts.is_empty() && !thinking.is_empty() {
        thoughts.push(Thought {
            text: thinking,
            ..Thought::default()
        });
    }
    let mut calls = Vec::new();
    for call in list(message, "tool_calls") {
        must!(call["type"] == "function", "a call's type");
        calls.push(Call {
            id: text(call, "id"),
            name: text(&call["function"], "name"),
            arguments: text(&call["function"], "arguments"),
            signature: call_signature(call),
        });
    }
    let finish = text(choice, "finish_reason");
    must!(FINISHES.contains(&finish.as_str()), "finish {finish}");
    if finish != "length" {
        arguments_are_whole(&calls)?;
    }
    must!(
        (finish == "tool_calls") <= !calls.is_empty(),
        "tool_calls without any"
    );
    must!((finish == "stop") <= calls.is_empty(), "stop, with calls");
    Ok(Choice {
        text: text(message, "content"),
        thoughts,
        refusal: text(message, "refusal"),
        calls,
        annotations: list(message, "annotations").to_vec(),
        images: images(message)?,
        logprobs: tokens(&choice["logprobs"]),
        finish: Some(finish),
        order: Vec::new(),
    })
}

/// Reads a stream, which has to keep what OpenAI promises: the role first and once, one id, time and model, calls
/// counted from 0, nothing after a finish, one usage chunk if it was asked for, and `[DONE]` or an error at the end.
pub fn stream(stream: &str, asked: bool) -> Reading {
    let mut client = Client::default();
    let mut events = sse(stream)?;
    let last = events.pop().ok_or("nothing at all")?;
    for (name, data) in events {
        must!(name.is_none(), "an event with a name");
        must!(data != "[DONE]", "[DONE] is not the last");
        client.chunk(&json(&data)?, asked)?;
    }
    must!(last.0.is_none(), "an event with a name");
    if last.1 == "[DONE]" {
        client.done()?;
    } else {
        let end = json(&last.1)?;
        must!(
            end["error"].is_object(),
            "neither [DONE] nor an error: {end}"
        );
        must!(
            end.as_object().is_some_and(|end| end.len() == 1),
            "more than an error: {end}"
        );
        for key in ["message", "type", "param", "code"] {
            must!(end["error"].get(key).is_some(), "an error without {key}");
        }
        client.heard.error = Some(end["error"].clone());
    }
    Ok(client.heard)
}

#[derive(Default)]
struct Client {
    /// Id, time, model.
    head: Option<[Value; 3]>,
    heard: Heard,
    /// The choices that have their role.
    roles: usize,
    /// How much of the last thought no block repeated.
    thinking: Vec<String>,
}

impl Client {
    fn chunk(&mut self, chunk: &Value, asked: bool) -> Result<(), String> {
        must!(chunk.get("error").is_none(), "an error is not the last");
        must!(chunk["object"] == "chat.completion.chunk", "object");
        let head = ["id", "created", "model"].map(|name| chunk[name].clone());
        must!(
            head.iter().all(|value| !value.is_null() && value != ""),
            "no head: {chunk}"
        );
        must!(
            *self.head.get_or_insert(head.clone()) == head,
            "another head: {chunk}"
        );
        must!(self.heard.usage.is_none(), "after the usage: {chunk}");
        let choices = chunk["choices"].as_array().ok_or("no choices")?;
        match chunk.get("usage") {
            Some(Value::Null) => must!(
                asked && choices.len() == 1,
                "usage: null, or no choice: {chunk}"
            ),
            Some(counts) => {
                must!(
                    asked && choices.is_empty(),
                    "usage that nobody asked for, or beside choices: {chunk}"
                );
                self.heard.usage = Some(usage(counts)?);
            }
            None => must!(!asked && choices.len() == 1, "no usage: {chunk}"),
        }
        choices.iter().try_for_each(|choice| self.choice(choice))
    }

    fn choice(&mut self, part: &Value) -> Result<(), String> {
        let index = usize::try_from(count(part, "index")?).map_err(|e| e.to_string())?;
        must!(
            index <= self.roles,
            "choice {index} before those that come first"
        );
        let delta = part["delta"].as_object().ok_or("no delta")?;
        must!(part.get("finish_reason").is_some(), "no finish_reason");
        if index == self.roles {
            must!(
                delta.get("role").is_some_and(|role| role == "assistant"),
                "the role is not the first: {part}"
            );
            self.roles += 1;
            self.heard.choices.push(Choice::default());
            self.thinking.push(String::new());
        } else {
            must!(!delta.contains_key("role"), "a second role");
        }
        let choice = &mut self.heard.choices[index];
        must!(choice.finish.is_none(), "after the finish: {part}");
        for (name, value) in delta {
            said(choice, &mut self.thinking[index], name, value)?;
        }
        choice.logprobs.extend(tokens(&part["logprobs"]));
        if let Some(finish) = part["finish_reason"].as_str() {
            must!(FINISHES.contains(&finish), "finish {finish}");
            must!(delta.is_empty(), "a finish with a delta: {part}");
            choice.finish = Some(finish.to_owned());
        }
        Ok(())
    }

    fn done(&self) -> Result<(), String> {
        must!(self.roles > 0, "[DONE] after nothing");
        for choice in &self.heard.choices {
            let finish = choice.finish.as_deref().ok_or("[DONE] without a finish")?;
            if finish != "length" {
                arguments_are_whole(&choice.calls)?;
            }
            must!(
                (finish == "tool_calls") <= !choice.calls.is_empty(),
                "tool_calls without any"
            );
            must!(
                (finish == "stop") <= choice.calls.is_empty(),
                "stop, with calls"
            );
        }
        Ok(())
    }
}

fn said(
    choice: &mut Choice,
    thinking: &mut String,
    name: &str,
    value: &Value,
) -> Result<(), String> {
    let said = value.as_str().unwrap_or_default();
    match name {
        "role" => {}
        "content" => {
            choice.text.push_str(said);
            if !said.is_empty() {
                choice.block("text");
            }
        }
        "refusal" => {
            choice.refusal.push_str(said);
            choice.block("refusal");
        }
        "reasoning_content" => {
            if thinking.is_empty() {
                choice.thoughts.push(Thought::default());
                choice.block("thought");
            }
            thinking.push_str(said);
            choice.thoughts.last_mut().unwrap().text.push_str(said);
        }
        "thinking_blocks" => blocks(choice, thinking, value)?,
        "tool_calls" => {
            for call in value.as_array().ok_or("tool_calls")? {
                piece(choice, call)?;
            }
        }
        "images" => choice.images.extend(images(&object!({ "images": value }))?),
        "annotations" => choice
            .annotations
            .extend(value.as_array().cloned().unwrap_or_default()),
        other => return Err(format!("a delta's {other}")),
    }
    Ok(())
}

/// A block repeats the thought that it signs.
fn blocks(choice: &mut Choice, thinking: &mut String, value: &Value) -> Result<(), String> {
    for block in value.as_array().ok_or("thinking_blocks")? {
        let read = thought(block);
        if read.redacted.is_some() {
            choice.block("thought");
            choice.thoughts.push(read);
            continue;
        }
        must!(
            read.text == *thinking,
            "a block of another thought: {block}"
        );
        if thinking.is_empty() {
            choice.block("thought");
        } else {
            choice.thoughts.pop();
        }
        choice.thoughts.push(read);
        thinking.clear();
    }
    Ok(())
}

fn piece(choice: &mut Choice, call: &Value) -> Result<(), String> {
    let index = usize::try_from(count(call, "index")?).map_err(|e| e.to_string())?;
    must!(index <= choice.calls.len(), "call {index} is not the next");
    let function = &call["function"];
    if index == choice.calls.len() {
        must!(call["type"] == "function", "no type: {call}");
        choice.block("call");
        choice.calls.push(Call {
            id: text(call, "id"),
            name: text(function, "name"),
            arguments: String::new(),
            signature: call_signature(call),
        });
    } else {
        let again = call.get("id").is_some() || function.get("name").is_some();
        must!(!again, "a call starts twice: {call}");
    }
    must!(function["arguments"].is_string(), "no arguments: {call}");
    choice.calls[index]
        .arguments
        .push_str(&text(function, "arguments"));
    Ok(())
}
