//! The order in which events may come: what every decoder keeps and every encoder relies on.

use std::collections::BTreeMap;
use tollgate::chat::Event;

/// What is known of a choice.
#[derive(Debug, Default)]
struct Choice {
    /// Bytes of arguments, by the call's number.
    calls: BTreeMap<u32, usize>,
    finished: bool,
}

/// Panics where the events of one stream are out of order.
pub fn check(events: &[Event]) {
    let mut choices: BTreeMap<u32, Choice> = BTreeMap::new();
    let (mut started, mut over) = (false, false);
    for event in events {
        assert!(!over, "{event:?} after the last event of {events:?}");
        match event {
            Event::Start { .. } => {
                assert!(!started, "a second start in {events:?}");
                started = true;
            }
            Event::Ping => {}
            Event::Failed(failure) => {
                assert!((400..600).contains(&failure.status), "{failure:?}");
                over = true;
            }
            Event::End => {
                let whole = |choice: &Choice| choice.finished;
                assert!(!choices.is_empty(), "an end without an answer");
                assert!(
                    choices.values().all(whole),
                    "an end without a finish in {events:?}"
                );
                over = true;
            }
            // They are of no choice, and may be all that a provider's first chunk has.
            Event::Usage(_) | Event::Other(_) => {}
            event => {
                assert!(started, "no start before {event:?}");
                let choice = choices.entry(choice(event)).or_default();
                assert!(!choice.finished, "{event:?} after the finish in {events:?}");
                take(choice, event);
            }
        }
    }
}

fn take(choice: &mut Choice, event: &Event) {
    match event {
        Event::CallStart { call, .. } => {
            let twin = choice.calls.insert(*call, 0);
            assert!(twin.is_none(), "a call started twice: {event:?}");
        }
        Event::CallArguments { call, text, .. } => match choice.calls.get_mut(call) {
            Some(length) => *length += text.len(),
            None => panic!("arguments of no call: {event:?}"),
        },
        Event::Finish { .. } => {
            choice.finished = true;
            let silent = choice.calls.values().any(|length| *length == 0);
            assert!(!silent, "a call without arguments");
            let count = u32::try_from(choice.calls.len()).expect("few calls");
            let last = choice.calls.keys().next_back();
            assert!(
                last.is_none_or(|last| *last < count),
                "calls do not count from 0"
            );
        }
        _ => {}
    }
}

/// Which choice an event is of; what belongs to none is counted to the first.
pub fn choice(event: &Event) -> u32 {
    event.choice().unwrap_or_default()
}

/// The events with texts that follow each other joined: where a text is cut means nothing.
pub fn joined(events: Vec<Event>) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    for event in events {
        let same = match (all.last_mut(), &event) {
            (
                Some(Event::Text { choice, text }),
                Event::Text {
                    choice: c,
                    text: more,
                },
            )
            | (
                Some(Event::Thought { choice, text }),
                Event::Thought {
                    choice: c,
                    text: more,
                },
            )
            | (
                Some(Event::Refusal { choice, text }),
                Event::Refusal {
                    choice: c,
                    text: more,
                },
            ) if choice == c => {
                text.push_str(more);
                true
            }
            (
                Some(Event::CallArguments { choice, call, text }),
                Event::CallArguments {
                    choice: c,
                    call: number,
                    text: more,
                },
            ) if choice == c && call == number => {
                text.push_str(more);
                true
            }
            _ => false,
        };
        if !same {
            all.push(event);
        }
    }
    all
}

/// All that was said in one choice, each kind joined.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub refusal: String,
    pub thought: String,
    /// Arguments of the calls, in the order in which they started.
    pub calls: Vec<String>,
}

/// What events say, by choice.
pub fn said(events: &[Event]) -> BTreeMap<u32, Said> {
    let mut all: BTreeMap<u32, Said> = BTreeMap::new();
    let mut order: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for event in events {
        let index = choice(event);
        match event {
            Event::Text { text, .. } => all.entry(index).or_default().text.push_str(text),
            Event::Refusal { text, .. } => all.entry(index).or_default().refusal.push_str(text),
            Event::Thought { text, .. } => all.entry(index).or_default().thought.push_str(text),
            Event::CallStart { call, .. } => {
                let said = all.entry(index).or_default();
                order.insert((index, *call), said.calls.len());
                said.calls.push(String::new());
            }
            Event::CallArguments { call, text, .. } => {
                let at = order.get(&(index, *call)).copied();
                let calls = &mut all.entry(index).or_default().calls;
                if let Some(known) = at.and_then(|at| calls.get_mut(at)) {
                    known.push_str(text);
                }
            }
            Event::Finish { .. } => {
                all.entry(index).or_default();
            }
            _ => {}
        }
    }
    all
}
