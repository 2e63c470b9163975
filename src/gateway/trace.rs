//! Request ids and W3C trace context.

use crate::telemetry::Span;

/// A request id that may go into headers and logs: what a client sent if it is
/// harmless, else one of our own.
pub fn request_id(sent: Option<&[u8]>) -> String {
    sent.filter(|id| is_id(id))
        .and_then(|id| std::str::from_utf8(id).ok())
        .map_or_else(|| format!("req_{}", hex(&random::<16>())), str::to_owned)
}

/// Whether an id may go into headers and logs.
pub fn is_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(|b| is_id_byte(*b))
}

fn is_id_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"._:/@+-=".contains(&b)
}

/// A `traceparent` of version 00 (W3C Trace Context, section 3.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: String,
    /// This gateway's own span, and the client's.
    pub span: Span,
    flags: String,
    /// Whether the trace is the client's.
    pub continued: bool,
}

impl TraceParent {
    /// Continues the client's trace, or starts one, which is kept if `sample`
    /// says so of its id. What the client says of its own is left as it is.
    pub fn continue_or_start(sent: Option<&[u8]>, sample: impl FnOnce(&str) -> bool) -> Self {
        let sent = sent
            .and_then(|s| std::str::from_utf8(s).ok())
            .and_then(parse);
        let continued = sent.is_some();
        let id = hex(&random::<8>());
        let Some(Sent {
            trace,
            parent,
            flags,
        }) = sent
        else {
            let trace_id = hex(&random::<16>());
            let sampled = sample(&trace_id);
            return Self {
                trace_id,
                span: Span {
                    id,
                    parent: None,
                    sampled,
                },
                flags: if sampled { "01" } else { "00" }.to_owned(),
                continued,
            };
        };
        Self {
            trace_id: trace.to_owned(),
            span: Span {
                id,
                parent: Some(parent.to_owned()),
                sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & SAMPLED != 0),
            },
            flags: flags.to_owned(),
            continued,
        }
    }

    /// The header's value, with our span as the parent.
    pub fn header(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span.id, self.flags)
    }
}

/// What a client's header says.
#[derive(Debug, PartialEq, Eq)]
struct Sent<'a> {
    trace: &'a str,
    parent: &'a str,
    flags: &'a str,
}

/// The flag for a trace that is kept (W3C Trace Context, section 3.2.2.5).
const SAMPLED: u8 = 1;

/// The fields of the header, if well-formed.
fn parse(header: &str) -> Option<Sent<'_>> {
    let mut fields = header.split('-');
    let (version, trace, parent, flags) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let hex = |s: &str, n| {
        s.len() == n
            && s.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |s: &str| s.bytes().all(|b| b == b'0');
    let whole = version != "00" || fields.next().is_none();
    (hex(version, 2)
        && version != "ff"
        && whole
        && hex(trace, 32)
        && !zero(trace)
        && hex(parent, 16)
        && !zero(parent)
        && hex(flags, 2))
    .then_some(Sent {
        trace,
        parent,
        flags,
    })
}

/// Random bytes for ids. Ids need to be unique, not secret, so when the
/// system's source fails the clock has to do.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        for (to, from) in bytes
            .iter_mut()
            .zip(now.as_nanos().to_le_bytes().iter().cycle())
        {
            *to = *from;
        }
    }
    bytes
}

/// A number that no client can foresee, for weighted choices.
pub fn seed() -> u64 {
    u64::from_le_bytes(random())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            // Writing to a String does not fail.
            let _ = write!(out, "{b:02x}");
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_ids_are_kept_and_others_replaced() {
        assert_eq!(request_id(Some(b"abc-123.X")), "abc-123.X");
        let long = vec![b'a'; 129];
        for bad in [
            b"".as_slice(),
            b"a b",
            b"a\r\nx",
            b"\"",
            "ü".as_bytes(),
            &long,
        ] {
            assert!(request_id(Some(bad)).starts_with("req_"), "{bad:?}");
        }
        assert_ne!(request_id(None), request_id(None));
    }

    #[test]
    fn a_trace_is_continued_with_our_span() {
        let sent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let t = TraceParent::continue_or_start(Some(sent), |_| panic!("the client has decided"));
        assert_eq!(t.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(t.span.id, "00f067aa0ba902b7");
        assert_eq!(t.span.parent.as_deref(), Some("00f067aa0ba902b7"));
        assert!(t.span.sampled);
        assert!(parse(&t.header()).is_some());
    }

    #[test]
    fn whether_a_trace_is_kept_is_said_in_its_flags() {
        for (flags, kept) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let sent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let t = TraceParent::continue_or_start(Some(sent.as_bytes()), |_| !kept);
            assert_eq!(t.span.sampled, kept, "{flags}");
            assert!(t.header().ends_with(&format!("-{flags}")));
        }
        for kept in [false, true] {
            let t = TraceParent::continue_or_start(None, |id| {
                assert_eq!(id.len(), 32);
                kept
            });
            assert_eq!((t.span.sampled, t.span.parent), (kept, None));
            assert_eq!(t.flags, if kept { "01" } else { "00" });
        }
    }

    #[test]
    fn malformed_traces_start_anew() {
        for bad in [
            "",
            "00-0-0-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
            let started = TraceParent::continue_or_start(Some(bad.as_bytes()), |_| true);
            assert!(parse(&started.header()).is_some());
            assert!(!started.continued);
        }
    }
}
