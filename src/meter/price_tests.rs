use super::*;

fn rate(dollars: &str) -> Rate {
    dollars.parse().unwrap()
}

fn price(tiers: Vec<Tier>) -> Price {
    Price {
        version: Arc::from("m"),
        rates: claude(),
        tiers,
        max_image_tokens: IMAGE_TOKENS,
        bytes_per_token: 1,
        from: Moment(0),
        until: None,
    }
}

fn claude() -> Rates {
    Rates {
        input: rate("5"),
        output: rate("25"),
        cached: rate("0.5"),
        cache_write: rate("6.25"),
        cache_write_1h: rate("10"),
        reasoning: rate("25"),
        audio_in: rate("40"),
        audio_out: rate("80"),
        image: Rate::of_one("0.04").unwrap(),
        request: Rate::of_one("0.001").unwrap(),
    }
}

#[test]
fn each_kind_has_its_rate_and_no_token_two() {
    let price = price(vec![]);
    let usage = Usage {
        prompt: 1_000_000,
        completion: 100_000,
        cached: 500_000,
        cache_write: 300_000,
        cache_write_1h: 100_000,
        audio_in: 50_000,
        reasoning: 20_000,
        audio_out: 10_000,
        images: 2,
    };
    // 150k plain, 500k read, 200k for 5m, 100k for 1h, 50k sound; 90k and 10k out;
    // two images and a request.
    let expected = 750_000 + 250_000 + 1_250_000 + 1_000_000 + 2_000_000;
    let expected = expected + 2_250_000 + 800_000 + 80_000 + 1_000;
    assert_eq!(price.cost(&usage), MicroUsd(expected));
}

#[test]
fn numbers_that_contradict_each_other_cost_no_more_than_their_wholes() {
    let price = price(vec![]);
    let absurd = Usage {
        prompt: 10,
        completion: 10,
        cached: 1_000,
        cache_write: u64::MAX,
        cache_write_1h: u64::MAX,
        reasoning: u64::MAX,
        audio_in: 7,
        audio_out: 8,
        images: 0,
    };
    // Ten read from the cache; eight of sound and two of thought.
    assert_eq!(price.cost(&absurd), MicroUsd(5 + 640 + 50 + 1_000));
    let most = Usage {
        prompt: u64::MAX,
        completion: u64::MAX,
        images: u64::MAX,
        ..absurd
    };
    assert_eq!(price.cost(&most), MicroUsd::MAX);
    assert_eq!(
        price.bound(u64::MAX, u64::MAX, u64::MAX),
        MicroUsd::MAX,
        "and it does not wrap"
    );
}

#[test]
fn a_longer_prompt_has_other_rates_for_all_of_the_request() {
    let long = Rates {
        input: rate("10"),
        output: rate("37.5"),
        ..claude()
    };
    let tier = Tier {
        above: 200_000,
        rates: long,
    };
    let price = price(vec![tier]);
    let of = |prompt| {
        price.cost(&Usage {
            prompt,
            completion: 1_000,
            ..Usage::default()
        })
    };
    assert_eq!(of(200_000), MicroUsd(1_000_000 + 25_000 + 1_000));
    assert_eq!(of(200_001), MicroUsd(2_000_010 + 37_500 + 1_000));
    // The dearest kind of input is sound, of output too.
    assert_eq!(price.bound(200_000, 0, 0), MicroUsd(8_000_000 + 1_000));
    assert_eq!(price.bound(0, 1, 1), MicroUsd(80 + 40_000 + 1_000));
}

