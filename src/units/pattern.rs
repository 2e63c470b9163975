//! Patterns of model names.

/// A pattern over names in which `*` stands for any run of characters
/// (also an empty one). Everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does the whole of `name` match? Linear in the name for each star.
    pub fn matches(&self, name: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(first) = pieces.next() else {
            return name.is_empty();
        };
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = pieces.next_back() else {
            return rest.is_empty();
        };
        for piece in pieces {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = rest.get(at + piece.len()..).unwrap_or_default();
        }
        rest.ends_with(last)
    }
}

/// An alias with exactly one star, such as `openai/*`: what stands in the
/// star's place is carried over to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    prefix: String,
    suffix: String,
}

impl Wildcard {
    /// `None` unless `pattern` holds exactly one star.
    pub fn parse(pattern: &str) -> Option<Self> {
        let (prefix, suffix) = pattern.split_once('*')?;
        (!suffix.contains('*')).then(|| Self {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        })
    }

    /// What stands in the star's place, never empty.
    pub fn capture<'a>(&self, name: &'a str) -> Option<&'a str> {
        let middle = name
            .strip_prefix(&*self.prefix)?
            .strip_suffix(&*self.suffix)?;
        (!middle.is_empty()).then_some(middle)
    }

    /// How much of a name is spelled out: the more, the more specific.
    pub fn literal_len(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "gpt-5", true),
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5-mini", false),
            ("gpt-*", "gpt-5-mini", true),
            ("gpt-*", "o3", false),
            ("*-mini", "gpt-5-mini", true),
            ("openai/*/x", "openai/a/b/x", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("", "", true),
            ("", "a", false),
            ("*a*", "bab", true),
            ("*a*", "bb", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} on {name}"
            );
        }
    }

    #[test]
    fn a_wildcard_carries_its_star() {
        let w = Wildcard::parse("openai/*").unwrap();
        assert_eq!(w.capture("openai/gpt-5"), Some("gpt-5"));
        assert_eq!(w.capture("openai/"), None);
        assert_eq!(w.capture("groq/gpt-5"), None);
        assert_eq!(Wildcard::parse("a*b*"), None);
        assert_eq!(Wildcard::parse("plain"), None);
    }
}
