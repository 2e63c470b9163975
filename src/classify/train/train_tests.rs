use super::*;

/// A few prompts of each kind and a benchmark in which long prompts need the strong model.
fn inputs() -> Inputs {
    let mut routes = Vec::new();
    for n in 0..200 {
        let hard = n % 2 == 0;
        let prompt = match hard {
            true => {
                format!("Derive the integral of x^{n} over the sphere, with a proof. ").repeat(4)
            }
            false => format!("What colour is apple number {n}?"),
        };
        routes.push(RouteRow {
            bench: "own".into(),
            group: "own".into(),
            licence: "own".into(),
            prompt,
            weak_score: if hard { 0.0 } else { 1.0 },
            strong_score: 1.0,
        });
    }
    Inputs {
        routes,
        ..Inputs::default()
    }
}

fn plan() -> Plan {
    let course = Course {
        epochs: 2,
        ..Plan::full().kinds
    };
    Plan {
        kinds: course,
        routes: course,
        templates: templates::Amount {
            english: 1,
            others: 1,
        },
        evaluation: Evaluation::None,
    }
}

#[test]
fn training_twice_gives_the_same_bytes() {
    let (once, again) = (train(&inputs(), &plan()), train(&inputs(), &plan()));
    assert!(once.file == again.file, "the files differ");
    let read = Model::read(&once.file).unwrap();
    assert_eq!(read.header(), once.model.header());
    assert_eq!(weights::write(&read), once.file);
}

#[test]
fn it_learns_what_there_is_to_learn() {
    let model = train(&inputs(), &plan()).model;
    let mut scratch = Scratch::default();
    let hard = "Derive the integral of x^7 over the sphere, with a proof.".repeat(4);
    let hard = model.judge(&hard, &mut scratch);
    let easy = model.judge("What colour is my apple?", &mut scratch);
    assert!(hard.score > easy.score && hard.difficulty > easy.difficulty);
    for (prompt, kind) in [
        ("Write a python function that sorts a list", Kind::Code),
        ("Schreibe ein Gedicht über den Herbst", Kind::Creative),
        ("Переведи на английский: привет", Kind::Translate),
        ("hello, how are you?", Kind::Chat),
    ] {
        assert_eq!(
            model.judge(prompt, &mut scratch).likeliest,
            kind,
            "{prompt}"
        );
    }
}

#[test]
fn what_is_trained_on_is_in_the_header() {
    let trained = train(&inputs(), &plan());
    let header = trained.model.header();
    let own = header
        .sources
        .iter()
        .find(|source| source.name == "own")
        .unwrap();
    assert_eq!((own.rows, own.used_for.as_str()), (200, "difficulty"));
    let mut other = inputs();
    other.routes[0].prompt.push('!');
    let other = train(&other, &plan());
    assert_ne!(other.model.header().data_sha256, header.data_sha256);
}

#[test]
fn rows_are_read_or_the_line_is_named() {
    let good = r#"{"kind":"qa","source":"s","licence":"l","prompt":"p","more":1}"#;
    let read: Vec<KindRow> = rows::read(&format!("{good}\n\n{good}\n")).unwrap();
    assert_eq!((read.len(), read[0].kind), (2, Kind::SimpleQa));
    let error = rows::read::<KindRow>(&format!("{good}\n{{}}\n")).unwrap_err();
    assert!(error.starts_with("line 2: "), "{error}");
    let error = rows::read::<KindRow>(&good.replace("qa", "quiz")).unwrap_err();
    assert!(error.contains("no kind is called quiz"), "{error}");
}
