//! How long a judgement takes, by the size of the prompt.
//!
//! Beside it, on the same bytes, a look for one byte (memchr) and a check that they are UTF-8, so
//! that the figures can be compared across machines. Run with `cargo bench --bench classify`.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench prints, and has nobody to give its errors to"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};
use tollgate::classify::{Model, Scratch};

const ENGLISH: &str = "Our revenue grew by 12 percent in the third quarter, mostly in Europe. \
    Please write a Python function that reads the file `sales.csv`, sums the column \"amount\" by \
    country, and prints the 3 largest; explain how it works, and what it costs for 10,000 rows.\n";
const MANY: &str = "Fasse den Text zusammen: встреча переносится на четверг. 会議は木曜日に変更されました。\
    Resume el texto, por favor: la reunión se pasó al jueves. 다음 글을 요약해줘.\n";

/// The best of many rounds, for each call.
fn best(rounds: u32, mut call: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..40 {
        let start = Instant::now();
        for _ in 0..rounds {
            call();
        }
        best = best.min(start.elapsed() / rounds);
    }
    best
}

fn main() {
    let model = Model::built_in().expect("the weights that come with the program");
    let mut scratch = Scratch::default();
    println!(
        "{:<9} {:>7}  {:>10}  {:>10}  {:>10}  times UTF-8",
        "text", "bytes", "judge", "UTF-8", "memchr"
    );
    for (name, text) in [("English", ENGLISH), ("many", MANY)] {
        for size in [64, 256, 1024, 2048, 16_384, 262_144] {
            let long = text.repeat(size / text.len() + 2);
            let whole = |at: &usize| long.is_char_boundary(*at);
            let end = (0..=size).rev().find(whole).unwrap_or(0);
            let prompt = long.get(..end).unwrap_or_default();
            let judge = best(100, || {
                black_box(model.judge(black_box(prompt), &mut scratch));
            });
            let utf8 = best(100, || {
                black_box(std::str::from_utf8(black_box(prompt.as_bytes())).is_ok());
            });
            let look = best(100, || {
                black_box(memchr::memchr(0, black_box(prompt.as_bytes())));
            });
            let times = judge.as_nanos() as f64 / utf8.as_nanos().max(1) as f64;
            println!(
                "{name:<9} {:>7}  {judge:>10.2?}  {utf8:>10.2?}  {look:>10.2?}  {times:.0}",
                prompt.len(),
            );
        }
    }
}
