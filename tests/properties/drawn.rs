//! What the strategies have in common: texts that are hard to carry, JSON of any shape, and the
//! seed that makes every run the same.

use super::cases;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use serde_json::{Number, Value};

/// As many cases as are usual, from one seed.
pub fn config(usual: usize) -> Config {
    Config {
        cases: u32::try_from(cases(usual)).expect("not that many"),
        rng_seed: RngSeed::Fixed(0x7011_6a7e),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    }
}

/// A text of which nobody can say that there is nothing in it.
pub fn text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just("\""),
        Just("\\"),
        Just("\0"),
        Just("\n"),
        Just("\r\n\r\n"),
        Just("\u{2028}"),
        Just("data: [DONE]"),
        Just("{\"a\":1}"),
        Just("é"),
        Just("日本"),
        Just("😀"),
        Just("</think>"),
        Just("  "),
    ];
    let piece = prop_oneof![3 => "[a-zA-Z0-9 .,]{1,12}", 2 => odd.prop_map(str::to_owned)];
    (vec(piece, 0..4), "[a-z]{1,3}").prop_map(|(pieces, last)| pieces.concat() + &last)
}

/// A name as every provider takes it.
pub fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,8}"
}

/// Any JSON that a reader gives back as it was.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::Object),
        ]
    })
}

/// An object with such members, some of them under names that mean something.
pub fn object(
    member: impl Strategy<Value = Value>,
) -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let name = prop_oneof![
        any::<String>(),
        Just("role".to_owned()),
        Just("user".to_owned())
    ];
    btree_map(name, member, 0..4).prop_map(|members| members.into_iter().collect())
}
