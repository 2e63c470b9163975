//! The shipped table is read as it is; each case is one fact of it.

use super::*;

fn shipped() -> Table {
    Table::parse(SHIPPED).expect("the shipped table is a table")
}

fn look(dialect: &str, model: &str) -> Capabilities {
    shipped().lookup(dialect, model)
}

#[test]
fn an_empty_table_says_that_everything_goes() {
    let table = Table::parse("").expect("a table");
    assert_eq!(table.lookup("openai", "x"), Capabilities::default());
}

/// Model, sampling, thinking, prefill, forced tools, system between messages.
#[test]
fn the_generations_of_claude() {
    use SamplingRule as S;
    use Thinking as T;
    let cases = [
        (
            "claude-3-haiku-20240307",
            S::Free,
            T::None,
            true,
            true,
            false,
        ),
        (
            "claude-3-7-sonnet-latest",
            S::Free,
            T::Budget,
            true,
            true,
            false,
        ),
        (
            "claude-sonnet-4-20250514",
            S::Free,
            T::Budget,
            true,
            true,
            false,
        ),
        (
            "claude-opus-4-1-20250805",
            S::One,
            T::Budget,
            true,
            true,
            false,
        ),
        ("claude-sonnet-4-5", S::One, T::Budget, true, true, false),
        (
            "claude-haiku-4-5-20251001",
            S::One,
            T::Budget,
            true,
            true,
            false,
        ),
        (
            "claude-opus-4-5-20251101",
            S::One,
            T::Budget,
            true,
            true,
            false,
        ),
        ("claude-opus-4-6", S::Free, T::Adaptive, false, true, false),
        (
            "claude-sonnet-4-6",
            S::Free,
            T::Adaptive,
            false,
            true,
            false,
        ),
        (
            "claude-opus-4-7-20260416",
            S::None,
            T::Adaptive,
            false,
            true,
            false,
        ),
        ("claude-opus-4-8", S::None, T::Adaptive, false, true, true),
        ("claude-opus-5", S::None, T::Adaptive, false, true, true),
        ("claude-sonnet-5", S::None, T::Adaptive, false, true, true),
        ("claude-fable-5", S::None, T::Adaptive, false, true, true),
        ("claude-mythos-5", S::None, T::Adaptive, false, true, true),
        ("claude-opus-5-5", S::None, T::Adaptive, false, false, true),
        (
            "claude-sonnet-5-5",
            S::None,
            T::Adaptive,
            false,
            false,
            true,
        ),
        ("claude-haiku-5-5", S::None, T::Adaptive, false, false, true),
        ("claude-fable-5-1", S::None, T::Adaptive, false, false, true),
        ("claude-opus-5-9", S::None, T::Adaptive, false, false, true),
        (
            "claude-saga-9-20280101",
            S::None,
            T::Adaptive,
            false,
            false,
            true,
        ),
    ];
    for (model, sampling, thinking, prefill, forced, mid) in cases {
        let found = look("anthropic", model);
        let facts = (found.sampling, found.thinking, found.prefill);
        assert_eq!(facts, (sampling, thinking, prefill), "{model}");
        assert_eq!(
            (found.forced_tools, found.mid_system),
            (forced, mid),
            "{model}"
        );
        assert!(
            found.max_output.is_some() && found.context.is_some(),
            "{model}"
        );
    }
}

#[test]
fn who_cannot_stop_thinking() {
    for (dialect, model, always) in [
        ("anthropic", "claude-opus-5", false),
        ("anthropic", "claude-opus-5-5", true),
        ("anthropic", "claude-fable-5-1", true),
        ("anthropic", "claude-sonnet-5-5", false),
        ("gemini", "gemini-2.5-pro", true),
        ("gemini", "gemini-2.5-flash", false),
        ("gemini", "gemini-2.5-flash-lite", false),
        ("gemini", "gemini-3.1-pro-preview", true),
        ("openai", "o3", true),
        ("openai", "gpt-5", true),
        ("openai", "gpt-5.1", false),
    ] {
        assert_eq!(look(dialect, model).thinks_always, always, "{model}");
    }
}

