//! `[providers.NAME.options]`: what each dialect knows, and what is wrong with what was written.

use serde_json::Value;
use std::collections::BTreeMap;

/// One option of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    pub name: &'static str,
    pub form: Form,
    /// For the operator; starts in lower case, ends without a dot.
    pub meaning: &'static str,
}

impl Opt {
    pub const fn new(name: &'static str, form: Form, meaning: &'static str) -> Self {
        Self {
            name,
            form,
            meaning,
        }
    }
}

/// How a value is written. All of them are strings in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    /// `true` or `false`.
    Flag,
    Number,
    Count,
    /// One of these.
    Word(&'static [&'static str]),
    /// Some of these, with commas between.
    Words(&'static [&'static str]),
    /// Names, with commas between.
    List,
    /// `from:to`, with commas between.
    Pairs,
    /// JSON.
    Object,
    Array,
}

/// What is wrong with one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub name: String,
    /// For an unknown option there is none: who shows the problem says so, and knows what is near.
    pub wrong: Option<String>,
}

/// What is wrong with `written`, an entry for each option.
pub fn problems(known: &[Opt], written: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, value) in written {
        let wrong = match known.iter().find(|opt| opt.name == name) {
            None => None,
            Some(opt) => match opt.form.wrong(value) {
                None => continue,
                wrong => wrong,
            },
        };
        let name = name.clone();
        found.push(Problem { name, wrong });
    }
    found
}

impl Form {
    /// What a value should have been, if it is not.
    fn wrong(self, value: &str) -> Option<String> {
        let json = |fits: fn(&Value) -> bool| {
            serde_json::from_str(value).is_ok_and(|value: Value| fits(&value))
        };
        let mut items = items(value).peekable();
        let (fits, expected) = match self {
            Self::Text => (!value.is_empty(), "text"),
            Self::Flag => (
                matches!(value, "true" | "false"),
                "\"true\" or \"false\", in quotes",
            ),
            Self::Number => (
                value.parse::<f64>().is_ok_and(f64::is_finite),
                "a number, in quotes",
            ),
            Self::Count => (value.parse::<u64>().is_ok(), "a whole number, in quotes"),
            Self::Word(words) => {
                let listed = || format!("one of {}", words.join(", "));
                return (!words.contains(&value)).then(listed);
            }
            Self::Words(words) => {
                let listed = || format!("some of {}, with commas between", words.join(", "));
                let fits = items.peek().is_some() && items.all(|item| words.contains(&item));
                return (!fits).then(listed);
            }
            Self::List => (items.peek().is_some(), "names with commas between"),
            Self::Pairs => {
                let pair = |item: &str| {
                    item.split_once(':')
                        .is_some_and(|(from, to)| !from.is_empty() && !to.is_empty())
                };
                let fits = items.peek().is_some() && items.all(pair);
                (fits, "from:to pairs with commas between")
            }
            Self::Object => (json(Value::is_object), "a JSON object"),
            Self::Array => (json(Value::is_array), "a JSON array"),
        };
        (!fits).then(|| expected.to_owned())
    }
}

/// The items of a list.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_form_of_their_option() {
        const WORDS: &[&str] = &["a", "b"];
        for (form, good, bad) in [
            (Form::Text, &["x"][..], &[""][..]),
            (Form::Flag, &["true", "false"], &["yes", "1", ""]),
            (Form::Number, &["0.01", "1", "-2"], &["x", "", "inf", "NaN"]),
            (Form::Count, &["0", "9"], &["-1", "1.5", "x"]),
            (Form::Word(WORDS), &["a", "b"], &["c", "", "a,b"]),
            (Form::Words(WORDS), &["a", "a, b"], &["c", "", "a,c"]),
            (Form::List, &["a", "a, b"], &["", " , "]),
            (Form::Pairs, &["a:b", "a:b, c:d"], &["", "a", "a:", ":b"]),
            (Form::Object, &["{}", r#"{"a":1}"#], &["[]", "{", "x", ""]),
            (Form::Array, &["[]"], &["{}", ""]),
        ] {
            for value in good {
                assert_eq!(form.wrong(value), None, "{form:?} {value}");
            }
            for value in bad {
                assert!(form.wrong(value).is_some(), "{form:?} {value}");
            }
        }
    }

    #[test]
    fn what_is_unknown_has_no_expected_form() {
        let known = [Opt::new("a", Form::Flag, "")];
        let written = [("a", "no"), ("b", "true")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let found = problems(&known, &written.into());
        assert_eq!(found.len(), 2);
        assert!(found[0].wrong.is_some() && found[1].wrong.is_none());
    }
}