#[test]
fn a_bound_covers_what_rounding_takes_away() {
    let cheap = Price {
        rates: Rates {
            input: rate("0.02"),
            ..Rates::default()
        },
        ..price(vec![])
    };
    let usage = Usage {
        prompt: 1,
        ..Usage::default()
    };
    assert_eq!(cheap.cost(&usage), MicroUsd(0));
    assert_eq!(cheap.bound(1, 0, 0), MicroUsd(1));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Small numbers, where rounding shows, and such as wrap.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0..3_000_000u64, 2 => 0..50u64, 1 => any::<u64>()]
    }

    prop_compose! {
        fn usages()(n in prop::array::uniform9(number())) -> Usage {
            Usage {
                prompt: n[0], completion: n[1], cached: n[2], cache_write: n[3],
                cache_write_1h: n[4], reasoning: n[5], audio_in: n[6], audio_out: n[7], images: n[8],
            }
        }
    }

    prop_compose! {
        fn rates()(n in prop::array::uniform10(prop_oneof![0..100_000_000u64, Just(0), any::<u64>()])) -> Rates {
            Rates {
                input: Rate(n[0]), output: Rate(n[1]), cached: Rate(n[2]), cache_write: Rate(n[3]),
                cache_write_1h: Rate(n[4]), reasoning: Rate(n[5]), audio_in: Rate(n[6]),
                audio_out: Rate(n[7]), image: Rate(n[8]), request: Rate(n[9]),
            }
        }
    }

    prop_compose! {
        fn prices()(own in rates(), one in rates(), two in rates(), at in 0..1_000_000u64, more in 1..1_000_000u64) -> Price {
            let tiers = vec![Tier { above: at, rates: one }, Tier { above: at + more, rates: two }];
            Price { rates: own, ..price(tiers) }
        }
    }

    /// Every rate of the tiers at least the one before.
    fn rising(mut price: Price) -> Price {
        let mut last = price.rates;
        for tier in &mut price.tiers {
            let r = &mut tier.rates;
            for (rate, before) in [
                (&mut r.input, last.input),
                (&mut r.output, last.output),
                (&mut r.cached, last.cached),
                (&mut r.cache_write, last.cache_write),
                (&mut r.cache_write_1h, last.cache_write_1h),
                (&mut r.reasoning, last.reasoning),
                (&mut r.audio_in, last.audio_in),
                (&mut r.audio_out, last.audio_out),
                (&mut r.image, last.image),
                (&mut r.request, last.request),
            ] {
                *rate = (*rate).max(before);
            }
            last = tier.rates;
        }
        price
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever a provider reports within the bound's tokens costs no more.
        #[test]
        fn no_usage_costs_more_than_its_bound(
            price in prices(), usage in usages(), more in prop::array::uniform3(number()),
        ) {
            let bound = price.bound(
                usage.prompt.saturating_add(more[0]),
                usage.completion.saturating_add(more[1]),
                usage.images.saturating_add(more[2]),
            );
            prop_assert!(price.cost(&usage) <= bound);
        }

        /// More tokens of a whole never cost less; nor does a larger bound.
        #[test]
        fn more_costs_no_less(price in prices(), usage in usages(), more in number()) {
            let price = rising(price);
            let cost = price.cost(&usage);
            let with = |change: &dyn Fn(&mut Usage)| {
                let mut usage = usage;
                change(&mut usage);
                price.cost(&usage)
            };
            prop_assert!(with(&|u| u.prompt = u.prompt.saturating_add(more)) >= cost);
            prop_assert!(with(&|u| u.completion = u.completion.saturating_add(more)) >= cost);
            prop_assert!(with(&|u| u.images = u.images.saturating_add(more)) >= cost);
            let (input, output) = (usage.prompt, usage.completion);
            prop_assert!(
                price.bound(input.saturating_add(more), output, 0) >= price.bound(input, output, 0)
            );
        }

        /// Two requests cost what they cost together, but for two roundings, where
        /// neither the size nor the request as such has a price.
        #[test]
        fn costs_add_up(
            own in rates(), one in prop::array::uniform9(0..1_000_000u64), two in prop::array::uniform9(0..1_000_000u64),
        ) {
            let small = |rate: Rate| Rate(rate.0 % 1_000_000_000);
            let own = Rates {
                input: small(own.input), output: small(own.output), cached: small(own.cached),
                cache_write: small(own.cache_write), cache_write_1h: small(own.cache_write_1h),
                reasoning: small(own.reasoning), audio_in: small(own.audio_in),
                audio_out: small(own.audio_out), image: small(own.image), request: Rate::ZERO,
            };
            let price = Price { rates: own, ..price(vec![]) };
            // Consistent: the parts fit into their wholes.
            let of = |n: [u64; 9]| Usage {
                prompt: n[0] + n[2] + n[3] + n[6], completion: n[1] + n[5] + n[7], cached: n[2],
                cache_write: n[3], cache_write_1h: n[4].min(n[3]), reasoning: n[5],
                audio_in: n[6], audio_out: n[7], images: n[8],
            };
            let (one, two) = (of(one), of(two));
            let apart = price.cost(&one).0 + price.cost(&two).0;
            let together = price.cost(&one.plus(two)).0;
            prop_assert!(apart.abs_diff(together) <= 1, "{apart} {together}");
        }
    }
}
