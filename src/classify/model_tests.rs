use super::*;
use crate::classify::featurise::{Group, ROWS, WINDOW, featurise};
use proptest::prelude::*;

fn model() -> Arc<Model> {
    Model::built_in().expect("the weights that come with the program")
}

fn judged(text: &str) -> Judgement {
    model().judge(text, &mut Scratch::default())
}

#[derive(Default)]
struct Rows(Vec<(u8, u32)>);

impl Sink for Rows {
    fn take(&mut self, group: Group, row: u32) {
        assert!((row as usize) < ROWS);
        self.0.push((group as u8, row));
    }
}

fn rows(text: &str) -> Vec<(u8, u32)> {
    let mut rows = Rows::default();
    featurise(text, &mut Scratch::default(), &mut rows);
    rows.0
}

/// Ties the trainer to the server: whoever changes what text becomes must train again, and change
/// this. Exact, on every machine.
#[test]
fn the_golden_vector() {
    let text = "Hey, schreib mir bitte eine Python-Funktion, die 12 Städte nach Größe sortiert:\n\
                ```\ndef sort_cities(cities): pass\n```\n写一首诗 もしもし 안녕 Привет, мир! What's x^2 + 3?";
    let rows = rows(text);
    let bytes: Vec<u8> = rows
        .iter()
        .flat_map(|(group, row)| [vec![*group], row.to_le_bytes().to_vec()].concat())
        .collect();
    let outputs = model().outputs(text, &mut Scratch::default());
    let judged = judged(text);
    let floats = [judged.confidence, judged.difficulty, judged.score];
    let found = (
        (rows.len(), crc32fast::hash(&bytes)),
        outputs.map(f32::to_bits),
        floats.map(f32::to_bits),
    );
    assert_eq!(found, (GOLDEN_ROWS, GOLDEN_OUTPUTS, GOLDEN_JUDGEMENT));
}

const GOLDEN_ROWS: (usize, u32) = (222, 0xb4715bba);
const GOLDEN_OUTPUTS: [u32; OUTPUTS] = [
    0xc1074f3d, 0x3ecc7ea4, 0xc03491db, 0xc08fc1ee, 0xc0befbe7, 0xc0c311a2, 0xc0ad6f16, 0xc0c0ad93,
    0x3db842c4, 0xbd367fda,
];
const GOLDEN_JUDGEMENT: [u32; 3] = [0x3f72900c, 0x3e9fd2d7, 0x3f473f24];

#[test]
fn kinds_of_plain_prompts() {
    for (prompt, kind) in [
        ("What is the capital of France?", Kind::SimpleQa),
        ("Write a Python function that reverses a string", Kind::Code),
        ("Solve x^2 - 5x + 6 = 0", Kind::Math),
        (
            "Summarize the following text: The council met on Monday and closed the bridge.",
            Kind::Extract,
        ),
        (
            "Rewrite this more formally: hey can u send me the file",
            Kind::Rewrite,
        ),
        ("Write a poem about the sea", Kind::Creative),
        ("Translate to French: Good morning", Kind::Translate),
        ("hi there", Kind::Chat),
        ("Was ist die Hauptstadt von Kanada?", Kind::SimpleQa),
        (
            "напиши функцию на питоне, которая сортирует список",
            Kind::Code,
        ),
        ("写一首关于春天的诗", Kind::Creative),
        (
            "次の文章を要約してください: 市議会は月曜日に橋の閉鎖を決めた。",
            Kind::Extract,
        ),
        (
            "Traduce al inglés: ¿dónde está la estación?",
            Kind::Translate,
        ),
    ] {
        assert_eq!(judged(prompt).kind, kind, "{prompt}");
    }
}

#[test]
fn what_is_unlikely_is_other() {
    let mut parameters = model().parameters.clone();
    parameters.other_below = 0.5;
    let flat = parameters.judgement(&[0.0; OUTPUTS], 100);
    assert_eq!((flat.kind, flat.likeliest), (Kind::Other, Kind::SimpleQa));
    assert!((flat.confidence - 0.125).abs() < 1e-6);
    let mut sure = [0.0; OUTPUTS];
    sure[1] = 5.0;
    assert_eq!(parameters.judgement(&sure, 100).kind, Kind::Code);
}

#[test]
fn a_long_text_costs_what_its_ends_cost() {
    let text = "lorem ipsum; ".repeat(100_000);
    let most = rows(&text).len();
    // A byte gives two rows at most, its share of the ends aside.
    assert!(most < 2 * WINDOW * 3, "{most}");
    let mut other = text.clone();
    other.replace_range(600_000..600_005, "ABCDE");
    assert_eq!(rows(&text), rows(&other));
}

#[test]
fn nothing_is_allocated_once_the_scratch_has_grown() {
    let model = model();
    let text = "Explain, in 3 steps, how the Городской 市議会 system works.\n".repeat(60);
    let mut scratch = Scratch::default();
    let before = model.judge(&text, &mut scratch);
    let counted = allocation_counter::measure(|| {
        assert_eq!(model.judge(&text, &mut scratch), before);
        assert_ne!(model.judge("short", &mut scratch), before);
    });
    assert_eq!(counted.count_total, 0);
}

proptest! {
    #[test]
    fn any_text_is_judged_and_always_the_same(text in "\\PC{0,300}", times in 1..40_usize) {
        let text = text.repeat(times);
        let mut scratch = Scratch::default();
        let once = model().judge(&text, &mut scratch);
        prop_assert_eq!(model().judge(&text, &mut scratch), once);
        for share in [once.confidence, once.difficulty] {
            prop_assert!((0.0..=1.0).contains(&share));
        }
        prop_assert!(once.score.is_finite() && once.score.abs() < 1000.0);
        prop_assert!(rows(&text).len() < 2 * WINDOW * 8);
    }

    #[test]
    fn cuts_fall_on_characters(texts in prop::collection::vec(prop_oneof![Just("ü"), Just("𝛼"), Just("x"), Just("漢")], 600..2000)) {
        let _ = judged(&texts.concat());
    }
}
