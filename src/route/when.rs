//! Predicates over what is known of a request, written in CEL, the Common
//! Expression Language: `kind == "code" && input_tokens < 8000`.
//!
//! The language is the `cel` crate's; what is used of it is checked when a table
//! is compiled, names and types and all, and turned into a small tree, since a
//! rule is asked of every request. What a tree says is what the crate's own
//! interpreter says, which a test holds against it. Used are `&&`, `||`, `!`, `?:`,
//! comparisons, `in [...]`, and `startsWith`, `endsWith` and `contains` of texts.
//! Numbers of both types compare, as CEL has it.
//!
//! A variable that nobody could tell makes what depends on it unknown, and no
//! more: `pii.any || stream` is true of a stream. It is for the rule what then
//! becomes of it.

mod build;
mod variable;

pub use variable::{Caller, Fact, Subject, Type, Variable};

use crate::features::Wanted;
use std::cmp::Ordering;

/// A predicate that may be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    tree: Test,
    wanted: Wanted,
}

/// Why a text is no predicate, for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PredicateError(pub(super) String);

/// Something that is true or not.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Known(bool),
    Is(Variable),
    Not(Box<Self>),
    All(Box<Self>, Box<Self>),
    Any(Box<Self>, Box<Self>),
    If(Box<Self>, Box<Self>, Box<Self>),
    /// Two truths are the same.
    Same(Box<Self>, Box<Self>),
    Compare(Value, Relation, Value),
    In(Value, Vec<Value>),
    Text(Variable, TextTest, Box<str>),
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Of(Variable),
    Int(i64),
    Double(f64),
    Text(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

impl Predicate {
    /// Reads a predicate.
    ///
    /// # Errors
    /// When it is no CEL, uses something of it that is not used here, names
    /// something that is not known, or compares what cannot be compared.
    pub fn compile(text: &str) -> Result<Self, PredicateError> {
        let tree = build::tree(text)?;
        let mut wanted = Wanted::default();
        tree.variables(&mut |variable| wanted = wanted.and(variable.wanted()));
        Ok(Self { tree, wanted })
    }

    /// What it has to know.
    pub const fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Whether it names `hard`.
    pub fn asks_hard(&self) -> bool {
        let mut found = false;
        self.tree
            .variables(&mut |variable| found |= *variable == Variable::Hard);
        found
    }

    /// Whether it is always true, whatever is asked.
    pub fn is_always(&self) -> bool {
        self.tree == Test::Known(true)
    }

    /// Whether it is true of `subject`; `None` where that cannot be told.
    pub fn holds(&self, subject: &Subject<'_>) -> Option<bool> {
        self.tree.holds(subject)
    }
}

impl Test {
    fn holds(&self, of: &Subject<'_>) -> Option<bool> {
        match self {
            Self::Known(known) => Some(*known),
            Self::Is(variable) => match variable.fact(of)? {
                Fact::Bool(is) => Some(is),
                _ => None,
            },
            Self::Not(test) => test.holds(of).map(|is| !is),
            Self::All(one, other) => match one.holds(of) {
                Some(false) => Some(false),
                one => match (one, other.holds(of)) {
                    (_, Some(false)) => Some(false),
                    (Some(true), other) => other,
                    _ => None,
                },
            },
            Self::Any(one, other) => match one.holds(of) {
                Some(true) => Some(true),
                one => match (one, other.holds(of)) {
                    (_, Some(true)) => Some(true),
                    (Some(false), other) => other,
                    _ => None,
                },
            },
            Self::If(test, then, or) => match test.holds(of)? {
                true => then.holds(of),
                false => or.holds(of),
            },
            Self::Same(one, other) => Some(one.holds(of)? == other.holds(of)?),
            Self::Compare(one, relation, other) => {
                let ordering = order(one.fact(of)?, other.fact(of)?)?;
                Some(relation.holds(ordering))
            }
            Self::In(one, all) => {
                let one = one.fact(of)?;
                let mut is_in = false;
                for other in all {
                    is_in |= order(one, other.fact(of)?) == Some(Ordering::Equal);
                }
                Some(is_in)
            }
            Self::Text(variable, test, part) => match variable.fact(of)? {
                Fact::Text(text) => Some(match test {
                    TextTest::StartsWith => text.starts_with(&**part),
                    TextTest::EndsWith => text.ends_with(&**part),
                    TextTest::Contains => text.contains(&**part),
                }),
                _ => None,
            },
        }
    }

    /// Shows every variable in it.
    fn variables(&self, see: &mut impl FnMut(&Variable)) {
        match self {
            Self::Known(_) => {}
            Self::Is(variable) | Self::Text(variable, ..) => see(variable),
            Self::Not(test) => test.variables(see),
            Self::All(one, other) | Self::Any(one, other) | Self::Same(one, other) => {
                one.variables(see);
                other.variables(see);
            }
            Self::If(test, then, or) => {
                test.variables(see);
                then.variables(see);
                or.variables(see);
            }
            Self::Compare(one, _, other) => {
                one.variables(see);
                other.variables(see);
            }
            Self::In(one, all) => {
                one.variables(see);
                all.iter().for_each(|other| other.variables(see));
            }
        }
    }
}

impl Value {
    fn fact<'a>(&'a self, of: &Subject<'a>) -> Option<Fact<'a>> {
        match self {
            Self::Of(variable) => variable.fact(of),
            Self::Int(int) => Some(Fact::Int(*int)),
            Self::Double(double) => Some(Fact::Double(*double)),
            Self::Text(text) => Some(Fact::Text(text)),
        }
    }

    fn variables(&self, see: &mut impl FnMut(&Variable)) {
        if let Self::Of(variable) = self {
            see(variable);
        }
    }
}

impl Relation {
    const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Unequal => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::More => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
        }
    }
}

fn order(one: Fact<'_>, other: Fact<'_>) -> Option<Ordering> {
    // Far beyond what is counted here, an i64 is no exact f64.
    match (one, other) {
        (Fact::Int(one), Fact::Int(other)) => Some(one.cmp(&other)),
        (Fact::Double(one), Fact::Double(other)) => one.partial_cmp(&other),
        (Fact::Int(one), Fact::Double(other)) => (one as f64).partial_cmp(&other),
        (Fact::Double(one), Fact::Int(other)) => one.partial_cmp(&(other as f64)),
        (Fact::Text(one), Fact::Text(other)) => Some(one.cmp(other)),
        (Fact::Bool(one), Fact::Bool(other)) => Some(one.cmp(&other)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "when_tests.rs"]
mod tests;
