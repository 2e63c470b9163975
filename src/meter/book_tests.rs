use super::*;
use crate::units::Rate;

fn at(day: &str) -> Moment {
    day.parse().unwrap()
}

fn input(book: &Book, provider: &str, dialect: &str, model: &str, day: &str) -> Option<u64> {
    book.find(provider, dialect, model, at(day))
        .map(|price| price.rates.input.0 / 1_000_000)
}

#[test]
fn the_most_specific_row_counts_whole() {
    let book = Book::parse(
        r#"
[[price]]
match = "*gpt-5*"
input = 1
cached = 7
[[price]]
match = "gpt-5-mini"
input = 2
[[price]]
match = "gpt-5-mini"
dialects = ["azure"]
input = 3
[[price]]
match = "*"
providers = ["local*"]
input = 0
"#,
    )
    .unwrap();
    let on = |provider, dialect, model| input(&book, provider, dialect, model, "2026-01-01");
    assert_eq!(on("openai", "openai", "gpt-5"), Some(1));
    assert_eq!(on("openai", "openai", "GPT-5-mini-2025-08-07"), Some(2));
    assert_eq!(on("x", "azure", "gpt-5-mini"), Some(3));
    assert_eq!(on("Local-1", "openai", "gpt-5-mini"), Some(0));
    assert_eq!(on("openai", "openai", "llama"), None);
    let mini = book.find("openai", "openai", "gpt-5-mini", at("2026-01-01"));
    assert_eq!(
        mini.unwrap().rates.cached,
        Rate(2_000_000),
        "nothing is mixed"
    );
}

#[test]
fn the_row_that_holds_at_the_time_counts() {
    let book = Book::parse(
        r#"
[[price]]
match = "m"
input = 1
[[price]]
match = "m"
from = 2026-03-01
input = 2
[[price]]
match = "m"
from = 2026-06-01
until = 2026-07-01
input = 3
"#,
    )
    .unwrap();
    let on = |day| input(&book, "p", "openai", "m", day);
    assert_eq!(on("2026-02-28"), Some(1));
    assert_eq!(on("2026-03-01"), Some(2));
    assert_eq!(on("2026-06-01"), Some(3));
    assert_eq!(on("2026-06-30"), Some(3));
    assert_eq!(on("2026-07-01"), Some(2), "what came before goes on");
    let only = Book::parse("[[price]]\nmatch = \"m\"\nfrom = 2026-03-01\ninput = 2\n").unwrap();
    assert_eq!(input(&only, "p", "openai", "m", "2026-02-01"), None);
}

#[test]
fn a_later_file_is_right_however_specific_the_earlier() {
    let one = Book::parse("[[price]]\nmatch = \"m\"\nproviders = [\"p\"]\ninput = 1\n").unwrap();
    let two = Book::parse("[[price]]\nmatch = \"*\"\ninput = 2\n").unwrap();
    let three = Book::parse("[[price]]\nmatch = \"other\"\ninput = 3\n").unwrap();
    assert_eq!(input(&one, "p", "openai", "m", "2026-01-01"), Some(1));
    let both = one.overlaid(two).overlaid(three);
    assert_eq!(input(&both, "p", "openai", "m", "2026-01-01"), Some(2));
    assert_eq!(input(&both, "p", "openai", "other", "2026-01-01"), Some(3));
}

#[test]
fn what_is_remembered_is_bounded_and_changes_nothing() {
    let book = Book::parse("[[price]]\nmatch = \"m*\"\ninput = 1\n").unwrap();
    for number in 0..3 * REMEMBERED {
        let model = format!("m{number}");
        assert_eq!(input(&book, "p", "openai", &model, "2026-01-01"), Some(1));
        assert_eq!(input(&book, "p", "openai", &model, "2026-01-01"), Some(1));
    }
    let long = "m".repeat(10_000);
    assert_eq!(input(&book, "p", "openai", &long, "2026-01-01"), Some(1));
    let remembered = book.remembered.read().unwrap();
    assert!(remembered.len() <= REMEMBERED);
    assert!(remembered.keys().all(|name| name.len() <= REMEMBERED_BYTES));
}

mod shipped {
    use super::*;
    use crate::units::MicroUsd;

    fn find(provider: &str, dialect: &str, model: &str, day: &str) -> Arc<Price> {
        let found = super::shipped()
            .unwrap()
            .find(provider, dialect, model, at(day));
        found.unwrap_or_else(|| panic!("{model} has no price"))
    }

    fn dollars(rate: Rate) -> String {
        rate.to_string()
    }

    #[test]
    fn every_row_says_where_its_figures_are_from() {
        let book = Book::parse(SHIPPED).expect("the shipped prices are prices");
        assert!(book.rows().len() > 100);
        for row in book.rows() {
            let named = row.patterns.join(", ");
            assert!(row.source.is_some() && row.checked.is_some(), "{named}");
            assert!(row.price.rates.input > Rate::ZERO || row.price.rates.request > Rate::ZERO);
        }
    }

    #[test]
    fn no_two_rows_have_the_same_version() {
        let book = super::shipped().unwrap();
        let mut versions: Vec<_> = book
            .rows()
            .iter()
            .map(|row| (row.price.version.clone(), row.price.rates))
            .collect();
        versions.sort_by(|one, other| one.0.cmp(&other.0));
        for pair in versions.windows(2) {
            assert!(pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1, "{pair:?}");
        }
    }

