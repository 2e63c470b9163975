//! What the drill's provider can do wrong, and what is known of each fault
//! before anybody has tried it.

use crate::route::fault::Kind;
use std::time::Duration;

/// How a stream is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// RST.
    Reset,
    /// FIN, without the last chunk.
    Close,
    /// The last chunk, as if that had been all.
    LastChunk,
}

/// What the provider does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A whole answer.
    Healthy,
    /// Nobody listens at its address.
    Refuse,
    /// RST in place of an answer.
    ResetBeforeHead,
    /// Takes the request and says nothing.
    Silence,
    /// A head, and then nothing.
    HeadThenSilence,
    /// Comments for ever.
    CommentsOnly,
    /// The first event, which names the role only, and then nothing.
    RoleThenSilence,
    /// The answer byte by byte, so slowly that no content gets through.
    ByteDrip,
    /// A few tokens at once, then one so often.
    SlowTokens(Duration),
    /// 500, then a whole answer.
    ErrorOnce,
    /// 500.
    ErrorAlways,
    /// 503 with Retry-After of a second, then a whole answer.
    Unavailable,
    /// 429 with Retry-After of a second, then a whole answer.
    RateLimit,
    /// 429 with Retry-After of an hour.
    RateLimitLong,
    /// 401.
    Unauthorized,
    /// 402.
    Payment,
    /// 404 for the model.
    NoModel,
    /// 409, then a whole answer.
    ConflictOnce,
    /// 400: the prompt is too long.
    ContextLength,
    /// 400: the content is refused.
    ContentPolicy,
    /// 200 with a page of HTML.
    Html,
    /// 200 that says it is JSON and is not.
    NotJson,
    /// A body shorter than its Content-Length.
    TruncatedBody,
    /// 200 with an error in place of the answer.
    ErrorInBody,
    /// An error as the first event.
    ErrorFirst,
    /// A few tokens, and then a break.
    Cut(Cut),
    /// A few tokens, and then nothing, or only comments.
    Stall { comments: bool },
    /// A few tokens, and then an error as an event.
    ErrorAfterTokens,
    /// A whole stream with an event in it that is no JSON.
    Malformed,
    /// A whole stream without `[DONE]`.
    NoDone,
    /// A call of a tool that breaks off in its arguments.
    CallCut,
}

/// What ends the waiting for a provider that says too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    FirstByte,
    FirstToken,
    Stall,
    Rate,
}

/// When it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does not.
    Never,
    /// Before there is something to show to the client.
    Before,
    /// When the client has seen a part of the answer.
    After,
}

/// The longest that a fault lasts: the provider then closes the connection.
pub const LONGEST: Duration = Duration::from_secs(30);

/// What the short Retry-After asks for.
pub const SHORT_WAIT: Duration = Duration::from_secs(1);

impl Fault {
    pub const fn phase(self) -> Phase {
        match self {
            Self::Healthy | Self::NoDone => Phase::Never,
            Self::SlowTokens(_)
            | Self::Cut(_)
            | Self::Stall { .. }
            | Self::ErrorAfterTokens
            | Self::Malformed
            | Self::CallCut => Phase::After,
            _ => Phase::Before,
        }
    }

    /// Which of a route's fallbacks it leads to.
    pub const fn kind(self) -> Kind {
        match self {
            Self::RateLimit | Self::RateLimitLong | Self::Payment => Kind::RateLimit,
            Self::ContextLength => Kind::ContextLength,
            Self::ContentPolicy => Kind::ContentPolicy,
            _ => Kind::Error,
        }
    }

    /// The second request to the same provider is served.
    pub const fn passes(self) -> bool {
        matches!(
            self,
            Self::ErrorOnce | Self::ConflictOnce | Self::Unavailable | Self::RateLimit
        )
    }

    /// It asks to be left alone for [`SHORT_WAIT`].
    pub const fn asks_to_wait(self) -> bool {
        matches!(self, Self::Unavailable | Self::RateLimit)
    }

    /// The limit that ends it, where it does not end by itself.
    pub const fn limit(self) -> Option<Limit> {
        match self {
            Self::Silence => Some(Limit::FirstByte),
            Self::HeadThenSilence | Self::CommentsOnly | Self::RoleThenSilence | Self::ByteDrip => {
                Some(Limit::FirstToken)
            }
            Self::Stall { .. } => Some(Limit::Stall),
            Self::SlowTokens(_) => Some(Limit::Rate),
            _ => None,
        }
    }

    /// What a client may be told when nobody else can be asked.
    pub const fn statuses(self) -> &'static [u16] {
        match self {
            Self::Refuse | Self::ResetBeforeHead | Self::Unavailable => &[502, 503],
            Self::RateLimit | Self::RateLimitLong | Self::Payment => &[429],
            // Where the config names the model in full, it is no client's doing.
            Self::NoModel => &[404, 502],
            Self::ConflictOnce => &[409, 502],
            Self::ContextLength | Self::ContentPolicy => &[400],
            _ => &[502],
        }
    }
}
