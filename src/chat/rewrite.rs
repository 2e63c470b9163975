//! A body as the client sent it, but for the few values that the gateway has to
//! write otherwise. Every other byte stays as it was.

use super::inspect::Request;
use super::operation::Media;
use crate::wire::json::{self, Edit, Span};
use bytes::Bytes;

/// Where members stand that the gateway may have to write otherwise.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// After the last member.
    pub end: usize,
    pub stream_options: Option<Span>,
    /// Limits of the answer's tokens.
    pub limits: Vec<Span>,
}

/// What is written otherwise than the client did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rewrite<'a> {
    pub model: &'a str,
    /// Ask for the usage at a stream's end, though the client does not.
    pub include_usage: bool,
    /// Lower the limit of the answer's tokens to so many.
    pub max_output: Option<Limit<'a>>,
}

/// A limit of the answer's tokens.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    pub tokens: u64,
    /// Its name, where the client gives none.
    pub field: &'a str,
}

impl Request {
    /// The body as `rewrite` has it; in pieces, so that a large body is not
    /// copied.
    pub fn rewritten(&self, body: &Bytes, rewrite: &Rewrite<'_>) -> Vec<Bytes> {
        let mut edits = Vec::new();
        if self.model != rewrite.model {
            let mut with = Vec::with_capacity(rewrite.model.len() + 2);
            match self.media {
                Media::Json => json::write_string(&mut with, rewrite.model),
                Media::Multipart => with.extend_from_slice(rewrite.model.as_bytes()),
            }
            edits.push(edit(self.model_span, with));
        }
        if self.media == Media::Json {
            if rewrite.include_usage && !self.include_usage {
                edits.push(self.ask_for_usage(body));
            }
            if let Some(limit) = &rewrite.max_output {
                self.lower_limits(body, limit, &mut edits);
            }
        }
        if edits.is_empty() {
            return vec![body.clone()];
        }
        match json::splice(body, edits) {
            Ok(spliced) => spliced.into_iter().collect(),
            // The spans were found in this very body, so they lie within it.
            Err(_) => vec![body.clone()],
        }
    }

    fn ask_for_usage(&self, body: &Bytes) -> Edit {
        let Some(span) = self.places.stream_options else {
            return self.inserted(r#","stream_options":{"include_usage":true}"#.to_owned());
        };
        let options = serde_json::from_slice(span.of(body));
        let mut options: serde_json::Map<_, _> = options.unwrap_or_default();
        options.insert("include_usage".to_owned(), true.into());
        edit(span, serde_json::Value::from(options).to_string())
    }

    fn lower_limits(&self, body: &Bytes, limit: &Limit<'_>, edits: &mut Vec<Edit>) {
        let most = limit.tokens;
        for span in &self.places.limits {
            let given = std::str::from_utf8(span.of(body)).ok();
            let given = given.and_then(|text| text.parse::<u64>().ok());
            if given.is_none_or(|given| given > most) {
                edits.push(edit(*span, most.to_string()));
            }
        }
        if self.places.limits.is_empty() {
            edits.push(self.inserted(format!(",\"{}\":{most}", limit.field)));
        }
    }

    /// Another member after the last one.
    fn inserted(&self, with: String) -> Edit {
        let end = self.places.end;
        edit(Span::new(end, end), with)
    }
}

fn edit(span: Span, with: impl Into<Bytes>) -> Edit {
    Edit {
        span,
        with: with.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::inspect::inspect;
    use super::super::operation::Operation;
    use super::*;

    fn read(body: &str) -> Request {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let operation = Operation::ChatCompletions;
        inspect(operation, Media::Json, "application/json", &body, 64).unwrap()
    }

    fn rewritten(text: &str, rewrite: &Rewrite<'_>) -> String {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let out = read(text).rewritten(&body, rewrite).concat();
        String::from_utf8(out).unwrap()
    }

    fn model(model: &str) -> Rewrite<'_> {
        Rewrite {
            model,
            ..Rewrite::default()
        }
    }

    #[test]
    fn splices_the_model_and_nothing_else() {
        let text = r#"{"x": [1.0, "ünï"],  "model" : "gpt-\u0035" , "messages":[ ] }"#;
        let body = Bytes::from_static(text.as_bytes());
        let r = read(text);
        assert_eq!(r.model, "gpt-5");
        let out = r.rewritten(&body, &model("a\"b")).concat();
        assert_eq!(out, text.replace(r#""gpt-\u0035""#, r#""a\"b""#).as_bytes());
    }

    #[test]
    fn the_same_model_leaves_the_body_alone() {
        let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
        let r = read(std::str::from_utf8(&body).unwrap());
        let out = r.rewritten(&body, &model("m"));
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].as_ptr(), body.as_ptr());
    }

    #[test]
    fn usage_is_asked_for_where_the_client_does_not() {
        let asking = Rewrite {
            include_usage: true,
            ..model("m")
        };
        let usage = |text: &str| rewritten(text, &asking);
        let expected = r#"{"model":"m","messages":[],"stream_options":{"include_usage":true} }"#;
        assert_eq!(usage(r#"{"model":"m","messages":[] }"#), expected);
        for said in ["null", "{}", r#"{"include_usage":false}"#] {
            let text = format!(r#"{{"stream_options":{said},"model":"m","messages":[]}}"#);
            let expected = r#"{"stream_options":{"include_usage":true},"model":"m","messages":[]}"#;
            assert_eq!(usage(&text), expected, "{said}");
        }
        let other = r#"{"stream_options":{"x":1},"model":"m","messages":[]}"#;
        assert!(usage(other).contains(r#"{"x":1,"include_usage":true}"#));
        let asked = r#"{"model":"m","messages":[],"stream_options":{"include_usage":true}}"#;
        assert!(read(asked).include_usage);
        assert_eq!(usage(asked), asked);
    }

    #[test]
    fn a_limit_is_only_ever_lowered() {
        let limit = Limit {
            tokens: 50,
            field: "max_completion_tokens",
        };
        let lowering = Rewrite {
            max_output: Some(limit),
            ..model("m")
        };
        let lowered = |text: &str| rewritten(text, &lowering);
        let with = |limit: &str| format!(r#"{{"model":"m",{limit}"messages":[]}}"#);
        let given = r#"{"model":"m","messages":[],"max_completion_tokens":50}"#;
        assert_eq!(lowered(&with("")), given);
        for (before, after) in [
            (r#""max_tokens":51,"#, r#""max_tokens":50,"#),
            (r#""max_tokens":49,"#, r#""max_tokens":49,"#),
            (r#""max_tokens":null,"#, r#""max_tokens":50,"#),
            (
                r#""max_tokens":40,"max_completion_tokens":60,"#,
                r#""max_tokens":40,"max_completion_tokens":50,"#,
            ),
        ] {
            assert_eq!(lowered(&with(before)), with(after));
        }
        let both = with(r#""max_tokens":40,"max_completion_tokens":60,"#);
        assert_eq!(read(&both).max_output, Some(60));
    }
}
