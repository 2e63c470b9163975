//! Thoughts that come inside the content, between `<think>` and `</think>`: of
//! models whose server does not take them out. Only at the beginning of a
//! content: what comes later is an answer that speaks of the tags.

use super::pieces::Piece;
use crate::chat::Thought;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Reads one content, in any pieces.
#[derive(Debug, Default)]
pub(super) struct Tags {
    state: State,
    /// What may be the beginning of a tag.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Inside,
    /// Behind the closing tag: the blank lines there belong to nobody.
    Between,
    Outside,
}

impl Tags {
    /// Takes in the next text.
    pub(super) fn read(&mut self, text: &str, out: &mut Vec<Piece>) {
        self.held.push_str(text);
        while self.step(out) {}
    }

    /// The content is over.
    pub(super) fn end(&mut self, out: &mut Vec<Piece>) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Inside => thought(&held, out),
            State::Between => {}
            State::Start | State::Outside => said(&held, out),
        }
        self.state = State::Outside;
    }

    /// Whether there is more to be done with what is held.
    fn step(&mut self, out: &mut Vec<Piece>) -> bool {
        match self.state {
            State::Start => {
                let text = self.held.trim_start();
                match text.strip_prefix(OPEN) {
                    Some(rest) => {
                        self.held = rest.to_owned();
                        self.state = State::Inside;
                        true
                    }
                    None if OPEN.starts_with(text) => false,
                    None => {
                        self.state = State::Outside;
                        true
                    }
                }
            }
            State::Inside => match self.held.split_once(CLOSE) {
                Some((before, after)) => {
                    thought(before, out);
                    self.held = after.to_owned();
                    self.state = State::Between;
                    true
                }
                None => {
                    let kept = self.held.len().saturating_sub(beginning(&self.held, CLOSE));
                    let (told, kept) = self.held.split_at(kept);
                    thought(told, out);
                    self.held = kept.to_owned();
                    false
                }
            },
            State::Between => {
                let text = self.held.trim_start().to_owned();
                let over = !text.is_empty();
                if over {
                    self.state = State::Outside;
                }
                self.held = text;
                over
            }
            State::Outside => {
                said(&std::mem::take(&mut self.held), out);
                false
            }
        }
    }
}

/// How many bytes at the end of a text may be the beginning of the tag.
fn beginning(text: &str, tag: &str) -> usize {
    (1..tag.len())
        .rev()
        .find(|length| {
            tag.get(..*length)
                .is_some_and(|start| text.ends_with(start))
        })
        .unwrap_or_default()
}

fn thought(text: &str, out: &mut Vec<Piece>) {
    if !text.is_empty() {
        out.push(Piece::Thought(Thought {
            text: text.to_owned(),
            ..Thought::default()
        }));
    }
}

fn said(text: &str, out: &mut Vec<Piece>) {
    if !text.is_empty() {
        out.push(Piece::Text(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thoughts and texts of a content in pieces of a size.
    fn split(content: &str, size: usize) -> (String, String) {
        let (mut tags, mut out) = (Tags::default(), Vec::new());
        let chars: Vec<char> = content.chars().collect();
        for piece in chars.chunks(size) {
            tags.read(&piece.iter().collect::<String>(), &mut out);
        }
        tags.end(&mut out);
        let (mut thoughts, mut texts) = (String::new(), String::new());
        for piece in out {
            match piece {
                Piece::Thought(thought) => thoughts.push_str(&thought.text),
                Piece::Text(text) => texts.push_str(&text),
            }
        }
        (thoughts, texts)
    }

    #[test]
    fn thoughts_are_taken_out_however_the_content_is_cut() {
        for (content, thoughts, text) in [
            ("<think>a</think>\n\nb", "a", "b"),
            ("\n<think>\na < b</think> c <think>", "\na < b", "c <think>"),
            ("no tags </think>", "", "no tags </think>"),
            ("<thing>x", "", "<thing>x"),
            ("<think>cut off </thi", "cut off </thi", ""),
            ("<think></think>\n", "", ""),
            ("<thi", "", "<thi"),
            ("  b", "", "  b"),
            ("", "", ""),
        ] {
            for size in [1, 3, 100] {
                let got = split(content, size);
                assert_eq!(
                    got,
                    (thoughts.to_owned(), text.to_owned()),
                    "{content:?} in pieces of {size}"
                );
            }
        }
    }
}
