use super::*;
use crate::meter::Book;
use crate::units::Moment;

/// A PNG's first bytes, and enough behind them to see whether it counted as text.
const BASE64: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn of(body: &str) -> Size {
    Size::of(body.as_bytes())
}

/// The size of a body, and what it would be with all bytes as text.
fn check(body: &str, images: u64, opaque: u64, not_text: usize) {
    let expected = Size {
        text_bytes: (body.len() - not_text) as u64,
        images,
        tools: 0,
        opaque,
    };
    assert_eq!(of(body), expected, "{body}");
}

#[test]
fn an_image_is_an_image_in_each_format_and_its_base64_is_no_text() {
    let url = format!("data:image/png;base64,{BASE64}");
    for body in [
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"a"}},{{"type":"image_url","image_url":{{"url":"{url}","detail":"low"}}}}]}}]}}"#
        ),
        format!(
            r#"{{"input":[{{"role":"user","content":[{{"type":"input_image","image_url":"{url}"}}]}}]}}"#
        ),
        format!(
            r#"{{"input":[{{"type":"computer_call_output","output":{{"type":"computer_screenshot","image_url":"{url}"}}}}]}}"#
        ),
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{BASE64}"}}}}]}}]}}"#
        ),
        // What it is may be said after it.
        format!(
            r#"{{"messages":[{{"content":[{{"source":{{"data":"{BASE64}","media_type":"image/png","type":"base64"}},"type":"image"}}]}}]}}"#
        ),
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"tool_result","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{BASE64}"}}}}]}}]}}]}}"#
        ),
        format!(
            r#"{{"contents":[{{"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{BASE64}"}}}}]}}]}}"#
        ),
        format!(
            r#"{{"contents":[{{"parts":[{{"inline_data":{{"data":"{BASE64}","mime_type":"image/png"}}}}]}}]}}"#
        ),
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"image":{{"format":"png","source":{{"bytes":"{BASE64}"}}}}}}]}}]}}"#
        ),
        format!(r#"{{"images":["{url}"],"input_type":"image"}}"#),
        format!(
            r#" {{ "messages" : [ {{ "content" : [ {{ "image_url" : {{ "url" : "{url}" }} }} ] }} ] }} "#
        ),
    ] {
        check(&body, 1, 0, BASE64.len());
    }
    // Slashes may be escaped.
    let escaped = url.replace('/', "\\/");
    let body = format!(r#"{{"messages":[{{"content":[{{"image_url":{{"url":"{escaped}"}}}}]}}]}}"#);
    check(&body, 1, 0, BASE64.replace('/', "\\/").len());
}

