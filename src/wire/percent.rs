//! Percent-encoding (RFC 3986, section 2.1), for the one place where it is needed: text of others
//! in a path or a query.

/// Appends a text with every byte encoded but the unreserved characters (section 2.3).
pub fn encode(text: &str, out: &mut String) {
    encode_but(text, b"", out);
}

/// The same, but for the bytes of `kept`, which stay as they are.
pub fn encode_but(text: &str, kept: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_unreserved_is_encoded() {
        let encoded = |text: &str, kept: &[u8]| {
            let mut out = String::from("/");
            encode_but(text, kept, &mut out);
            out
        };
        for (text, kept, expected) in [
            ("gpt-4.1_x~9", "", "/gpt-4.1_x~9"),
            ("a/b?c=d&e#f", "", "/a%2Fb%3Fc%3Dd%26e%23f"),
            ("a@1", "", "/a%401"),
            ("a@1", "@", "/a@1"),
            ("ö %", "", "/%C3%B6%20%25"),
        ] {
            assert_eq!(encoded(text, kept.as_bytes()), expected, "{text}");
        }
    }
}
