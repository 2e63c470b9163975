//! What can go wrong with an attempt, and what follows from it: one table.
//!
//! Everything that tries again, moves on, gives up, trips a breaker or raises
//! an alarm reads [`Fault::rule`]; nothing else decides it.

/// What went wrong with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection: refused, no name, no TLS.
    Connect,
    /// No connection in time.
    ConnectSilent,
    /// The connection broke before the answer began.
    Reset,
    /// Nothing came in time.
    Silent,
    /// No content came while there was time to ask somebody else.
    SlowStart,
    /// Nothing came in the time that the client gave, which is less than the
    /// route gives and no longer than the target may need.
    Hurried,
    /// 429.
    RateLimited,
    /// 498, 503, 529: more than it can do.
    Overloaded,
    /// 408, and what else is said to be for the moment only.
    Transient,
    /// 409.
    Conflict,
    /// Any other 5xx, 424, 499.
    Server,
    /// An error in place of the answer: inside a 200, or as its first event.
    InBand,
    /// A body that breaks off.
    Truncated,
    /// HTML, no JSON, an event over the limit: no answer at all.
    Garbled,
    /// 401 and 403, or no credential to send.
    Credential,
    /// 402, or a quota that is used up.
    Payment,
    /// 404: the provider does not know the model.
    NoModel,
    /// The prompt is longer than the model's window.
    ContextLength,
    /// The provider refuses the content.
    ContentPolicy,
    /// Any other 4xx: the request is wrong everywhere.
    Rejected,
    /// A count of tokens was asked where nobody counts.
    NoCounter,
}

/// Kinds of failures, by which a route's fallbacks are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Error,
    RateLimit,
    ContextLength,
    ContentPolicy,
}

/// Whether the same target is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Not in this request.
    Never,
    /// At another of its endpoints, if there is one.
    Elsewhere,
    /// There, or after a short pause; as `Later` if it said when.
    Soon,
    /// When its `Retry-After` has passed, if nobody else can be asked.
    Later,
}

/// Whose breaker an outcome counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feeds {
    /// Nobody's: the client's own fault.
    Nobody,
    /// The target's: its endpoints have nothing to do with it.
    Target,
    /// The endpoint's, and the target's once it is left.
    Both,
}

/// What an operator has to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    Credential,
    Payment,
    Model,
}

impl Alarm {
    pub const ALL: [Self; 3] = [Self::Credential, Self::Payment, Self::Model];

    /// The value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Payment => "payment",
            Self::Model => "model",
        }
    }
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The fallbacks that it opens; `None` where the same would happen
    /// everywhere.
    pub kind: Option<Kind>,
    pub again: Again,
    pub feeds: Feeds,
    pub alarm: Option<Alarm>,
}

impl Fault {
    pub const ALL: [Self; 21] = [
        Self::Connect,
        Self::ConnectSilent,
        Self::Reset,
        Self::Silent,
        Self::SlowStart,
        Self::Hurried,
        Self::RateLimited,
        Self::Overloaded,
        Self::Transient,
        Self::Conflict,
        Self::Server,
        Self::InBand,
        Self::Truncated,
        Self::Garbled,
        Self::Credential,
        Self::Payment,
        Self::NoModel,
        Self::ContextLength,
        Self::ContentPolicy,
        Self::Rejected,
        Self::NoCounter,
    ];

