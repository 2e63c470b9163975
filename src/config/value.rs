//! How single values are spelled in the file: durations and sizes with their
//! units, outputs, header values, key hashes.
//!
//! Every value is written back in the notation it is read in, except what must
//! not be shown: literal header values and hashes are masked. An error's text
//! may carry a hint after a line end; `load` takes them apart.

use super::secret::{Reference, ResolveError, Secret, is_header_value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A duration over zero, with its unit: `"30s"`, `"1h 30m"`.
pub mod duration {
    use super::*;

    /// Timers stay far from overflow; nothing here is meant to last so long.
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// # Errors
    /// For all but a string with units, for zero and for more than 30 days.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let value =
            deserializer.deserialize_any(Notation("a duration with its unit", "30s", parse))?;
        if value.is_zero() {
            return Err(de::Error::custom("the duration must be longer than zero"));
        }
        Ok(value)
    }

    fn parse(text: &str) -> Option<Duration> {
        // A bare "0" has a meaning for humantime; here every number has a unit.
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        humantime::parse_duration(text)
            .ok()
            .filter(|value| has_unit && *value <= LONGEST)
    }

    /// The same, where the key may be absent.
    pub mod optional {
        use super::*;

        /// # Errors
        /// The serialiser's own.
        pub fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// # Errors
        /// As for one that is always there.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }

    /// The same, but zero is allowed.
    pub mod or_zero {
        pub use super::serialize;
        use super::*;

        /// # Errors
        /// For all but a string with units, and for more than 30 days.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Duration, D::Error> {
            deserializer.deserialize_any(Notation("a duration with its unit", "30s", super::parse))
        }
    }
}

/// An amount of money: `"0.01 usd"`.
pub mod usd {
    /// The same, where the key may be absent.
    pub mod optional {
        use super::super::*;
        use crate::units::MicroUsd;

        /// # Errors
        /// The serialiser's own.
        pub fn serialize<S: Serializer>(
            value: &Option<MicroUsd>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            let text = value.map(|amount| format!("{amount} usd"));
            text.serialize(serializer)
        }

        /// # Errors
        /// For all but dollars over zero, to the micro-dollar, with their unit.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<MicroUsd>, D::Error> {
            let parse = |text: &str| {
                let amount = text.strip_suffix("usd")?.trim_end().parse().ok()?;
                (amount > MicroUsd::ZERO).then_some(amount)
            };
            deserializer
                .deserialize_any(Notation("dollars over zero", "0.01 usd", parse))
                .map(Some)
        }
    }
}

/// A moment: `"2027-01-31T00:00:00Z"`.
pub mod moment {
    /// The same, where the key may be absent.
    pub mod optional {
        use super::super::*;
        use std::time::SystemTime;

        /// # Errors
        /// The serialiser's own.
        pub fn serialize<S: Serializer>(
            value: &Option<SystemTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            let text = value.map(|time| humantime::format_rfc3339_seconds(time).to_string());
            text.serialize(serializer)
        }

        /// # Errors
        /// For all but a text in RFC 3339's form, in UTC.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            let text = String::deserialize(deserializer)?;
            let time = humantime::parse_rfc3339(&text).map_err(|_| {
                de::Error::custom("expected a time such as \"2027-01-31T00:00:00Z\"")
            })?;
            Ok(Some(time))
        }
    }
}

/// A number of bytes over zero, with its unit: `"32MiB"`, `"500kB"`, `"512B"`.
pub mod size {
    use super::*;

    pub fn serialize<S: Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        // Not bytesize's own notation: it rounds.
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
        let exact = |shift: &u32| value.trailing_zeros() >= *shift && *value > 0;
        let (unit, shift) = units
            .into_iter()
            .find(|(_, shift)| exact(shift))
            .unwrap_or(("B", 0));
        serializer.collect_str(&format_args!("{}{unit}", value >> shift))
    }

    /// # Errors
    /// For all but a string with a unit, for zero and for more than fits into
    /// memory.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        let value =
            deserializer.deserialize_any(Notation("a size with its unit", "32MiB", parse))?;
        if value == 0 {
            return Err(de::Error::custom("the size must be more than zero"));
        }
        Ok(value)
    }

    fn parse(text: &str) -> Option<usize> {
        let size = bytesize::ByteSize::from_str(text).ok()?;
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        usize::try_from(size.as_u64())
            .ok()
            .filter(|size| has_unit && isize::try_from(*size).is_ok())
    }
}

