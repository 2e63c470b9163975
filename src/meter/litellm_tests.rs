use super::*;
use crate::meter::Book;
use crate::units::MicroUsd;

const MAP: &str = r#"{
  "sample_spec": {"input_cost_per_token": 0.0, "litellm_provider": "one of them"},
  "gpt-x": {
    "litellm_provider": "openai", "mode": "chat", "max_tokens": 100,
    "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07,
    "cache_read_input_token_cost": 7.5e-08, "input_cost_per_token_batches": 1e-08,
    "input_cost_per_token_priority": 9e-07, "input_cost_per_audio_token": null,
    "source": "https://x.test/\"prices\""
  },
  "claude-x": {
    "litellm_provider": "anthropic", "input_cost_per_token": 0.000003,
    "output_cost_per_token": 1.5E-5, "cache_creation_input_token_cost": 3.75e-06,
    "cache_creation_input_token_cost_above_1hr": 6e-06,
    "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
    "input_cost_per_token_above_200k_tokens": 6e-06,
    "output_cost_per_token_above_200k_tokens": 2.25e-05,
    "search_context_cost_per_query": {"search_context_size_low": 0.01}
  },
  "groq/openai/gpt-oss": {"litellm_provider": "groq", "input_cost_per_token": 2.9999999999999997e-06},
  "together_ai/m": {"litellm_provider": "together_ai", "input_cost_per_token": 1e-06},
  "bedrock/us-east-1/a.b-v1:0": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-06},
  "a.b-v1:0": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 2e-06},
  "gemini/g": {"litellm_provider": "gemini", "output_cost_per_image": 0.039},
  "vertex_ai/g": {"litellm_provider": "vertex_ai-language-models", "input_cost_per_token": 3e-06},
  "text-completion-codestral/c": {"litellm_provider": "text-completion-codestral", "input_cost_per_token": 3e-07},
  "pictures": {"litellm_provider": "openai", "input_cost_per_token": 5e-06, "input_cost_per_image_token": 1e-05},
  "whisper": {"litellm_provider": "openai", "input_cost_per_second": 0.0001},
  "free": {"litellm_provider": "openai", "input_cost_per_token": 0, "output_cost_per_token": 0.0},
  "fine": {"litellm_provider": "openai", "input_cost_per_token": 1.5e-13},
  "tiers": {"litellm_provider": "dashscope", "tiered_pricing": [{"range": [0, 1]}]},
  "odd": 3,
  "nobody": {"input_cost_per_token": 1e-06}
}"#;

#[test]
fn a_map_becomes_rows_that_cost_the_same() {
    let done = import(MAP).unwrap();
    let book = Book::parse(&done.toml).unwrap();
    assert_eq!((done.rows, book.rows().len()), (9, 9));
    let at = "2026-01-01".parse().unwrap();
    let price = |provider, dialect, model| book.find(provider, dialect, model, at);
    let cost = |provider, dialect, model, prompt, cached| {
        let usage = crate::chat::Usage {
            prompt,
            cached,
            ..Default::default()
        };
        price(provider, dialect, model).unwrap().cost(&usage)
    };
    assert_eq!(
        cost("o", "openai", "gpt-x", 1_000_000, 0),
        MicroUsd(150_000)
    );
    assert_eq!(
        cost("o", "openai", "gpt-x", 1_000_000, 1_000_000),
        MicroUsd(75_000)
    );
    assert_eq!(
        cost("a", "anthropic", "claude-x", 200_000, 0),
        MicroUsd(600_000)
    );
    assert_eq!(
        cost("a", "anthropic", "claude-x", 300_000, 0),
        MicroUsd(1_800_000)
    );
    let claude = price("a", "anthropic", "claude-x").unwrap();
    assert_eq!(claude.rates.cache_write_1h, Rate(6_000_000));
    assert_eq!(claude.tiers[0].rates.cache_write_1h, Rate(12_000_000));
    let oss = price("groq-eu", "openai", "openai/gpt-oss").unwrap();
    assert_eq!(
        oss.rates.input,
        Rate(3_000_000),
        "what a float left is rounded"
    );
    assert!(price("groq", "openai", "gpt-oss").is_none());
    assert!(price("together", "openai", "m").is_some());
    assert!(price("codestral", "openai", "c").is_some());
    let pictures = price("openai", "openai", "pictures").unwrap();
    assert_eq!(pictures.rates.input, Rate(10_000_000), "the dearer counts");
    assert_eq!(
        cost("b", "bedrock", "a.b-v1:0", 1_000_000, 0),
        MicroUsd(2_000_000)
    );
    assert!(price("b", "openai", "a.b-v1:0").is_none());
    let image = price("g", "gemini", "g").unwrap();
    assert_eq!(image.rates.image.for_one(), "0.039");
    assert!(price("v", "vertex", "g").is_some());
}

#[test]
fn what_cannot_be_said_is_named() {
    let done = import(MAP).unwrap();
    let left_out: Vec<&str> = done.left_out.iter().map(|(name, _)| &**name).collect();
    let expected = [
        "bedrock/us-east-1/a.b-v1:0",
        "fine",
        "free",
        "nobody",
        "odd",
        "tiers",
        "whisper",
    ];
    assert_eq!(left_out, expected);
    let partly = (
        "claude-x".to_owned(),
        "search_context_cost_per_query".to_owned(),
    );
    assert_eq!(done.partly, [partly]);
    assert!(import("[]").is_err() && import("{").is_err());
    assert_eq!(import("{}").unwrap(), Imported::default());
}

#[test]
fn numbers_are_read_as_decimals() {
    for (text, expected) in [
        ("0", Some(0)),
        ("0.0", Some(0)),
        ("1e-12", Some(1)),
        ("1.5e-07", Some(150_000)),
        ("0.00000015", Some(150_000)),
        ("2.5E-6", Some(2_500_000)),
        ("1", Some(1_000_000_000_000)),
        ("0.04", Some(40_000_000_000)),
        ("10e-13", Some(1)),
        ("1.0000000000000001e-07", Some(100_000)),
        ("2.9999999999999997e-06", Some(3_000_000)),
        ("1e-13", None),
        ("1.23e-12", None),
        ("-1e-06", None),
        ("\"1\"", None),
        ("null", None),
        ("1e400", None),
        ("1e-400", None),
        ("1e99999999999999999999", None),
    ] {
        assert_eq!(picos(text), expected, "{text}");
    }
}
