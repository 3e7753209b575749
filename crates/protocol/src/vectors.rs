//! Reads `tests/vectors/*.txt` for tests: `NAME: HEX`, one a line; `#` begins a comment.

/// The vectors of `text`, in its order.
pub(crate) fn parse(text: &str) -> Vec<(&str, Vec<u8>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, digits) = line.split_once(": ").expect("a name and digits");
            let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
            (name, (0..digits.len()).step_by(2).map(byte).collect())
        })
        .collect()
}

/// Compares, and on a difference prints the whole file as it would have to be.
pub(crate) fn assert_same(text: &str, expected: &[(&str, Vec<u8>)]) {
    let line = |(name, bytes): &(&str, Vec<u8>)| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}: {digits}\n")
    };
    let wanted: String = expected.iter().map(line).collect();
    assert!(parse(text) == expected, "the vectors would have to be:\n{wanted}");
}
