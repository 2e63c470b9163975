//! How many tokens a conversation has, where nobody can be asked.
//!
//! An estimate, and nothing but that: every model cuts texts in its own way.
//! It is made of bytes and scripts alone, the same for the same conversation at
//! any time, and rather too high than too low, because it is asked for to know
//! what fits.
//!
//! | what | tokens |
//! | --- | --- |
//! | texts, arguments, tools (as JSON) | per character, by script |
//! | a message, a call | 4 |
//! | a tool | 12 |
//! | an image | 1,600, Anthropic's largest; 85 with `detail: "low"`, as OpenAI has it |
//! | a document that is text | its text |
//! | any other document | 2,000 for each started 50 kB: a page; one page where only its address is known |
//! | audio | 1 per 1,000 bytes, as Gemini counts 16 kHz |
//! | a thought that only its provider can read | a quarter of its characters |

use super::{Content, Conversation, Format, Message, Part, Source, Thought, Tool, ToolCall};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const MESSAGE: u64 = 4;
const TOOL: u64 = 12;
const IMAGE: u64 = 1_600;
const IMAGE_LOW: u64 = 85;
const PAGE: u64 = 2_000;
const PAGE_BYTES: usize = 50_000;
const AUDIO_BYTES: usize = 1_000;

/// Input tokens of a conversation.
pub fn tokens(asked: &Conversation) -> u64 {
    let messages: u64 = asked.messages.iter().map(message).sum();
    let tools: u64 = asked.tools.iter().map(tool).sum();
    let format = match &asked.format {
        Format::Text | Format::JsonObject => 0,
        Format::JsonSchema { schema, .. } => json(schema),
    };
    messages.saturating_add(tools).saturating_add(format)
}

fn message(message: &Message) -> u64 {
    let said = match message {
        Message::System { parts } | Message::User { parts, .. } | Message::Tool { parts, .. } => {
            parts.iter().map(part).sum()
        }
        Message::Assistant(turn) => {
            let thoughts: u64 = turn.thoughts.iter().map(thought).sum();
            let parts: u64 = turn.parts.iter().map(part).sum();
            let calls: u64 = turn.calls.iter().map(call).sum();
            thoughts + parts + calls
        }
    };
    said.saturating_add(MESSAGE)
}

fn part(part: &Part) -> u64 {
    match &part.content {
        Content::Text(said) | Content::Refusal(said) => text(said),
        Content::Image { detail, .. } => match detail.as_deref() {
            Some("low") => IMAGE_LOW,
            _ => IMAGE,
        },
        Content::Audio { data, .. } => started(decoded_len(data), AUDIO_BYTES),
        Content::File { source, .. } => document(source),
    }
}

fn document(source: &Source) -> u64 {
    match source {
        Source::Inline { media_type, data } if media_type.starts_with("text/") => {
            let bytes = STANDARD.decode(data).unwrap_or_default();
            text(&String::from_utf8_lossy(&bytes))
        }
        Source::Inline { data, .. } => PAGE * started(decoded_len(data), PAGE_BYTES),
        Source::Url(_) | Source::Id(_) => PAGE,
    }
}

fn thought(thought: &Thought) -> u64 {
    let sealed = thought.redacted.as_ref().map_or(0, |data| data.text.len());
    text(&thought.text).saturating_add(started(sealed, 4))
}

fn call(call: &ToolCall) -> u64 {
    text(&call.name) + text(&call.arguments) + MESSAGE
}

fn tool(tool: &Tool) -> u64 {
    if let Some(foreign) = &tool.foreign {
        return json(foreign).saturating_add(TOOL);
    }
    let description = tool.description.as_deref().map_or(0, text);
    let parameters = tool.parameters.as_ref().map_or(0, json);
    text(&tool.name) + description + parameters + TOOL
}

fn json(value: &Value) -> u64 {
    text(&value.to_string())
}

/// Bytes that Base64 stands for.
fn decoded_len(base64: &str) -> usize {
    base64.len() / 4 * 3
}

fn started(count: usize, size: usize) -> u64 {
    count.div_ceil(size) as u64
}