#[test]
fn claude_is_the_same_by_all_its_names() {
    let here = look("anthropic", "claude-opus-4-1-20250805");
    for (dialect, model) in [
        ("anthropic", "claude-opus-4-1"),
        ("vertex", "claude-opus-4-1@20250805"),
        ("bedrock", "anthropic.claude-opus-4-1-20250805-v1:0"),
        ("bedrock", "us.anthropic.claude-opus-4-1-20250805-v1:0"),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-1-20250805-v1:0",
        ),
    ] {
        assert_eq!(look(dialect, model), here, "{model}");
    }
}

#[test]
fn openai_models() {
    use SamplingRule as S;
    use Thinking as T;
    for (model, sampling, thinking, output, context) in [
        ("gpt-4o", S::Free, T::None, 16_384, 128_000),
        ("gpt-4o-mini-2024-07-18", S::Free, T::None, 16_384, 128_000),
        ("gpt-4o-2024-05-13", S::Free, T::None, 4_096, 128_000),
        ("ft:gpt-4o:org::id", S::Free, T::None, 16_384, 128_000),
        ("gpt-4.1-nano", S::Free, T::None, 32_768, 1_047_576),
        ("gpt-4", S::Free, T::None, 4_096, 8_192),
        ("gpt-4-turbo-2024-04-09", S::Free, T::None, 4_096, 128_000),
        ("gpt-3.5-turbo", S::Free, T::None, 4_096, 16_385),
        ("o1", S::None, T::Effort, 100_000, 200_000),
        ("o4-mini-2025-04-16", S::None, T::Effort, 100_000, 200_000),
        ("gpt-5", S::None, T::Effort, 128_000, 400_000),
        ("gpt-5-pro", S::None, T::Effort, 272_000, 400_000),
        ("gpt-5-chat-latest", S::Free, T::None, 16_384, 128_000),
        ("gpt-5.1-chat-latest", S::None, T::Effort, 16_384, 128_000),
        ("gpt-5.2", S::None, T::Effort, 128_000, 400_000),
        ("gpt-5.4-mini", S::None, T::Effort, 128_000, 400_000),
        ("gpt-5.6-sol", S::None, T::Effort, 128_000, 1_050_000),
        ("gpt-6-luna", S::None, T::Effort, 128_000, 1_050_000),
        ("gpt-9", S::None, T::Effort, 128_000, 1_050_000),
        ("openai/gpt-oss-120b", S::Free, T::Effort, 65_536, 131_072),
    ] {
        let found = look("openai", model);
        assert_eq!(
            (found.sampling, found.thinking),
            (sampling, thinking),
            "{model}"
        );
        assert_eq!(
            (found.max_output, found.context),
            (Some(output), Some(context)),
            "{model}"
        );
    }
}

#[test]
fn efforts() {
    for (dialect, model, effort) in [
        ("openai", "o3-mini", "low medium high"),
        ("openai", "gpt-5-nano", "minimal low medium high"),
        ("openai", "gpt-5.1-2025-11-13", "none low medium high"),
        ("openai", "gpt-5.2", "none low medium high xhigh"),
        ("openai", "gpt-5.5-pro", "medium high xhigh"),
        ("openai", "gpt-6-astra", "low medium high xhigh max"),
        ("openai", "gpt-6-sol", "none low medium high xhigh max"),
        ("openai", "gpt-9", ""),
        ("openai", "gpt-4o", ""),
        ("anthropic", "claude-opus-4-6", "low medium high max"),
        ("anthropic", "claude-opus-4-7", "low medium high xhigh max"),
        ("anthropic", "claude-sonnet-4-5", ""),
        ("gemini", "gemini-3-pro-preview", "low high"),
        ("gemini", "gemini-3.5-flash-lite", "minimal low medium high"),
        ("bedrock", "amazon.nova-2-lite-v1:0", "low medium high"),
    ] {
        assert_eq!(look(dialect, model).effort.join(" "), effort, "{model}");
    }
}

