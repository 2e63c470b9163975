//! The calls that a client may make, and the paths that they have.

/// One call of OpenAI's API that carries a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    ChatCompletions,
    Completions,
    Embeddings,
    /// OpenAI's Responses.
    Responses,
    /// OpenAI's token counter.
    InputTokens,
    /// Anthropic's Messages.
    Messages,
    /// Anthropic's token counter.
    CountTokens,
    Moderations,
    Rerank,
    ImageGenerations,
    ImageEdits,
    ImageVariations,
    Speech,
    Transcriptions,
    Translations,
}

/// How a request body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Json,
    /// `multipart/form-data`.
    Multipart,
}

/// A client's format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speech {
    #[default]
    OpenAi,
    Responses,
    Anthropic,
}

impl Speech {
    /// The format of the path's answers, also of its errors. Where it is not
    /// one operation's, `anthropic` says whether the client speaks that.
    pub fn of(path: &str, anthropic: bool) -> Self {
        match Operation::from_path(path) {
            Some(operation) => operation.speech(),
            None if anthropic => Self::Anthropic,
            None => Self::OpenAi,
        }
    }
}

impl Operation {
    /// Every operation, in the order of the paths' documentation.
    pub const ALL: [Self; 15] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::InputTokens,
        Self::Messages,
        Self::CountTokens,
        Self::Moderations,
        Self::Rerank,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
    ];

    /// What it is called in limits, keys' rights and the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::InputTokens => "input_tokens",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
            Self::ImageGenerations => "image_generations",
            Self::ImageEdits => "image_edits",
            Self::ImageVariations => "image_variations",
            Self::Speech => "speech",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
        }
    }

    /// The operation whose path this is.
    pub fn from_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1")?;
        Self::ALL.into_iter().find(|op| op.path() == rest)
    }

    /// The path below `/v1`, at the gateway as at an OpenAI-compatible provider.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses => "/responses",
            Self::InputTokens => "/responses/input_tokens",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
            Self::Moderations => "/moderations",
            Self::Rerank => "/rerank",
            Self::ImageGenerations => "/images/generations",
            Self::ImageEdits => "/images/edits",
            Self::ImageVariations => "/images/variations",
            Self::Speech => "/audio/speech",
            Self::Transcriptions => "/audio/transcriptions",
            Self::Translations => "/audio/translations",
        }
    }

    /// The whole path at the gateway.
    pub const fn full_path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::InputTokens => "/v1/responses/input_tokens",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Moderations => "/v1/moderations",
            Self::Rerank => "/v1/rerank",
            Self::ImageGenerations => "/v1/images/generations",
            Self::ImageEdits => "/v1/images/edits",
            Self::ImageVariations => "/v1/images/variations",
            Self::Speech => "/v1/audio/speech",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::Translations => "/v1/audio/translations",
        }
    }

    /// Whether bodies of this media type make sense here. Image edits exist in
    /// both forms.
    pub const fn accepts(self, media: Media) -> bool {
        match self {
            Self::ImageEdits => true,
            Self::ImageVariations | Self::Transcriptions | Self::Translations => {
                matches!(media, Media::Multipart)
            }
            _ => matches!(media, Media::Json),
        }
    }

    /// Whether a stream of this operation ends with a finish reason and `[DONE]`.
    pub const fn has_done(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions)
    }

    /// Whether a stream of this operation says when it is whole, so that one
    /// that does not was cut.
    pub const fn has_end(self) -> bool {
        self.has_done() || matches!(self, Self::Messages | Self::Responses)
    }

    /// Whether `stream` means anything to it.
    pub const fn streams(self) -> bool {
        self.has_end()
            || matches!(
                self,
                Self::ImageGenerations | Self::ImageEdits | Self::Transcriptions
            )
    }

    /// Whether every model answers with a stream where one is asked for. Models
    /// of images and of sounds may give a whole answer all the same.
    pub const fn promises_stream(self) -> bool {
        self.has_end()
    }

    /// Whether the answer is a number of tokens.
    pub const fn counts(self) -> bool {
        matches!(self, Self::CountTokens | Self::InputTokens)
    }

    /// Whether the operation works on OpenAI's messages.
    pub const fn has_messages(self) -> bool {
        matches!(self, Self::ChatCompletions)
    }

    /// A model answers in its own words, whose tokens the request can limit.
    pub const fn says_texts(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions | Self::Completions | Self::Messages | Self::Responses
        )
    }

    /// It answers with images.
    pub const fn makes_images(self) -> bool {
        matches!(
            self,
            Self::ImageGenerations | Self::ImageEdits | Self::ImageVariations
        )
    }

    /// Whose format the client speaks.
    pub const fn speech(self) -> Speech {
        match self {
            Self::Messages | Self::CountTokens => Speech::Anthropic,
            Self::Responses | Self::InputTokens => Speech::Responses,
            _ => Speech::OpenAi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_agree_with_each_other() {
        for op in Operation::ALL {
            assert_eq!(Operation::from_path(op.full_path()), Some(op));
            assert_eq!(op.full_path(), format!("/v1{}", op.path()));
        }
        for other in [
            "/v1",
            "/v1/",
            "/chat/completions",
            "/v1/chat/completions/",
            "/v1/models",
            "",
        ] {
            assert_eq!(Operation::from_path(other), None, "{other}");
        }
    }
}