/// Tokens of a text: the sum of its characters', in hundredths, rounded up.
fn text(text: &str) -> u64 {
    let hundredths: u64 = text.chars().map(|c| u64::from(weight(c))).sum();
    hundredths.div_ceil(100)
}

/// Hundredths of a token that a character counts for. Against OpenAI's
/// tokenizers (o200k, cl100k): English, code and JSON come out between 4 % less
/// and 20 % more; other scripts up to twice as much as the newer one says, and
/// close to the older one, which most open models resemble.
const fn weight(c: char) -> u8 {
    match c {
        'a'..='z' | 'A'..='Z' => 24,
        ' ' | '\t' | '\n' | '\r' => 18,
        '0'..='9' => 45,
        // Punctuation, of code and JSON above all.
        '\u{0}'..='\u{7f}' => 60,
        // Latin with marks.
        '\u{80}'..='\u{36f}' => 45,
        // Greek and Cyrillic.
        '\u{370}'..='\u{52f}' => 50,
        // Armenian to the scripts of India and the south-east of Asia.
        '\u{530}'..='\u{10ff}' => 80,
        // Han, kana, Hangul.
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{d7ff}' | '\u{f900}'..='\u{ffef}' => 115,
        '\u{1200}'..='\u{2e7f}' => 100,
        // Emoji, and what is rare.
        _ => 200,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Origin, Sealed, Turn};

    fn of(parts: Vec<Part>) -> u64 {
        let messages = vec![Message::User { parts, name: None }];
        tokens(&Conversation {
            messages,
            ..Conversation::default()
        })
    }

    /// What OpenAI's o200k_base makes of the same text, and ours.
    #[test]
    fn texts_come_close_to_a_real_tokenizer_and_rather_over_than_under() {
        for (said, counted) in [
            (
                "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.",
                31,
            ),
            (
                "Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung aller staatlichen Gewalt.",
                22,
            ),
            (
                "Все люди рождаются свободными и равными в своем достоинстве и правах.",
                15,
            ),
            ("人人生而自由，在尊严和权利上一律平等。", 15),
            (
                r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#,
                18,
            ),
        ] {
            let ours = text(said);
            assert!(
                (counted * 9 / 10..=counted * 11 / 5).contains(&ours),
                "{ours} for {counted}: {said}"
            );
        }
    }

    #[test]
    fn everything_of_a_prompt_counts() {
        let inline = |media_type: &str, data: &str| Content::File {
            source: Source::Inline {
                media_type: media_type.to_owned(),
                data: data.to_owned(),
            },
            name: None,
        };
        let image = |detail: Option<&str>| Content::Image {
            source: Source::Url("https://x/y.png".to_owned()),
            detail: detail.map(str::to_owned),
        };
        for (content, expected) in [
            (Content::Text("word".to_owned()), 1),
            (Content::Text(String::new()), 0),
            (image(None), IMAGE),
            (image(Some("low")), IMAGE_LOW),
            (inline("text/plain", "d29yZA=="), 1),
            (inline("application/pdf", &"A".repeat(80_000)), 2 * PAGE),
            (
                Content::Audio {
                    data: "A".repeat(4_000),
                    format: "wav".to_owned(),
                },
                3,
            ),
        ] {
            let said = format!("{content:?}").chars().take(80).collect::<String>();
            let part = Part {
                content,
                cache: None,
            };
            assert_eq!(of(vec![part]), MESSAGE + expected, "{said}");
        }
        let turn = Turn {
            calls: vec![ToolCall {
                name: "word".to_owned(),
                arguments: "{}".to_owned(),
                ..ToolCall::default()
            }],
            thoughts: vec![Thought {
                redacted: Some(Sealed::new(Origin::Claude, "A".repeat(40))),
                ..Thought::default()
            }],
            ..Turn::default()
        };
        let asked = Conversation {
            messages: vec![Message::Assistant(turn)],
            tools: vec![Tool {
                name: "word".to_owned(),
                ..Tool::default()
            }],
            ..Conversation::default()
        };
        assert_eq!(
            tokens(&asked),
            MESSAGE + (1 + 2 + MESSAGE) + 10 + (1 + TOOL)
        );
    }
}