#[test]
fn text_that_looks_like_an_image_is_text() {
    let url = format!("data:image/png;base64,{BASE64}");
    for body in [
        // As a text.
        format!(r#"{{"messages":[{{"role":"user","content":"{url}"}}]}}"#),
        format!(r#"{{"messages":[{{"content":[{{"type":"text","text":"{url}"}}]}}]}}"#),
        // In what a tool is called with, which the model reads.
        format!(
            r#"{{"messages":[{{"content":[{{"type":"tool_use","input":{{"image_url":{{"url":"{url}"}}}}}}]}}]}}"#
        ),
        format!(
            r#"{{"messages":[{{"content":[{{"type":"tool_use","input":{{"source":{{"media_type":"image/png","data":"{BASE64}"}}}}}}]}}]}}"#
        ),
        // In a tool's schema.
        format!(
            r#"{{"tools":[{{"function":{{"parameters":{{"properties":{{"url":{{"default":"{url}"}}}}}}}}}}]}}"#
        ),
        format!(r#"{{"tools":[{{"input_schema":{{"image_url":{{"url":"{url}"}}}}}}]}}"#),
        // A document that is text.
        format!(
            r#"{{"messages":[{{"content":[{{"type":"document","source":{{"type":"text","media_type":"text/plain","data":"{BASE64}"}}}}]}}]}}"#
        ),
        format!(r#"{{"image_url":{{"url":"{url}"}}}}"#),
        format!(r#"{{"metadata":{{"url":"{url}"}}}}"#),
        format!(r#"{{"prompt":"{url}"}}"#),
    ] {
        check(&body, 0, 0, 0);
    }
}

#[test]
fn only_base64_passes_for_an_image() {
    for data in [
        "data:image/png;base64,hello world",
        "data:image/png;base64,hello\\nworld",
        "data:image/png;base64,h\u{e9}llo",
        "data:image/png;base64,a\\\\b",
        "data:image/svg+xml,<svg/>",
        "data:image/png;base64",
        "data:text/plain;base64,aGVsbG8=",
        "https://example.test/a.png",
        "",
    ] {
        let body =
            format!(r#"{{"messages":[{{"content":[{{"image_url":{{"url":"{data}"}}}}]}}]}}"#);
        check(&body, 1, 0, 0);
        let body = format!(
            r#"{{"messages":[{{"content":[{{"image":{{"source":{{"bytes":"{data}"}}}}}}]}}]}}"#
        );
        let not_text = if data.is_empty() { Some(1) } else { None };
        check(&body, not_text.unwrap_or_default(), 0, 0);
    }
    // A name written with escapes is what it says.
    let body = format!(
        r#"{{"messages":[{{"content":[{{"image_url":{{"\u0075rl":"data:image/png;base64,{BASE64}"}}}}]}}]}}"#
    );
    check(&body, 1, 0, BASE64.len());
}

#[test]
fn what_nothing_in_the_body_bounds_is_opaque() {
    for body in [
        r#"{"previous_response_id":"resp_1"}"#,
        r#"{"conversation":"conv_1"}"#,
        r#"{"conversation":{"id":"conv_1"}}"#,
        r#"{"prompt":{"id":"pmpt_1"}}"#,
        r#"{"cachedContent":"cachedContents/1"}"#,
        r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
        r#"{"input":[{"content":[{"type":"input_file","file_url":"https://x.test/a.pdf"}]}]}"#,
        r#"{"messages":[{"content":[{"source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}]}]}"#,
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://a/b"}}]}]}"#,
        r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"video/mp4","data":"AAAA"}}]}]}"#,
        r#"{"messages":[{"content":[{"document":{"source":{"bytes":"AAAA"}}}]}]}"#,
        r#"{"messages":[{"content":[{"image":{"source":{"s3Location":{"uri":"s3://a"}}}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"video_url","video_url":{"url":"https://x.test/v"}}]}]}"#,
        r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
        r#"{"tools":[{"google_search":{}}]}"#,
        r#"{"tools":[{"type":"mcp","server_label":"x"}]}"#,
        r#"{"mcp_servers":[{"type":"url","url":"https://x.test"}]}"#,
        r#"{"web_search_options":{}}"#,
    ] {
        assert_eq!(of(body).opaque, 1, "{body}");
        assert_eq!(of(body).tokens(None), WINDOW, "{body}");
    }
    // A document behind an address, whichever of both is said first; an image is none.
    let first = r#"{"messages":[{"content":[{"type":"document","source":{"type":"url","url":"https://x.test/a"}}]}]}"#;
    let last = r#"{"messages":[{"content":[{"source":{"type":"url","url":"https://x.test/a"},"type":"document"}]}]}"#;
    assert_eq!((of(first).opaque, of(last).opaque), (1, 1));
    let image = r#"{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://x.test/a"}}]}]}"#;
    check(image, 1, 0, 0);
    for plain in [
        r#"{"previous_response_id":null,"tools":[{"type":"function","function":{"name":"web_search"}}]}"#,
        r#"{"tools":[{"name":"web_search","input_schema":{"type":"object"}}]}"#,
        r#"{"prompt":"id","mcp_servers":[]}"#,
        r#"{"metadata":{"file_id":"a"},"messages":[{"role":"user","content":"file_id"}]}"#,
    ] {
        check(plain, 0, 0, 0);
    }
}

#[test]
fn tools_that_a_provider_describes_itself_are_counted() {
    let body = r#"{"tools":[{"type":"computer_20250124","name":"computer"},{"type":"custom","name":"a"},{"type":"function","function":{"name":"bash"}},{"name":"b"},{"type":"bash_20250124","name":"bash"}]}"#;
    let size = of(body);
    assert_eq!((size.tools, size.opaque), (2, 0));
    assert_eq!(size.text_bytes, body.len() as u64);
}

#[test]
fn what_is_no_object_is_all_text() {
    for body in [
        "",
        "[]",
        "\"a\"",
        "--x\r\nContent-Type: image/png\r\n",
        "{\"a\":",
        "{\"a",
        "{\"a\\",
    ] {
        check(body, 0, 0, 0);
    }
    assert_eq!(of("{}}").text_bytes, 3);
}

#[test]
fn tokens_are_by_the_price_or_by_the_common_bounds() {
    let size = Size {
        text_bytes: 1_001,
        images: 2,
        tools: 1,
        opaque: 0,
    };
    let added = TOOL_TOKENS + REQUEST_TOKENS;
    assert_eq!(size.tokens(None), 1_001 + 2 * IMAGE_TOKENS + added);
    let book = Book::parse(
        "[[price]]\nmatch = \"m\"\ninput = 1\nmax_image_tokens = 10\nbytes_per_token = 2\n",
    );
    let price = book.unwrap().find("p", "openai", "m", Moment(0)).unwrap();
    assert_eq!(size.tokens(Some(&price)), 501 + 20 + added);
    let most = Size {
        text_bytes: u64::MAX,
        images: u64::MAX,
        tools: u64::MAX,
        opaque: 1,
    };
    assert_eq!(most.tokens(None), u64::MAX);
}

mod properties {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,40}",
            "[A-Za-z0-9+/]{0,40}",
            "data:image/png;base64,[A-Za-z0-9+/]{0,40}",
            Just("image/png".to_owned()),
        ]
    }

    fn name() -> impl Strategy<Value = String> {
        const KNOWN: [&str; 16] = [
            "messages",
            "content",
            "image_url",
            "url",
            "source",
            "data",
            "media_type",
            "type",
            "image",
            "bytes",
            "input",
            "tools",
            "contents",
            "parts",
            "inlineData",
            "mimeType",
        ];
        prop_oneof![4 => prop::sample::select(&KNOWN[..]).prop_map(str::to_owned), 1 => ".{0,6}"]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            text().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(7, 60, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((name(), inner), 0..5)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever stands where, written loosely or tightly: what is taken for no
        /// text is base64, and it never exceeds what there is.
        #[test]
        fn any_object_is_walked_to_its_end(inner in value()) {
            let body = json!({"messages": [{"content": [inner]}]});
            let (tight, loose) = (body.to_string(), serde_json::to_string_pretty(&body).unwrap());
            let (a, b) = (of(&tight), of(&loose));
            prop_assert_eq!((a.images, a.opaque), (b.images, b.opaque));
            prop_assert!(a.text_bytes <= tight.len() as u64);
            prop_assert_eq!(loose.len() as u64 - b.text_bytes, tight.len() as u64 - a.text_bytes);
        }

        #[test]
        fn nothing_panics_whatever_the_bytes(mut body in prop::collection::vec(any::<u8>(), 0..200)) {
            body.insert(0, b'{');
            let size = Size::of(&body);
            prop_assert!(size.text_bytes <= body.len() as u64);
        }

        /// The bound holds for a text in a message, as OpenAI's newer tokenizer counts.
        #[test]
        fn bytes_bound_the_tokens(said in ".{0,200}") {
            let body = json!({"messages": [{"role": "user", "content": said}]}).to_string();
            prop_assert!(of(&body).tokens(None) >= crate::meter::tokens::count("gpt-5", &said));
        }
    }
}

#[test]
fn what_is_written_with_escapes_is_what_it_says() {
    for body in [
        r#"{"previous_response\u005fid":"resp_1"}"#,
        r#"{"tools":[{"type":"web\u005fsearch"}]}"#,
        r#"{"t\u006fols":[{"t\u0079pe":"web_search"}]}"#,
        r#"{"tools":[{"google\u005fsearch":{}}]}"#,
        r#"{"messages":[{"content":[{"type":"fil\u0065","x":1}]}]}"#,
    ] {
        assert!(Size::of(body.as_bytes()).opaque > 0, "{body}");
    }
    let image = r#"{"messages":[{"content":[{"type":"image_url","image_url":{"\u0075rl":"https://a/b.png"}}]}]}"#;
    assert_eq!(Size::of(image.as_bytes()).images, 1);
}
