use super::*;
use crate::meter::Book;

fn first(text: &str) -> Row {
    parse(text).unwrap().remove(0)
}

#[test]
fn all_that_is_wrong_is_told_with_row_and_key() {
    let text = r#"
prices = 1
[[price]]
input = "5.0000001"
[[price]]
match = ["gpt-x"]
input = -1
output = 1e-7
cached = true
image = 0.0000000000001
inptu = 3
from = "soon"
max_image_tokens = -1
bytes_per_token = 0
tiers = [{ input = 1 }, { above = 5, output = "x", from = "2026-01-01" }, { above = 5 }, 3]
[[price]]
match = ["a", ""]
source = 7
[[price]]
match = "b"
from = 2026-02-01
until = 2026-02-01
input = 1
[[price]]
match = "c"
"#;
    let problems = parse(text).unwrap_err();
    for expected in [
        "prices: unknown",
        "price number 1: match: names no model",
        "price number 1: input: expected dollars for a million",
        "price number 2 (gpt-x): input: expected dollars",
        "price number 2 (gpt-x): output: expected dollars",
        "price number 2 (gpt-x): cached: expected dollars",
        "price number 2 (gpt-x): image: expected dollars for one",
        "price number 2 (gpt-x): inptu: unknown",
        "price number 2 (gpt-x): from: expected a date",
        "price number 2 (gpt-x): max_image_tokens: expected a whole number",
        "price number 2 (gpt-x): bytes_per_token: a token has",
        "price number 2 (gpt-x): tiers[0].above: expected a number",
        "price number 2 (gpt-x): tiers[1].output: expected dollars",
        "price number 2 (gpt-x): tiers[1].from: unknown",
        "price number 2 (gpt-x): tiers[2].above: is not above",
        "price number 2 (gpt-x): tiers[3]: expected a table",
        "price number 3 (a): match: is empty",
        "price number 3 (a): source: expected a text",
        "price number 4 (b): until: is not after 'from'",
        "price number 5 (c): input: no price is given",
    ] {
        let told = problems.iter().any(|problem| problem.starts_with(expected));
        assert!(told, "{expected} is not told in {problems:#?}");
    }
    assert_eq!(problems.len(), 20, "{problems:#?}");
    assert!(parse("[[price").is_err());
    assert!(parse("price = 3").is_err());
}

#[test]
fn what_is_not_said_falls_back_on_its_neighbour() {
    let row = first("[[price]]\nmatch = \"m\"\ninput = 2.5\noutput = \"10\"\n");
    let (two, ten) = (Rate(2_500_000), Rate(10_000_000));
    let all = row.price.rates;
    assert_eq!((all.input, all.cached, all.cache_write), (two, two, two));
    assert_eq!((all.cache_write_1h, all.audio_in), (two, two));
    assert_eq!((all.output, all.reasoning, all.audio_out), (ten, ten, ten));
    assert_eq!((all.image, all.request), (Rate::ZERO, Rate::ZERO));
    let row =
        first("[[price]]\nmatch = \"m\"\ncache_write = 3\nimage = 0.04\nrequest = 0.0000001\n");
    assert_eq!(row.price.rates.cache_write_1h, Rate(3_000_000));
    assert_eq!(row.price.rates.image.for_one(), "0.04");
    assert_eq!(row.price.rates.request, Rate(100_000));
    let free = first("[[price]]\nmatch = \"m\"\ninput = 0\n");
    assert_eq!(free.price.rates, Rates::default());
}

#[test]
fn a_tier_says_what_differs_from_its_row() {
    let row = first(
        "[[price]]\nmatch = \"m\"\ninput = 2\noutput = 12\ncached = 0.2\ntiers = [{ above = 200_000, input = 4, output = 18 }]\n",
    );
    let tier = row.price.tiers[0];
    assert_eq!(tier.above, 200_000);
    assert_eq!(tier.rates.cached, Rate(200_000), "the row's own");
    assert_eq!(tier.rates.cache_write, Rate(4_000_000), "the tier's input");
    assert_eq!(tier.rates.reasoning, Rate(18_000_000));
}

#[test]
fn a_version_names_the_row_its_day_and_its_figures() {
    let text = |input: &str, from: &str| {
        format!("[[price]]\nmatch = [\"GPT-X\", \"y\"]\ninput = {input}\n{from}\n")
    };
    let version = |input: &str, from: &str| first(&text(input, from)).price.version.to_string();
    let one = version("1", "from = 2026-03-05");
    assert!(one.starts_with("gpt-x@2026-03-05#"), "{one}");
    assert_eq!(one, version("1.0", "from = \"2026-03-05\""));
    assert_eq!(one, version("\"1.000\"", "from = \"2026-03-05T00:00:00Z\""));
    assert_ne!(one, version("2", "from = 2026-03-05"));
    assert_ne!(one, version("1", "from = 2026-03-05\nuntil = 2026-04-01"));
    assert_ne!(
        one,
        version("1", "from = 2026-03-05\ntiers = [{ above = 1 }]")
    );
    assert!(version("1", "").starts_with("gpt-x#"));
    assert!(version("1", "from = 2026-03-05T01:02:03Z").starts_with("gpt-x@2026-03-05T01:02:03Z#"));
}

#[test]
fn figures_are_read_as_they_are_written() {
    for (written, picos) in [
        ("0.1", 100_000),
        ("0.075", 75_000),
        ("1e-6", 1),
        ("2.1875", 2_187_500),
        ("123456789.123456", 123_456_789_123_456),
    ] {
        let row = first(&format!("[[price]]\nmatch = \"m\"\ninput = {written}\n"));
        assert_eq!(row.price.rates.input, Rate(picos), "{written}");
    }
    // More digits than a float keeps.
    assert!(Book::parse("[[price]]\nmatch = \"m\"\ninput = 1234567890123.123456\n").is_err());
}