/// A whole number from 1 to a million: counts that make no sense at zero.
pub mod count {
    use super::*;

    /// # Errors
    /// For all but an integer in the range.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        match usize::deserialize(deserializer)? {
            value @ 1..=1_000_000 => Ok(value),
            _ => Err(de::Error::custom(
                "expected a whole number from 1 to 1000000",
            )),
        }
    }
}

/// A whole number from 0 to 5: tries that are more than enough at five.
pub mod few {
    use super::*;

    /// # Errors
    /// For all but an integer in the range.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        match usize::deserialize(deserializer)? {
            value @ 0..=5 => Ok(value),
            _ => Err(de::Error::custom("expected a whole number from 0 to 5")),
        }
    }
}

/// A part of a whole, from 0 to 1.
pub mod share {
    use super::*;

    /// # Errors
    /// For all but a number in the range.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&value) {
            return Ok(value);
        }
        Err(de::Error::custom("expected a number from 0 to 1"))
    }

    /// The same, where the key may be absent.
    ///
    /// # Errors
    /// As above.
    pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        deserialize(deserializer).map(Some)
    }
}

/// A number of tokens per second, zero for none.
pub mod rate {
    use super::*;

    /// # Errors
    /// For all but a number from 0 to 10000.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if (0.0..=10_000.0).contains(&value) {
            return Ok(value);
        }
        Err(de::Error::custom("expected a number from 0 to 10000"))
    }

    /// The same, where the key may be absent.
    ///
    /// # Errors
    /// As above.
    pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        deserialize(deserializer).map(Some)
    }
}

/// A share among others, from 1 to 1000.
pub mod weight {
    use super::*;

    /// # Errors
    /// For all but an integer in the range.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        match usize::deserialize(deserializer)? {
            value @ 1..=1000 => Ok(value),
            _ => Err(de::Error::custom(
                "expected a weight, a whole number from 1 to 1000",
            )),
        }
    }
}

/// Reads a string by a function: what is expected, an example, the function.
struct Notation<T>(&'static str, &'static str, fn(&str) -> Option<T>);

impl<T> Notation<T> {
    fn refuse<E: de::Error>(&self, found: &str) -> E {
        E::custom(format!(
            "expected {}, found {found}\nwrite for example \"{}\"",
            self.0, self.1
        ))
    }
}

impl<T> de::Visitor<'_> for Notation<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.2)(text).ok_or_else(|| self.refuse(&format!("{text:?}")))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Err(self.refuse(&format!("the bare number {number}")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Err(self.refuse(&format!("the bare number {number}")))
    }
}

/// Where lines are written to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Output {
    #[default]
    Stdout,
    Stderr,
    Off,
    /// Appended to.
    File(PathBuf),
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stdout => serializer.serialize_str("stdout"),
            Self::Stderr => serializer.serialize_str("stderr"),
            Self::Off => serializer.serialize_str("off"),
            Self::File(path) => serializer.collect_str(&path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            "off" => Ok(Self::Off),
            // A slash is asked for so that a misspelt word is not a file.
            path if path.contains('/') && !path.contains(char::is_control) => {
                Ok(Self::File(path.into()))
            }
            other => Err(de::Error::custom(format!(
                "expected \"stdout\", \"stderr\", \"off\" or the path of a file, found {other:?}\n\
                 a path has a slash in it: \"./access.log\"",
            ))),
        }
    }
}

/// A header's value: written out, or fetched from where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderSource {
    Literal(String),
    Reference(Reference),
}

impl HeaderSource {
    /// The value to send. Blocks on the file system where it is in a file.
    ///
    /// # Errors
    /// When a reference gives no secret; a literal always works.
    pub fn resolve(&self) -> Result<Secret, ResolveError> {
        match self {
            Self::Literal(text) => Ok(Secret::from(text.as_str())),
            Self::Reference(reference) => reference.resolve(),
        }
    }
}

impl fmt::Debug for HeaderSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("<redacted>"),
            Self::Reference(reference) => reference.fmt(f),
        }
    }
}