    /// Provider, dialect, model, day, input and output for a million.
    #[test]
    fn the_main_models_have_their_list_prices() {
        for (provider, dialect, model, day, input, output) in [
            ("openai", "openai", "gpt-6.2-sol", "2026-11-28", "2", "10"),
            ("openai", "openai", "gpt-5.6-sol", "2026-08-20", "5", "30"),
            ("openai", "openai", "gpt-5.6-sol", "2026-08-21", "4", "20"),
            (
                "azure-eu",
                "azure",
                "gpt-4o-mini-2024-07-18",
                "2026-11-28",
                "0.15",
                "0.6",
            ),
            (
                "openai",
                "openai",
                "gpt-4o-2024-05-13",
                "2026-11-28",
                "5",
                "15",
            ),
            (
                "openai",
                "openai",
                "text-embedding-3-small",
                "2026-11-28",
                "0.02",
                "0",
            ),
            (
                "anthropic",
                "anthropic",
                "claude-opus-5-5",
                "2026-11-28",
                "4",
                "20",
            ),
            (
                "anthropic",
                "anthropic",
                "claude-opus-4-1-20250805",
                "2026-11-28",
                "15",
                "75",
            ),
            (
                "or",
                "openai",
                "anthropic/claude-sonnet-5",
                "2026-11-28",
                "2",
                "10",
            ),
            (
                "b",
                "bedrock",
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "2026-11-28",
                "3.3",
                "16.5",
            ),
            (
                "b",
                "bedrock",
                "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "2026-11-28",
                "3",
                "15",
            ),
            (
                "b",
                "bedrock",
                "anthropic.claude-3-haiku-20240307-v1:0",
                "2026-11-28",
                "0.25",
                "1.25",
            ),
            (
                "b",
                "bedrock",
                "amazon.nova-pro-v1:0",
                "2026-11-28",
                "0.8",
                "3.2",
            ),
            (
                "g",
                "gemini",
                "gemini-3.8-flash",
                "2026-12-31",
                "0.75",
                "3.75",
            ),
            (
                "g",
                "vertex",
                "gemini-3.8-flash",
                "2027-01-01",
                "1.5",
                "7.5",
            ),
            (
                "cohere",
                "cohere",
                "command-r7b-12-2024",
                "2026-11-28",
                "0.0375",
                "0.15",
            ),
            (
                "mistral",
                "openai",
                "mistral-large-2512",
                "2026-11-28",
                "0.5",
                "1.5",
            ),
            (
                "deepseek",
                "openai",
                "deepseek-v4-pro",
                "2026-11-28",
                "1.32",
                "3.96",
            ),
            (
                "deepseek",
                "openai",
                "deepseek-v4-pro",
                "2026-08-16",
                "0.435",
                "0.87",
            ),
            ("xai", "openai", "grok-4.7", "2026-11-28", "2", "6"),
            (
                "groq",
                "openai",
                "openai/gpt-oss-120b",
                "2026-11-28",
                "0.15",
                "0.6",
            ),
            (
                "together",
                "openai",
                "openai/gpt-oss-120b",
                "2026-11-28",
                "0.15",
                "0.6",
            ),
            (
                "fireworks",
                "openai",
                "accounts/fireworks/models/kimi-k2p6",
                "2026-11-28",
                "0.95",
                "4",
            ),
        ] {
            let rates = find(provider, dialect, model, day).rates;
            assert_eq!(dollars(rates.input), input, "{model} on {day}");
            assert_eq!(dollars(rates.output), output, "{model} on {day}");
        }
    }

    #[test]
    fn caches_tiers_images_and_searches_have_their_prices() {
        let sonnet = find("a", "anthropic", "claude-sonnet-5-5", "2026-10-06").rates;
        assert_eq!(dollars(sonnet.cached), "0.2");
        let sonnet = find("a", "anthropic", "claude-sonnet-5-5", "2026-10-07").rates;
        assert_eq!(dollars(sonnet.cached), "0.1");
        assert_eq!(dollars(sonnet.cache_write), "2.5");
        assert_eq!(dollars(sonnet.cache_write_1h), "4");
        let haiku = find("a", "anthropic", "claude-haiku-5-5", "2026-11-28");
        assert_eq!(dollars(haiku.rates_for(100_000).output), "0.5");
        assert_eq!(dollars(haiku.rates_for(100_001).output), "2.5");
        let sol = find("o", "openai", "gpt-6.2-sol", "2026-11-28");
        let long = sol.rates_for(272_001);
        assert_eq!(
            [long.input, long.cached, long.output].map(dollars),
            ["4", "0.2", "15"]
        );
        let mini = find("o", "openai", "gpt-4o-mini", "2026-11-28");
        assert_eq!(mini.max_image_tokens, 48_169);
        let search = find("c", "cohere", "rerank-v3.5", "2026-11-28");
        assert_eq!(search.cost(&crate::chat::Usage::default()), MicroUsd(2_000));
    }

    #[test]
    fn models_that_anybody_can_host_have_no_price_at_a_provider_of_another_name() {
        let book = super::shipped().unwrap();
        for model in [
            "openai/gpt-oss-120b",
            "gpt-oss:20b",
            "deepseek-chat",
            "mistral-large-2512",
            "llama3",
            "x",
        ] {
            let found = book.find("local", "openai", model, at("2026-11-28"));
            assert!(found.is_none(), "{model}");
        }
    }
}