#[test]
fn gemini_models() {
    for (model, thinking, output) in [
        ("gemini-1.5-pro-002", Thinking::None, 8_192),
        ("gemini-2.0-flash-lite-001", Thinking::None, 8_192),
        ("gemini-2.5-pro", Thinking::Budget, 65_536),
        ("gemini-2.5-flash-preview-05-20", Thinking::Budget, 65_536),
        ("models/gemini-3-flash-preview", Thinking::Level, 65_536),
        ("gemini-7-ultra", Thinking::Level, 65_536),
    ] {
        for dialect in ["gemini", "vertex"] {
            let found = look(dialect, model);
            assert_eq!(
                (found.thinking, found.max_output),
                (thinking, Some(output)),
                "{model}"
            );
            assert!(found.audio && found.images && found.documents, "{model}");
        }
    }
}

#[test]
fn bedrock_models() {
    for (model, forced, images, tools, thinking) in [
        (
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            true,
            true,
            true,
            Thinking::Budget,
        ),
        ("amazon.nova-micro-v1:0", true, false, true, Thinking::None),
        ("us.amazon.nova-pro-v1:0", true, true, true, Thinking::None),
        (
            "amazon.nova-2-lite-v1:0",
            true,
            true,
            true,
            Thinking::Effort,
        ),
        (
            "meta.llama3-3-70b-instruct-v1:0",
            false,
            false,
            true,
            Thinking::None,
        ),
        (
            "us.meta.llama4-maverick-17b-instruct-v1:0",
            false,
            true,
            true,
            Thinking::None,
        ),
        (
            "mistral.mistral-large-2407-v1:0",
            true,
            true,
            true,
            Thinking::None,
        ),
        (
            "mistral.mistral-7b-instruct-v0:2",
            false,
            false,
            false,
            Thinking::None,
        ),
        (
            "cohere.command-r-plus-v1:0",
            false,
            false,
            true,
            Thinking::None,
        ),
        ("us.deepseek.r1-v1:0", false, false, false, Thinking::Effort),
        (
            "openai.gpt-oss-120b-1:0",
            false,
            false,
            true,
            Thinking::Effort,
        ),
        ("somebody.new-v1:0", false, true, true, Thinking::None),
    ] {
        let found = look("bedrock", model);
        let facts = (
            found.forced_tools,
            found.images,
            found.tools,
            found.thinking,
        );
        assert_eq!(facts, (forced, images, tools, thinking), "{model}");
    }
}

#[test]
fn cohere_models() {
    for (model, forced, images, thinking) in [
        ("command-r-08-2024", false, false, Thinking::None),
        ("command-r-plus-08-2024", false, false, Thinking::None),
        ("command-r7b-12-2024", true, false, Thinking::None),
        ("command-a-03-2025", true, false, Thinking::None),
        ("command-a-vision-07-2025", true, true, Thinking::None),
        ("command-a-reasoning-08-2025", true, false, Thinking::Budget),
        ("command-a-plus-05-2026", true, true, Thinking::Budget),
        ("command-z-01-2028", true, true, Thinking::Budget),
    ] {
        let found = look("cohere", model);
        let facts = (found.forced_tools, found.images, found.thinking);
        assert_eq!(facts, (forced, images, thinking), "{model}");
        assert!(
            !found.audio && !found.documents && !found.parallel_control,
            "{model}"
        );
    }
}

#[test]
fn who_speaks_openai() {
    assert!(!look("openai", "llama-3.3-70b-versatile").json_schema);
    assert!(look("openai", "meta-llama/llama-4-scout-17b-16e-instruct").images);
    assert_eq!(look("openai", "deepseek-chat").max_output, Some(8_192));
    assert_eq!(look("openai", "deepseek-v4-pro").context, Some(1_000_000));
    assert_eq!(look("openai", "MiniMax-M2.1").max_output, Some(8_192));
    assert_eq!(
        look("openai", "mistral-large-latest").thinking,
        Thinking::None
    );
    assert_eq!(
        look("openai", "mistral-medium-latest").thinking,
        Thinking::Effort
    );
    assert!(look("openai", "voxtral-small-2507").audio);
    // OpenRouter's Claude is told to think as OpenAI's models are.
    let claude = look("openai", "anthropic/claude-opus-4.7");
    assert_eq!(
        (claude.thinking, claude.sampling),
        (Thinking::Effort, SamplingRule::Free)
    );
}

