use super::*;
use crate::classify::steady::Draws;
use std::sync::Arc;

fn shipped() -> Arc<Model> {
    Model::built_in().expect("the weights that come with the program")
}

/// Prompts of one length of which those about orders need the strong model, if `telling`; else nobody
/// can know.
fn labels(count: usize, telling: bool) -> Vec<Labelled> {
    let mut draws = Draws(5);
    (0..count)
        .map(|n| {
            let orders = draws.below(2) == 0;
            let topic = if orders { "order" } else { "refund" };
            let strong = match telling {
                true => orders,
                false => draws.below(2) == 0,
            };
            let words = "please ".repeat(draws.below(6));
            Labelled {
                prompt: format!("{words}tell me about {topic} {n}"),
                weak: f32::from(u8::from(!strong)),
                strong: 1.0,
            }
        })
        .collect()
}

#[test]
fn what_can_be_learned_is_installed() {
    let labels = labels(600, true);
    let refit = refit(&shipped(), &labels).unwrap();
    assert!(refit.figures.apgr > 0.7, "{}", refit.report);
    let model = refit.model.expect("it beats random and length");
    let model = Model::read(&weights::write(&model)).unwrap();
    let mut scratch = Scratch::default();
    let mut judged = |text: &str| model.judge(text, &mut scratch);
    let (hard, easy) = (
        judged("tell me about order 7"),
        judged("tell me about refund 7"),
    );
    assert!(hard.score > easy.score && hard.difficulty > easy.difficulty + 0.2);
    // The kinds are those of the shipped weights.
    let poem = "Write a poem about the sea";
    let before = shipped().judge(poem, &mut Scratch::default());
    assert_eq!(judged(poem).confidence, before.confidence);
    // Half of these prompts are at or above the middle; many are of one score.
    let threshold = model.quantiles().threshold(0.5);
    let mut scratch = Scratch::default();
    let scores = labels
        .iter()
        .map(|row| model.judge(&row.prompt, &mut scratch).score);
    let scores: Vec<f32> = scores.collect();
    let share = |above: fn(&f32, &f32) -> bool| {
        scores
            .iter()
            .filter(|score| above(score, &threshold))
            .count() as f32
            / 600.0
    };
    let (above, at_or_above) = (share(f32::gt), share(f32::ge));
    assert!(above < 0.52 && at_or_above > 0.48, "{above} {at_or_above}");
}

#[test]
fn what_is_chance_is_refused() {
    let refit = refit(&shipped(), &labels(600, false)).unwrap();
    assert!(refit.model.is_none(), "{}", refit.report);
    assert!(refit.report.contains("not beaten"), "{}", refit.report);
}

#[test]
fn what_is_length_is_refused() {
    let mut draws = Draws(9);
    let labels: Vec<Labelled> = (0..500)
        .map(|_| {
            let words = draws.below(60);
            let noise = draws.below(20);
            Labelled {
                prompt: "word ".repeat(words + 1),
                weak: f32::from(u8::from(words + noise < 40)),
                strong: 1.0,
            }
        })
        .collect();
    let refit = refit(&shipped(), &labels).unwrap();
    assert!(refit.model.is_none(), "{}", refit.report);
}

#[test]
fn too_few_labels_are_said_to_be() {
    let error = refit(&shipped(), &labels(399, true)).unwrap_err();
    assert_eq!(error, Unfit::TooFew(399));
    let mut even = labels(400, true);
    for label in &mut even {
        label.weak = 1.0;
    }
    assert_eq!(refit(&shipped(), &even).unwrap_err(), Unfit::NoGain);
}

#[test]
fn without_labels_a_share_is_one_of_these_prompts() {
    let prompts: Vec<String> = (1..300).map(|n| "why ".repeat(n)).collect();
    let model = requantiled(&shipped(), prompts.iter().map(String::as_str));
    let mut scratch = Scratch::default();
    for share in [0.1, 0.3, 0.7] {
        let threshold = model.quantiles().threshold(share);
        let scores = prompts
            .iter()
            .map(|prompt| model.judge(prompt, &mut scratch).score);
        let above = scores.filter(|score| *score >= threshold).count();
        // Beyond 4 KB all lengths are one, so that some scores are equal.
        assert!(
            (above as f32 / 299.0 - share).abs() < 0.02,
            "{share}: {above}"
        );
    }
}

#[test]
fn lines_are_read_or_named() {
    let read = labelled(
        "{\"prompt\":\"a\",\"weak_score\":0.25,\"strong_score\":1}\n{\"prompt\":\"b\",\"label\":\"strong\"}\n",
    )
    .unwrap();
    let of = |prompt: &str, weak| Labelled {
        prompt: prompt.into(),
        weak,
        strong: 1.0,
    };
    assert_eq!(read, [of("a", 0.25), of("b", 0.0)]);
    for line in [
        "{\"prompt\":\"a\"}",
        "{\"prompt\":\"a\",\"weak_score\":0}",
        "{\"prompt\":\"a\",\"weak_score\":0,\"strong_score\":2}",
        "{\"prompt\":\"a\",\"label\":\"both\"}",
        "[]",
    ] {
        let error = labelled(&format!("\n{line}")).unwrap_err();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