impl Serialize for HeaderSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Literal(_) => serializer.serialize_str("<redacted>"),
            Self::Reference(reference) => reference.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(reference) = Reference::parse(&text) {
            return Ok(Self::Reference(reference));
        }
        if Reference::looks_like(&text) {
            return Err(de::Error::custom(
                "malformed reference\nwrite \"env:NAME\", \"file:PATH\" or \"credential:NAME\"",
            ));
        }
        if !is_header_value(&text) {
            return Err(de::Error::custom(
                "expected printable ASCII without blanks at its ends",
            ));
        }
        Ok(Self::Literal(text))
    }
}

/// SHA-256 of a client's key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// As it stands in the file: `sha256:` and 64 hex digits.
    pub fn notation(&self) -> String {
        let mut text = String::from("sha256:");
        for byte in self.0 {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

impl FromStr for Hash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex = text.strip_prefix("sha256:").ok_or(())?;
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(());
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = nibble(*high).ok_or(())? << 4 | nibble(*low).ok_or(())?;
        }
        Ok(Self(digest))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "sha256:{first:02x}{second:02x}…")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text is not echoed: it may be the key itself, put here by mistake.
        String::deserialize(deserializer)?.parse().map_err(|()| {
            de::Error::custom("expected \"sha256:\" and 64 hex digits\n`tollgate keys new NAME` makes a key and its hash")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Values {
        #[serde(with = "duration")]
        duration: Duration,
        #[serde(with = "duration::or_zero")]
        grace: Duration,
        #[serde(with = "size")]
        size: usize,
        output: Output,
    }

    impl Default for Values {
        fn default() -> Self {
            let second = Duration::from_secs(1);
            Self {
                duration: second,
                grace: second,
                size: 1,
                output: Output::Stdout,
            }
        }
    }

    /// `written` reads to something that is written as `back`, and so again.
    fn there_and_back(written: &str, back: &str) {
        let value: Values = toml::from_str(written).expect(written);
        let text = toml::to_string(&value).unwrap();
        assert!(text.lines().any(|line| line == back), "{written}: {text}");
        assert_eq!(toml::from_str::<Values>(&text).unwrap(), value);
    }

    #[test]
    fn values_are_written_in_the_notation_they_are_read_in() {
        there_and_back("duration = \"30s\"", "duration = \"30s\"");
        there_and_back("duration = \"1500ms\"", "duration = \"1s 500ms\"");
        there_and_back("duration = \"1h 30m\"", "duration = \"1h 30m\"");
        there_and_back("grace = \"0s\"", "grace = \"0s\"");
        there_and_back("size = \"32MiB\"", "size = \"32MiB\"");
        there_and_back("size = \"32 MiB\"", "size = \"32MiB\"");
        there_and_back("size = \"1kB\"", "size = \"1000B\"");
        there_and_back("size = \"1536KiB\"", "size = \"1536KiB\"");
        there_and_back("output = \"off\"", "output = \"off\"");
        there_and_back("output = \"/var/log/a\"", "output = \"/var/log/a\"");
    }

    #[test]
    fn hashes() {
        let text = format!("sha256:{}", "1aB2".repeat(16));
        let hash: Hash = text.parse().expect("a hash");
        assert_eq!(hash.notation(), text.to_lowercase());
        assert_eq!(format!("{hash:?}"), "sha256:1ab2…");
        for bad in [
            "",
            "sha256:",
            &text[7..],
            &text[..70],
            &format!("{text}0"),
            &text.replace('B', "g"),
        ] {
            assert_eq!(bad.parse::<Hash>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn literal_headers_are_masked() {
        let literal = HeaderSource::Literal("sesame".to_owned());
        assert_eq!(format!("{literal:?}"), "<redacted>");
        assert_eq!(
            toml::Value::try_from(&literal).unwrap().as_str(),
            Some("<redacted>")
        );
        assert_eq!(literal.resolve().unwrap().expose(), "sesame");
        let reference = HeaderSource::Reference(Reference::Env("A".to_owned()));
        assert_eq!(
            toml::Value::try_from(&reference).unwrap().as_str(),
            Some("env:A")
        );
    }
}