    /// The one table. A silent target is never asked twice: whoever waited for
    /// it once has no time to wait again. A refusal of the gateway's credential
    /// or account concerns the whole provider, wherever it is reached.
    pub const fn rule(self) -> Rule {
        use Again::{Elsewhere, Later, Never, Soon};
        use Feeds::{Both, Nobody, Target};
        use Kind::{ContentPolicy, ContextLength, Error, RateLimit};
        let (kind, again, feeds, alarm) = match self {
            Self::Connect => (Some(Error), Soon, Both, None),
            Self::ConnectSilent => (Some(Error), Never, Both, None),
            Self::Reset => (Some(Error), Soon, Both, None),
            Self::Silent => (Some(Error), Never, Both, None),
            Self::SlowStart => (Some(Error), Never, Both, None),
            // Else a client could shut a target for all others.
            Self::Hurried => (Some(Error), Never, Nobody, None),
            Self::RateLimited => (Some(RateLimit), Later, Target, None),
            Self::Overloaded => (Some(Error), Later, Both, None),
            Self::Transient => (Some(Error), Soon, Both, None),
            Self::Conflict => (Some(Error), Soon, Nobody, None),
            Self::Server => (Some(Error), Soon, Both, None),
            // It took the request and began to answer: not its endpoint's fault.
            Self::InBand => (Some(Error), Soon, Target, None),
            Self::Truncated => (Some(Error), Soon, Both, None),
            Self::Garbled => (Some(Error), Elsewhere, Both, None),
            Self::Credential => (Some(Error), Never, Target, Some(Alarm::Credential)),
            Self::Payment => (Some(RateLimit), Never, Target, Some(Alarm::Payment)),
            Self::NoModel => (Some(Error), Never, Target, Some(Alarm::Model)),
            Self::ContextLength => (Some(ContextLength), Never, Nobody, None),
            Self::ContentPolicy => (Some(ContentPolicy), Never, Nobody, None),
            Self::Rejected => (None, Never, Nobody, None),
            Self::NoCounter => (None, Never, Nobody, None),
        };
        Rule {
            kind,
            again,
            feeds,
            alarm,
        }
    }
}

/// Which failures lead to a candidate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    pub const NONE: Self = Self(0);
    pub const ERROR: Self = Self(1);
    pub const RATE_LIMIT: Self = Self(1 << 1);
    /// A prompt that is too long for another model.
    pub const CONTEXT_LENGTH: Self = Self(1 << 2);
    /// The same, if its window is not known to be as small.
    pub const IF_LARGER: Self = Self(1 << 3);
    pub const CONTENT_POLICY: Self = Self(1 << 4);

    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Error => Self::ERROR,
            Kind::RateLimit => Self::RATE_LIMIT,
            Kind::ContextLength => Self::CONTEXT_LENGTH,
            Kind::ContentPolicy => Self::CONTENT_POLICY,
        }
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether they have any in common.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_did_wrong_trips_no_breaker_and_raises_no_alarm() {
        for fault in [
            Fault::Rejected,
            Fault::Hurried,
            Fault::ContextLength,
            Fault::ContentPolicy,
            Fault::NoCounter,
        ] {
            let rule = fault.rule();
            assert_eq!(
                (rule.feeds, rule.again, rule.alarm),
                (Feeds::Nobody, Again::Never, None),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn a_silent_target_is_never_asked_twice() {
        for fault in [Fault::ConnectSilent, Fault::Silent, Fault::SlowStart] {
            assert_eq!(fault.rule().again, Again::Never, "{fault:?}");
        }
    }

    #[test]
    fn what_the_operator_has_to_mend_moves_on_and_raises_an_alarm() {
        for (fault, alarm) in [
            (Fault::Credential, Alarm::Credential),
            (Fault::Payment, Alarm::Payment),
            (Fault::NoModel, Alarm::Model),
        ] {
            let rule = fault.rule();
            assert_eq!(rule.alarm, Some(alarm), "{fault:?}");
            assert!(
                rule.kind.is_some() && rule.again == Again::Never,
                "{fault:?}"
            );
        }
        assert_eq!(
            Fault::ALL
                .iter()
                .filter(|f| f.rule().alarm.is_some())
                .count(),
            Alarm::ALL.len()
        );
    }

    #[test]
    fn a_content_policy_opens_its_own_fallbacks_only() {
        let kind = Fault::ContentPolicy.rule().kind.map(Kinds::of);
        assert_eq!(kind, Some(Kinds::CONTENT_POLICY));
        let usual = Kinds::ERROR.and(Kinds::RATE_LIMIT).and(Kinds::IF_LARGER);
        assert!(!usual.meets(Kinds::CONTENT_POLICY));
    }
}
