//! Texts that only some models can read: signatures of thoughts and of tool
//! calls, and thoughts that are encrypted.
//!
//! A provider refuses a whole request for one signature that another's model
//! made, so each says whose it is, and a renderer sends back only what its
//! model can read. The gateway keeps no state: the origin travels through the
//! client beside the text. Every client format has a field for such a text,
//! and every field has models whose texts stand in it bare, because that is
//! where their own provider puts them; any other text is written there as
//! `tollgate:ORIGIN:TEXT`. These texts are base64, which has no colon, so a
//! bare one is never taken for a tagged one.

use std::borrow::Cow;

/// The models that can read a sealed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Anthropic's, wherever they run.
    Claude,
    /// Google's, at AI Studio and at Vertex.
    Gemini,
    /// Amazon's Nova.
    Nova,
    /// Another model at Bedrock, or one that an inference profile hides.
    Bedrock,
    /// No more is known than that the provider handed it out.
    Other,
}

/// How a text is told from one that stands bare.
const TAG: &str = "tollgate:";

impl Origin {
    const ALL: [Self; 5] = [
        Self::Claude,
        Self::Gemini,
        Self::Nova,
        Self::Bedrock,
        Self::Other,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::Nova => "nova",
            Self::Bedrock => "bedrock",
            Self::Other => "other",
        }
    }
}

/// A text that only models of its origin can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub origin: Origin,
    pub text: String,
}

impl Sealed {
    pub fn new(origin: Origin, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { origin, text }
    }

    /// The text as it stands in a client's field where texts of `own` are bare.
    pub fn carried(&self, own: Origin) -> Cow<'_, str> {
        if self.origin == own && !self.text.starts_with(TAG) {
            return Cow::Borrowed(&self.text);
        }
        Cow::Owned(format!("{TAG}{}:{}", self.origin.as_str(), self.text))
    }

    /// Reads what a client sent back in a field where texts of `own` are bare.
    pub fn returned(text: impl Into<String>, own: Origin) -> Self {
        let text = text.into();
        let Some((word, sealed)) = text.strip_prefix(TAG).and_then(|t| t.split_once(':')) else {
            return Self::new(own, text);
        };
        let known = Origin::ALL.into_iter().find(|o| o.as_str() == word);
        match known {
            Some(origin) => Self::new(origin, sealed),
            // A later version's: nobody's that is known here.
            None => Self::new(Origin::Other, text),
        }
    }

    /// The text, if models of one of these origins are asked.
    pub fn read_by(&self, readers: &[Origin]) -> Option<&str> {
        readers.contains(&self.origin).then_some(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_survives_every_field() {
        for origin in Origin::ALL {
            for own in Origin::ALL {
                for text in ["QUJD+/==", "tollgate:claude:QUJD", "tollgate:", ""] {
                    let sealed = Sealed::new(origin, text);
                    let there = sealed.carried(own).into_owned();
                    assert_eq!(Sealed::returned(there, own), sealed, "{own:?}");
                }
            }
        }
    }

    #[test]
    fn own_texts_are_bare_and_others_say_whose_they_are() {
        let sealed = Sealed::new(Origin::Gemini, "QUJD");
        assert_eq!(sealed.carried(Origin::Gemini), "QUJD");
        assert_eq!(sealed.carried(Origin::Claude), "tollgate:gemini:QUJD");
        let later = Sealed::returned("tollgate:later:QUJD", Origin::Claude);
        assert_eq!(later, Sealed::new(Origin::Other, "tollgate:later:QUJD"));
    }
}
