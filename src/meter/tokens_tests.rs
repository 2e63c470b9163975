use super::*;

#[test]
fn the_two_encodings_count_as_openai_says() {
    // Facts of OpenAI's cookbook on counting tokens.
    for (said, older, newer) in [
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 9, 8),
    ] {
        assert_eq!(count("gpt-4-turbo", said), older, "{said}");
        assert_eq!(count("gpt-4o", said), newer, "{said}");
        // The newer one is the default.
        assert_eq!(count("claude-opus-5", said), newer, "{said}");
    }
    assert_eq!(count("gpt-5", ""), 0);
    assert!(!is_older("gpt-4o") && !is_older("gpt-4.1") && !is_older("openai/gpt-5"));
    assert!(
        is_older("gpt-4") && is_older("openai/gpt-3.5-turbo") && is_older("text-embedding-3-small")
    );
}

#[test]
fn marks_of_the_tokenizer_are_text() {
    assert!(count("gpt-5", "<|endoftext|>") > 1);
    assert!(count("gpt-4", "<|endofprompt|>") > 1);
}

/// What a quadratic tokenizer takes minutes for, and what the expression that
/// splits words goes back and forth on: counted in time, and without a panic.
#[test]
fn a_megabyte_without_a_place_to_cut_is_counted() {
    for letter in [
        "a", "A", " ", "\n", "!", "7", "é", "字", "😀", "\u{300}", "a\u{300}", " \u{a0}",
    ] {
        let text = letter.repeat(1_000_000 / letter.len());
        let counted = count("gpt-5", &text);
        let pieces = pieces(&text).count() as u64;
        assert!(
            counted >= pieces && counted <= text.len() as u64,
            "{letter:?}: {counted}"
        );
    }
    assert!(count("gpt-4", &"a".repeat(1_000_000)) > 1_000);
}

#[test]
fn pieces_are_the_text_and_none_is_long() {
    let text = "word ".repeat(3_000) + &"é".repeat(5_000) + &" ".repeat(9_000);
    let pieces: Vec<_> = pieces(&text).collect();
    assert_eq!(pieces.concat(), text);
    assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
    let words = "word ".repeat(3_000);
    let whole = u64::try_from(O200K.as_ref().unwrap().encode_ordinary(&words).len()).unwrap();
    assert_eq!(count("gpt-5", &words), whole, "words are not cut");
}
