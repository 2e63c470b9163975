//! Names that operators give: of providers, keys, limits, tags.

/// 1 to 64 letters, digits, `.`, `_`, `-`; no slash, since that separates a
/// provider from its model.
pub fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for (name, expected) in [
            ("search-1.a_b", true),
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("\u{e4}", false),
            (&*"a".repeat(64), true),
            (&*"a".repeat(65), false),
        ] {
            assert_eq!(is_plain(name), expected, "{name}");
        }
    }
}