#[test]
fn the_operators_table_wins_however_vague() {
    let own = "[[model]]\nmatch = ['claude-*']\nmax_output = 5\nimages = false\n";
    let table = shipped().overlaid(Table::parse(own).expect("a table"));
    let found = table.lookup("anthropic", "claude-opus-4-1-20250805");
    assert_eq!((found.max_output, found.images), (Some(5), false));
    assert_eq!(found.thinking, Thinking::Budget);
    let again = "[[model]]\nmatch = ['*']\nmax_output = 6\n";
    let table = table.overlaid(Table::parse(again).expect("a table"));
    assert_eq!(table.lookup("anthropic", "claude-x").max_output, Some(6));
}

#[test]
fn the_most_specific_row_wins_and_of_equals_the_later() {
    let text = "
        [[model]]\nmatch = ['ab*', 'x']\ncontext = 2\n
        [[model]]\nmatch = ['*']\ncontext = 1\n
        [[model]]\nmatch = ['*ab']\ncontext = 3\n
        [[model]]\nmatch = ['a*']\ndialects = ['one']\nmax_output = 9\n";
    let table = Table::parse(text).expect("a table");
    let context = |model| table.lookup("any", model).context;
    assert_eq!(
        (context("q"), context("abz"), context("AB")),
        (Some(1), Some(2), Some(3))
    );
    assert_eq!(table.lookup("one", "abz").max_output, Some(9));
    assert_eq!(table.lookup("two", "abz").max_output, None);
}

#[test]
fn what_is_no_table_is_said() {
    let error = |text: &str| Table::parse(text).expect_err("an error");
    assert!(error("[[model]]\nmatch = ['a']\nimmages = true").contains("immages"));
    assert!(error("[[model]]\nmatch = ['a']\nsampling = 'some'").contains("some"));
    assert!(error("[[model]]\nimages = true").contains("match"));
    assert!(error("[[model]]\nmatch = []").contains("number 1"));
    assert!(error("[[model]]\nmatch = ['a', '']").contains("empty"));
    assert!(error("[[").contains("line 1"));
}

#[test]
fn globs() {
    for (pattern, name, expected) in [
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abcbc", true),
        ("*b*", "abc", true),
        ("a", "ab", false),
        ("a*b", "acd", false),
        ("", "a", false),
        ("*a*b*c", "xaybzbc", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
    let long = "a".repeat(5_000);
    assert!(!matches("*a*a*a*a*a*b", &long));
}

#[test]
fn dates_and_versions_are_told_from_names() {
    for (name, short) in [
        ("claude-opus-4-1-20250805-v1:0", "claude-opus-4-1"),
        ("claude-opus-4-6-v1", "claude-opus-4-6"),
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("claude-opus-5@default", "claude-opus-5"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("deepseek-v3", "deepseek"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("command-a-03-2025", "command-a-03-2025"),
        ("", ""),
    ] {
        assert_eq!(undated(name), short);
    }
}

/// What was read in their makers' documents in November 2026.
#[test]
fn the_newest_models_take_the_efforts_that_are_documented() {
    for (dialect, model, effort) in [
        ("openai", "gpt-5.5", "none low medium high xhigh"),
        ("openai", "gpt-5.6-sol", "none low medium high xhigh max"),
        ("openai", "gpt-6-luna", "none low medium high xhigh max"),
        ("openai", "gpt-6-astra", "low medium high xhigh max"),
        ("openai", "gpt-6.1-sol", "low medium high xhigh max"),
        ("openai", "grok-4.5", "low medium high"),
        (
            "gemini",
            "gemini-3-flash-preview",
            "minimal low medium high",
        ),
        ("gemini", "gemini-3.8-flash", "low medium high"),
        ("anthropic", "claude-haiku-5-5", "low medium high xhigh max"),
    ] {
        assert_eq!(look(dialect, model).effort.join(" "), effort, "{model}");
    }
    assert!(look("anthropic", "claude-fable-5-2").thinks_always);
    assert_eq!(look("openai", "grok-4-0709").thinking, Thinking::None);
    let sonnet = look("anthropic", "claude-3-7-sonnet-20250219");
    assert_eq!(sonnet.max_output, Some(64_000));
}
