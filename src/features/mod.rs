//! What routing may look at of a request: how large it is, what it is made of,
//! what is asked for, how hard that is, and whether it holds what must not leave.
//!
//! Each part is computed only if somebody [wants](Wanted) it. A shape, a kind and
//! a difficulty cost about the same for every body beyond a few kB but for one
//! quick pass over it; personal data is looked for in all of it. Features hold
//! counts and names, never a text: they are what the ledger keeps of a request,
//! and enough to decide again where it would have gone.
//!
//! Sans-IO: nothing here reads a clock or the network.

mod excerpt;
mod script;
mod shape;
mod walk;

pub use script::Script;
pub use shape::Shape;

use crate::classify::{self, Judgement, Model, Scratch};
use crate::pii;
use crate::wire::json;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Which parts of the features somebody looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    pub shape: bool,
    /// Kind, difficulty and script.
    pub judgement: bool,
    pub pii: bool,
}

impl Wanted {
    /// All of it.
    pub const ALL: Self = Self {
        shape: true,
        judgement: true,
        pii: true,
    };

    /// What either wants.
    pub const fn and(self, other: Self) -> Self {
        Self {
            shape: self.shape || other.shape,
            judgement: self.judgement || other.judgement,
            pii: self.pii || other.pii,
        }
    }

    /// Whether anything is wanted.
    pub const fn is_any(self) -> bool {
        self.shape || self.judgement || self.pii
    }
}

/// What is known of one request. A part that nobody wanted, or that cannot be
/// had of such a body, is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// As limits and the ledger call it: `chat_completions`.
    pub endpoint: Box<str>,
    pub stream: bool,
    /// Bytes of the body.
    pub bytes: u64,
    /// The longest answer that the client wants, in tokens.
    pub max_output: Option<u64>,
    pub shape: Option<Shape>,
    pub said: Option<Said>,
    pub pii: Option<Pii>,
}

/// What a judgement of the user's last words says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub kind: classify::Kind,
    /// Of the kind; 0 to 1.
    pub confidence: f32,
    /// That a cheap model would do worse; 0 to 1.
    pub difficulty: f32,
    /// Orders requests by what a strong model gains.
    pub score: f32,
    pub script: Script,
}

/// Personal data and secrets: how many of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pii {
    #[serde(with = "counts")]
    pub findings: pii::Findings,
    /// A part of the request was not looked through: an image, a sound, a
    /// document, something that the provider keeps, or a body that is no JSON.
    pub unread: bool,
}

/// What is read of a request before its features.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// As limits and the ledger call it.
    pub endpoint: &'static str,
    pub stream: bool,
    pub max_output: Option<u64>,
    /// The body is JSON that was checked; else it is a form.
    pub is_json: bool,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Read {
    pub features: Features,
    /// A hash of how the conversation began.
    pub opening: Option<u64>,
}

/// Reads what is `wanted` off a body that was checked before. Without `model`
/// nothing is said about kinds and difficulty.
pub fn read(head: &Head, body: &[u8], wanted: Wanted, model: Option<&Model>) -> Read {
    let mut features = Features {
        endpoint: head.endpoint.into(),
        stream: head.stream,
        bytes: body.len() as u64,
        max_output: head.max_output,
        ..Features::default()
    };
    if !wanted.is_any() {
        return Read {
            features,
            opening: None,
        };
    }
    // Of a form (a sound, an image to edit) nobody here reads the parts.
    let found = head.is_json.then(|| Shape::of(body));
    if let (true, Some(model), Some((_, words))) = (wanted.judgement, model, &found) {
        features.said = Some(said(&excerpt::excerpt(body, &words.last), model));
    }
    if wanted.pii {
        let unread = found.as_ref().is_none_or(|(shape, _)| shape.is_unread());
        features.pii = Some(Pii {
            findings: pii::scan(&json::unescaped(body)),
            unread,
        });
    }
    features.shape = found.as_ref().map(|(shape, _)| *shape);
    Read {
        features,
        opening: found.and_then(|(_, words)| words.opening),
    }
}

fn said(text: &str, model: &Model) -> Said {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    let judgement = SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => model.judge(text, &mut scratch),
        Err(_) => model.judge(text, &mut Scratch::default()),
    });
    let Judgement {
        kind,
        confidence,
        difficulty,
        score,
        ..
    } = judgement;
    Said {
        kind,
        confidence,
        difficulty,
        score,
        script: Script::of(text),
    }
}

/// Findings as a map from names to counts.
mod counts {
    use crate::pii::{Findings, Kind};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub fn serialize<S: Serializer>(findings: &Findings, out: S) -> Result<S::Ok, S::Error> {
        let counts: BTreeMap<_, _> = findings.iter().map(|(kind, n)| (kind.name(), n)).collect();
        counts.serialize(out)
    }

    /// A kind that this version does not know is left out.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Findings, D::Error> {
        let counts = BTreeMap::<String, u32>::deserialize(input)?;
        let known = counts
            .iter()
            .filter_map(|(name, n)| Some((Kind::from_name(name)?, *n)));
        Ok(Findings::of(known))
    }
}
