//! The order of what a model said in one turn: Claude and Gemini think between
//! texts and calls, and refuse a turn that comes back in another order.
//!
//! Thoughts, parts and calls are apart in a turn, because most readers want one
//! kind of them. An order beside them says which kind comes next; it is empty
//! where a turn has the order of all formats that know none: thoughts, parts,
//! calls. Whatever it says, every item is told once.

use super::{Choice, Medium, Part, Thought, ToolCall, Turn};

/// What comes next in a [`Turn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Thought,
    Part,
    Call,
}

/// One thing of a turn. Parts and calls have their place in their list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    Thought(&'a Thought),
    Part(usize, &'a Part),
    Call(usize, &'a ToolCall),
}

impl Turn {
    pub fn think(&mut self, thought: Thought) {
        self.note(Slot::Thought);
        self.thoughts.push(thought);
    }

    pub fn say(&mut self, part: Part) {
        self.note(Slot::Part);
        self.parts.push(part);
    }

    pub fn call(&mut self, call: ToolCall) {
        self.note(Slot::Call);
        self.calls.push(call);
    }

    /// Writes the order down from the first item on that departs from the
    /// usual one.
    fn note(&mut self, slot: Slot) {
        let usual = match slot {
            Slot::Thought => self.parts.is_empty() && self.calls.is_empty(),
            Slot::Part => self.calls.is_empty(),
            Slot::Call => true,
        };
        if self.order.is_empty() && usual {
            return;
        }
        if self.order.is_empty() {
            let thoughts = self.thoughts.iter().map(|_| Slot::Thought);
            let parts = self.parts.iter().map(|_| Slot::Part);
            let calls = self.calls.iter().map(|_| Slot::Call);
            self.order = thoughts.chain(parts).chain(calls).collect();
        }
        self.order.push(slot);
    }

    /// All that was said, in its order.
    pub fn items(&self) -> Vec<Item<'_>> {
        let mut thoughts = self.thoughts.iter().map(Item::Thought);
        let parts = self.parts.iter().enumerate();
        let mut parts = parts.map(|(at, part)| Item::Part(at, part));
        let calls = self.calls.iter().enumerate();
        let mut calls = calls.map(|(at, call)| Item::Call(at, call));
        let mut items = Vec::with_capacity(thoughts.len() + parts.len() + calls.len());
        for slot in &self.order {
            items.extend(match slot {
                Slot::Thought => thoughts.next(),
                Slot::Part => parts.next(),
                Slot::Call => calls.next(),
            });
        }
        items.extend(thoughts.chain(parts).chain(calls));
        items
    }
}

/// What comes next in a [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Thought,
    /// So many bytes of the text. Two in a row are two texts: what is cited by
    /// the first ends there.
    Text(usize),
    Medium,
    Call,
}

/// One thing of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said<'a> {
    Thought(&'a Thought),
    /// Never empty; `start` is in characters of the whole text.
    Text {
        text: &'a str,
        start: usize,
    },
    Medium(&'a Medium),
    Call(&'a ToolCall),
}

impl Choice {
    /// All that was said, in its order, but for a refusal.
    pub fn items(&self) -> Vec<Said<'_>> {
        let mut thoughts = self.thoughts.iter().map(Said::Thought);
        let mut media = self.media.iter().map(Said::Medium);
        let mut calls = self.calls.iter().map(Said::Call);
        let mut text = Rest {
            text: self.text.as_deref().unwrap_or_default(),
            start: 0,
        };
        let mut items = Vec::new();
        for span in &self.order {
            items.extend(match span {
                Span::Thought => thoughts.next(),
                Span::Text(length) => text.take(*length),
                Span::Medium => media.next(),
                Span::Call => calls.next(),
            });
        }
        items.extend(thoughts);
        items.extend(text.take(usize::MAX));
        items.extend(media.chain(calls));
        items
    }
}

/// What of a text is not told yet.
struct Rest<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<Said<'a>> {
        // A length that is no boundary is none of this text's: all of it, then.
        let split = self.text.split_at_checked(length);
        let (text, rest) = split.unwrap_or((self.text, ""));
        let start = self.start;
        self.text = rest;
        self.start = start.saturating_add(text.chars().count());
        (!text.is_empty()).then_some(Said::Text { text, start })
    }
}

/// Whether spans come as they would without an order.
pub(super) fn is_usual(spans: &[Span]) -> bool {
    let rank = |span: &Span| match span {
        Span::Thought => 0,
        Span::Text(_) => 1,
        Span::Medium => 2,
        Span::Call => 3,
    };
    let texts = spans.iter().filter(|span| matches!(span, Span::Text(_)));
    texts.count() < 2 && spans.is_sorted_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thought(text: &str) -> Thought {
        Thought {
            text: text.to_owned(),
            ..Thought::default()
        }
    }

    fn call(id: &str) -> ToolCall {
        ToolCall {
            id: id.to_owned(),
            ..ToolCall::default()
        }
    }

    fn names(turn: &Turn) -> String {
        let names = turn.items().into_iter().map(|item| match item {
            Item::Thought(thought) => thought.text.clone(),
            Item::Part(_, part) => part.as_text().unwrap_or_default().to_owned(),
            Item::Call(_, call) => call.id.clone(),
        });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_usual_order_is_not_written_down() {
        let mut turn = Turn::default();
        turn.think(thought("t1"));
        turn.say(Part::text("p1"));
        turn.call(call("c1"));
        assert_eq!(turn.order, []);
        assert_eq!(names(&turn), "t1 p1 c1");
    }

    #[test]
    fn another_order_is_kept() {
        let mut turn = Turn::default();
        turn.say(Part::text("p1"));
        turn.think(thought("t1"));
        turn.call(call("c1"));
        turn.think(thought("t2"));
        turn.call(call("c2"));
        assert_eq!(names(&turn), "p1 t1 c1 t2 c2");
    }

    #[test]
    fn every_item_is_told_once_whatever_the_order_says() {
        let turn = Turn {
            thoughts: vec![thought("t1"), thought("t2")],
            parts: vec![Part::text("p1")],
            calls: vec![call("c1")],
            order: vec![Slot::Call, Slot::Call, Slot::Thought],
            name: None,
        };
        assert_eq!(names(&turn), "c1 t1 t2 p1");
    }

    #[test]
    fn texts_of_an_answer_are_cut_where_they_were() {
        let choice = Choice {
            text: Some("äbc".to_owned()),
            calls: vec![call("c")],
            order: vec![Span::Text(2), Span::Call, Span::Text(1)],
            ..Choice::default()
        };
        let text = |text, start| Said::Text { text, start };
        let told = choice.items();
        assert_eq!(told[0], text("ä", 0));
        assert!(matches!(told[1], Said::Call(_)));
        assert_eq!(told[2..], [text("b", 1), text("c", 2)]);
        let torn = Choice {
            order: vec![Span::Text(1), Span::Text(7)],
            ..choice
        };
        assert_eq!(torn.items()[0], text("äbc", 0));
    }
}
