//! Names that the operator chooses: of providers, models and keys, and of the
//! targets that point at them.
//!
//! Names of providers and keys are labels of metrics and fields of logs, so
//! they are short and plain. A model's name is whatever clients and providers
//! call it.

use serde::de::{self, DeserializeOwned, IntoDeserializer as _, MapAccess};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

pub use crate::units::is_plain;

/// May a model be called so? 1 to 256 bytes without blanks at the ends and
/// without control characters.
fn is_model(name: &str) -> bool {
    (1..=256).contains(&name.len()) && name.trim() == name && !name.contains(char::is_control)
}

/// A table whose keys are plain names.
pub fn plain<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    const RULE: &str = "expected a name of 1 to 64 letters, digits, \".\", \"_\", \"-\"";
    deserializer.deserialize_map(Named {
        allowed: is_plain,
        rule: RULE,
        value: PhantomData,
    })
}

/// A table whose keys are names of models.
pub fn models<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    const RULE: &str = "expected a model's name of 1 to 256 bytes without control characters";
    deserializer.deserialize_map(Named {
        allowed: is_model,
        rule: RULE,
        value: PhantomData,
    })
}

/// Reads a table, each key checked while its position is still known.
struct Named<T> {
    allowed: fn(&str) -> bool,
    rule: &'static str,
    value: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> de::Visitor<'de> for Named<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(name) = access.next_key_seed(Name {
            allowed: self.allowed,
            rule: self.rule,
        })? {
            map.insert(name, access.next_value()?);
        }
        Ok(map)
    }
}

struct Name {
    allowed: fn(&str) -> bool,
    rule: &'static str,
}

impl<'de> de::DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let name = String::deserialize(deserializer)?;
        if (self.allowed)(&name) {
            Ok(name)
        } else {
            Err(de::Error::custom(self.rule))
        }
    }
}

/// A provider's model as routes name it, with its share among the targets of
/// one route: `"provider/model"` or `{ target = "provider/model", weight = 2 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetName {
    pub provider: String,
    /// As the provider calls it; may hold slashes and colons. A `*` at the end
    /// stands for what the alias's `*` matched.
    pub model: String,
    pub weight: usize,
}

impl TargetName {
    /// Splits at the first slash; the weight is 1.
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.split_once('/')?;
        let good = is_plain(provider) && is_model(model);
        good.then(|| Self {
            provider: provider.to_owned(),
            model: model.to_owned(),
            weight: 1,
        })
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl Serialize for TargetName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.weight == 1 {
            return serializer.collect_str(self);
        }
        let mut table = serializer.serialize_struct("TargetName", 2)?;
        table.serialize_field("target", &self.to_string())?;
        table.serialize_field("weight", &self.weight)?;
        table.end()
    }
}

impl<'de> Deserialize<'de> for TargetName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Target)
    }
}

struct Target;

impl<'de> de::Visitor<'de> for Target {
    type Value = TargetName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string \"provider/model\" or a table with target and weight")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TargetName, E> {
        TargetName::parse(text)
            .ok_or_else(|| E::custom(format!("expected \"provider/model\", found {text:?}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<TargetName, A::Error> {
        let weighted = Weighted::deserialize(de::value::MapAccessDeserializer::new(access))?;
        Ok(TargetName {
            weight: weighted.weight,
            ..weighted.target.0
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighted {
    target: Unweighted,
    #[serde(
        default = "one",
        deserialize_with = "super::value::weight::deserialize"
    )]
    weight: usize,
}

fn one() -> usize {
    1
}

/// The string form only: a table in a table would be no notation.
struct Unweighted(TargetName);

impl<'de> Deserialize<'de> for Unweighted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TargetName::deserialize(text.into_deserializer()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, String)> {
        TargetName::parse(text).map(|target| (target.provider, target.model))
    }

    #[test]
    fn targets_split_at_the_first_slash() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(parsed("openai/gpt-5"), pair("openai", "gpt-5"));
        assert_eq!(parsed("or/meta/llama:free"), pair("or", "meta/llama:free"));
        assert_eq!(parsed("openai/*"), pair("openai", "*"));
        for bad in [
            "",
            "openai",
            "openai/",
            "/gpt-5",
            "open ai/x",
            "openai/ x",
            "openai/x\n",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn targets_are_written_as_they_are_read() {
        #[derive(Deserialize, Serialize)]
        struct Targets {
            targets: Vec<TargetName>,
        }
        let text = "targets = [\"a/b\", { target = \"a/c\", weight = 2 }]\n";
        let targets: Targets = toml::from_str(text).unwrap();
        assert_eq!(toml::to_string(&targets).unwrap(), text);
    }
}
