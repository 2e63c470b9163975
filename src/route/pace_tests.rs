use super::*;
use crate::route::decide::next;

const STALL: Duration = Duration::from_secs(5);

/// A guard and a clock that is set by hand.
struct Scene {
    pace: Pace,
    began: Instant,
    now: Instant,
}

impl Scene {
    /// Windows of 10 s, if a rate is given.
    fn new(tokens_per_second: Option<f64>) -> Self {
        let rate = |tokens_per_second| Rate {
            tokens_per_second,
            window: Duration::from_secs(10),
        };
        Self::held_to(Limits {
            stall: STALL,
            min_rate: tokens_per_second.map(rate),
        })
    }

    fn held_to(limits: Limits) -> Self {
        let began = Instant::now();
        Self {
            pace: Pace::new(limits, began),
            began,
            now: began,
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// After so many milliseconds come so many tokens.
    fn said(&mut self, millis: u64, tokens: u64) {
        self.pass(millis);
        self.pace.said(tokens, self.now);
    }

    fn check(&mut self) -> Result<(), TooSlow> {
        self.pace.check(self.now)
    }

    /// Milliseconds from the beginning until the next look.
    fn due(&self) -> u128 {
        (self.pace.due() - self.began).as_millis()
    }
}

#[test]
fn a_stream_that_says_nothing_has_stalled() {
    let mut scene = Scene::new(None);
    assert_eq!(scene.due(), 5_000);
    scene.pass(4_999);
    assert_eq!(scene.check(), Ok(()));
    scene.pass(1);
    assert_eq!(scene.check(), Err(TooSlow::Stalled));
}

#[test]
fn every_piece_of_content_is_a_new_beginning_for_the_stall() {
    let mut scene = Scene::new(None);
    for _ in 0..100 {
        scene.said(4_999, 1);
        assert_eq!(scene.check(), Ok(()));
    }
    assert_eq!(scene.due(), 499_900 + 5_000);
    scene.pass(5_000);
    assert_eq!(scene.check(), Err(TooSlow::Stalled));
}

#[test]
fn a_window_that_ends_with_too_few_tokens_is_too_slow() {
    let mut scene = Scene::new(Some(2.0));
    for tokens in [7, 7, 5] {
        scene.said(3_000, tokens);
    }
    assert_eq!(scene.check(), Ok(()), "it is not over");
    assert_eq!(scene.due(), 10_000);
    scene.pass(1_000);
    assert_eq!(scene.check(), Err(TooSlow::BelowRate), "19 of 20");
}

#[test]
fn a_window_that_ends_with_just_enough_is_followed_by_an_empty_one() {
    let mut scene = Scene::new(Some(2.0));
    for tokens in [1, 1, 18] {
        scene.said(3_000, tokens);
    }
    scene.pass(1_000);
    assert_eq!(scene.check(), Ok(()));
    assert_eq!(
        scene.due(),
        14_000,
        "the stall comes before the next window's end"
    );
    scene.said(1_000, 19);
    scene.said(4_500, 0);
    assert_eq!(scene.due(), 20_000);
    scene.pass(4_500);
    assert_eq!(scene.check(), Err(TooSlow::BelowRate));
}

#[test]
fn what_comes_with_the_end_of_a_window_is_the_next_ones() {
    let mut scene = Scene::new(Some(1.0));
    scene.said(4_000, 9);
    scene.said(4_000, 0);
    scene.said(2_000, 100);
    assert_eq!(scene.check(), Err(TooSlow::BelowRate));
}

#[test]
fn a_slow_window_is_not_forgiven_by_looking_late() {
    let mut scene = Scene::new(Some(1.0));
    scene.said(4_000, 9);
    scene.said(4_000, 0);
    scene.said(4_000, 1_000);
    for _ in 0..3 {
        assert_eq!(scene.check(), Err(TooSlow::BelowRate));
        scene.said(4_000, 1_000);
    }
}

#[test]
fn windows_that_nobody_looked_at_were_empty() {
    let mut scene = Scene::held_to(Limits {
        stall: Duration::from_secs(100),
        min_rate: Some(Rate {
            tokens_per_second: 1.0,
            window: Duration::from_secs(10),
        }),
    });
    scene.said(1_000, 50);
    let mut earlier = scene.pace.clone();
    let one_full_and_one_not_over = scene.began + Duration::from_millis(19_999);
    assert_eq!(earlier.check(one_full_and_one_not_over), Ok(()));
    scene.pass(19_000);
    assert_eq!(scene.check(), Err(TooSlow::BelowRate));
}

#[test]
fn a_late_look_does_not_move_the_windows() {
    let mut scene = Scene::new(Some(1.0));
    scene.said(3_000, 10);
    scene.said(4_000, 10);
    scene.said(4_500, 10);
    assert_eq!(scene.check(), Ok(()));
    scene.said(4_500, 0);
    assert_eq!(scene.due(), 20_000);
}

#[test]
fn a_stall_is_named_before_the_rate() {
    let mut scene = Scene::new(Some(1.0));
    scene.said(4_000, 1);
    scene.pass(6_000);
    assert_eq!(scene.check(), Err(TooSlow::Stalled));
}

#[test]
fn waiting_for_the_client_counts_for_neither() {
    let mut scene = Scene::new(Some(1.0));
    scene.said(4_000, 9);
    scene.pass(60_000);
    scene.pace.paused(Duration::from_secs(60));
    assert_eq!(scene.check(), Ok(()));
    assert_eq!(scene.due(), 69_000, "the stall, 60 s later");
    scene.said(4_900, 0);
    assert_eq!(scene.due(), 70_000, "the window's end, 60 s later");
    scene.pass(1_100);
    assert_eq!(scene.check(), Err(TooSlow::BelowRate));
    let mut stalled = Scene::new(None);
    stalled.pass(10_000);
    stalled.pace.paused(Duration::from_secs(6));
    assert_eq!(stalled.check(), Ok(()));
    stalled.pass(1_000);
    assert_eq!(stalled.check(), Err(TooSlow::Stalled));
}

#[test]
fn a_rate_that_asks_for_nothing_is_no_rate() {
    let window = Duration::from_secs(10);
    for (tokens_per_second, window) in [
        (0.0, window),
        (-1.0, window),
        (f64::NAN, window),
        (1.0, Duration::ZERO),
        (f64::INFINITY, Duration::ZERO),
    ] {
        let mut scene = Scene::held_to(Limits {
            stall: STALL,
            min_rate: Some(Rate {
                tokens_per_second,
                window,
            }),
        });
        for _ in 0..10 {
            scene.said(4_000, 0);
            assert_eq!(scene.check(), Ok(()), "{tokens_per_second} in {window:?}");
        }
        assert_eq!(scene.due(), 45_000);
    }
}

#[test]
fn limits_without_end_are_waited_for_without_harm() {
    let mut scene = Scene::held_to(Limits {
        stall: Duration::MAX,
        min_rate: Some(Rate {
            tokens_per_second: 1.0,
            window: Duration::MAX,
        }),
    });
    scene.pass(1_000_000_000);
    assert_eq!(scene.check(), Ok(()));
    scene.pace.paused(Duration::MAX);
    assert_eq!(scene.check(), Ok(()));
    assert_eq!(scene.pace.due() - scene.began, FAR);
}

#[test]
fn rates_in_decimals_are_met_exactly() {
    for hundredths in 1..=200 {
        let limits = Limits {
            stall: Duration::from_secs(200),
            min_rate: Some(Rate {
                tokens_per_second: hundredths as f64 / 100.0,
                window: Duration::from_secs(100),
            }),
        };
        for (tokens, expected) in [
            (hundredths, Ok(())),
            (hundredths - 1, Err(TooSlow::BelowRate)),
        ] {
            let mut scene = Scene::held_to(limits);
            scene.said(0, tokens);
            scene.pass(100_000);
            assert_eq!(scene.check(), expected, "{hundredths}");
        }
    }
}

/// What a stream is, in the plainest way: when (ms) how many tokens came.
fn plainly(came: &[(u64, u64)], now: u64, per_window: u64) -> Result<(), TooSlow> {
    let heard = came.last().map_or(0, |(at, _)| *at);
    if now - heard >= 5_000 {
        return Err(TooSlow::Stalled);
    }
    let is_slow = |window: u64| {
        let within = came.iter().filter(|(at, _)| at / 10_000 == window);
        within.map(|(_, tokens)| tokens).sum::<u64>() < per_window
    };
    if (0..now / 10_000).any(is_slow) {
        return Err(TooSlow::BelowRate);
    }
    Ok(())
}

#[test]
fn any_stream_is_judged_as_the_rules_say() {
    let mut seen = [0; 3];
    for seed in 0..400 {
        let mut chance = seed;
        let per_window = 10 * (1 + next(&mut chance) % 4);
        let mut scene = Scene::new(Some(per_window as f64 / 10.0));
        let (mut came, mut clock) = (Vec::new(), 0);
        loop {
            // Time that passes, and now and then a pause on top of it.
            let step = next(&mut chance) % 5_100;
            if next(&mut chance).is_multiple_of(5) {
                let pause = next(&mut chance) % 20_000;
                scene.pass(pause);
                scene.pace.paused(Duration::from_millis(pause));
            }
            scene.pass(step);
            clock += step;
            let expected = plainly(&came, clock, per_window);
            assert_eq!(scene.check(), expected, "seed {seed} at {clock}");
            seen[match expected {
                Ok(()) => 0,
                Err(TooSlow::Stalled) => 1,
                Err(TooSlow::BelowRate) => 2,
            }] += 1;
            if expected.is_err() || clock > 200_000 {
                break;
            }
            assert!(
                scene.pace.due() > scene.now,
                "seed {seed}: nothing to wait for"
            );
            let tokens = next(&mut chance) % 25;
            scene.pace.said(tokens, scene.now);
            came.push((clock, tokens));
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn tokens_are_about_four_bytes_each() {
    for (text, tokens) in [
        ("", 0),
        ("a", 1),
        (" the", 1),
        ("hello", 2),
        ("人", 1),
        ("the quick brown fox jumps over the lazy dog", 11),
    ] {
        assert_eq!(tokens_in(text), tokens, "{text:?}");
    }
}
