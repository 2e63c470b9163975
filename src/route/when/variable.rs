//! What a predicate may ask about a request.

use crate::classify;
use crate::features::{Features, Script, Wanted};
use crate::pii;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int,
    Double,
    Text,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fact<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
}

/// Who asks, and on what way.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    pub key: &'a str,
    pub team: &'a str,
    /// The model as the client named it.
    pub model: &'a str,
    pub tags: &'a BTreeMap<String, String>,
}

/// What a predicate is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub features: &'a Features,
    pub caller: Caller<'a>,
    /// The request is among the share of its route that is hardest.
    pub hard: bool,
}

/// Something to ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    Kind,
    Confidence,
    Difficulty,
    Hard,
    Script,
    PiiAny,
    PiiUnread,
    PiiTotal,
    PiiKind(pii::Kind),
    PiiGroup(pii::Group),
    InputTokens,
    MaxOutput,
    Bytes,
    Turns,
    Images,
    Sounds,
    Documents,
    Tools,
    Schema,
    Code,
    Stream,
    Endpoint,
    Model,
    Key,
    Team,
    Tag(Arc<str>),
}

impl Variable {
    /// The one of that name; of `pii` and `tags`, the one of that member.
    pub fn named(path: &[&str]) -> Option<Self> {
        Some(match path {
            ["kind"] => Self::Kind,
            ["confidence"] => Self::Confidence,
            ["difficulty"] => Self::Difficulty,
            ["hard"] => Self::Hard,
            ["script"] => Self::Script,
            ["input_tokens"] => Self::InputTokens,
            ["max_output"] => Self::MaxOutput,
            ["bytes"] => Self::Bytes,
            ["turns"] => Self::Turns,
            ["images"] => Self::Images,
            ["sounds"] => Self::Sounds,
            ["documents"] => Self::Documents,
            ["tools"] => Self::Tools,
            ["schema"] => Self::Schema,
            ["code"] => Self::Code,
            ["stream"] => Self::Stream,
            ["endpoint"] => Self::Endpoint,
            ["model"] => Self::Model,
            ["key"] => Self::Key,
            ["team"] => Self::Team,
            ["pii", "any"] => Self::PiiAny,
            ["pii", "unread"] => Self::PiiUnread,
            ["pii", "total"] => Self::PiiTotal,
            ["pii", name] => match pii::Group::from_name(name) {
                Some(group) => Self::PiiGroup(group),
                None => Self::PiiKind(pii::Kind::from_name(name)?),
            },
            ["tags", name] => Self::Tag((*name).into()),
            _ => return None,
        })
    }

    /// What its value is.
    pub const fn kind(&self) -> Type {
        match self {
            Self::Kind | Self::Script | Self::Endpoint | Self::Model => Type::Text,
            Self::Key | Self::Team | Self::Tag(_) => Type::Text,
            Self::Confidence | Self::Difficulty => Type::Double,
            Self::Hard | Self::PiiAny | Self::PiiUnread => Type::Bool,
            Self::Schema | Self::Code | Self::Stream => Type::Bool,
            _ => Type::Int,
        }
    }

    /// Whether it can ever be equal to `text`. Names that nobody has are a
    /// mistake of whoever writes a rule.
    pub fn can_be(&self, text: &str) -> bool {
        match self {
            Self::Kind => classify::Kind::named(text).is_some_and(|kind| kind.name() == text),
            Self::Script => Script::ALL.iter().any(|script| script.name() == text),
            _ => true,
        }
    }

    /// The part of the features that it is in.
    pub const fn wanted(&self) -> Wanted {
        let (mut shape, mut judgement, mut pii) = (false, false, false);
        match self {
            Self::Kind | Self::Confidence | Self::Difficulty | Self::Hard | Self::Script => {
                judgement = true;
            }
            Self::PiiAny | Self::PiiUnread | Self::PiiTotal => pii = true,
            Self::PiiKind(_) | Self::PiiGroup(_) => pii = true,
            Self::InputTokens | Self::Turns | Self::Images | Self::Sounds => shape = true,
            Self::Documents | Self::Tools | Self::Schema | Self::Code => shape = true,
            _ => {}
        }
        Wanted {
            shape,
            judgement,
            pii,
        }
    }

    /// Its value. `None` where nobody could tell: the part is absent that it is in.
    pub fn fact<'a>(&self, of: &Subject<'a>) -> Option<Fact<'a>> {
        let Subject {
            features,
            caller,
            hard,
        } = *of;
        let (shape, said, pii) = (features.shape.as_ref(), &features.said, &features.pii);
        let int = |n: u64| Fact::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let few = |n: u32| Fact::Int(i64::from(n));
        Some(match self {
            Self::Kind => Fact::Text(said.as_ref()?.kind.name()),
            Self::Confidence => Fact::Double(said.as_ref()?.confidence.into()),
            Self::Difficulty => Fact::Double(said.as_ref()?.difficulty.into()),
            Self::Hard => Fact::Bool(said.as_ref().map(|_| hard)?),
            Self::Script => Fact::Text(said.as_ref()?.script.name()),
            Self::PiiAny => Fact::Bool(!pii.as_ref()?.findings.is_empty()),
            Self::PiiUnread => Fact::Bool(pii.as_ref()?.unread),
            Self::PiiTotal => few(pii.as_ref()?.findings.total()),
            Self::PiiKind(kind) => few(pii.as_ref()?.findings.count(*kind)),
            Self::PiiGroup(group) => few(pii.as_ref()?.findings.of_group(*group)),
            Self::InputTokens => int(shape?.tokens()),
            Self::MaxOutput => int(features.max_output.unwrap_or_default()),
            Self::Bytes => int(features.bytes),
            Self::Turns => few(shape?.turns),
            Self::Images => few(shape?.images),
            Self::Sounds => few(shape?.sounds),
            Self::Documents => few(shape?.documents),
            Self::Tools => few(shape?.tools),
            Self::Schema => Fact::Bool(shape?.schema),
            Self::Code => Fact::Bool(shape?.code),
            Self::Stream => Fact::Bool(features.stream),
            Self::Endpoint => Fact::Text(&features.endpoint),
            Self::Model => Fact::Text(caller.model),
            Self::Key => Fact::Text(caller.key),
            Self::Team => Fact::Text(caller.team),
            Self::Tag(name) => Fact::Text(
                caller
                    .tags
                    .get(&**name)
                    .map(String::as_str)
                    .unwrap_or_default(),
            ),
        })
    }
}
