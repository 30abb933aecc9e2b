//! Comparison of recognised words.

/// The words in what whisper-cli prints: times in brackets are none.
pub(super) fn of_output(output: &str) -> Vec<String> {
    let text = |line: &str| match line.split_once(']') {
        Some((times, text)) if times.starts_with('[') => text.to_owned(),
        _ => line.to_owned(),
    };
    let lines: Vec<_> = output.lines().map(text).collect();
    of_texts(&lines)
}

/// The words of several texts.
pub(super) fn of_texts(texts: &[String]) -> Vec<String> {
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    words.map(str::to_lowercase).collect()
}

/// Per cent of the words, of those who have more, that the others have not in the same order.
pub(super) fn differing(one: &[String], other: &[String]) -> f64 {
    let most = one.len().max(other.len());
    if most == 0 {
        return 0.0;
    }
    (most - common(one, other)) as f64 / most as f64 * 100.0
}

/// Length of the longest common subsequence.
fn common(one: &[String], other: &[String]) -> usize {
    let mut row = vec![0; other.len() + 1];
    for word in one {
        let mut diagonal = 0;
        for (n, match_for) in other.iter().enumerate() {
            let above = row[n + 1];
            row[n + 1] = if word == match_for {
                diagonal + 1
            } else {
                above.max(row[n])
            };
            diagonal = above;
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        of_texts(&[text.to_owned()])
    }

    #[test]
    fn times_are_no_words_and_case_does_not_count() {
        let output = "[00:00:00.000 --> 00:00:03.000]   Hello there\n good day\n";
        assert_eq!(of_output(output), words("hello there good day"));
    }

    #[test]
    fn words_that_are_missing_added_or_others_differ() {
        let one = words("a b c d");
        assert_eq!(differing(&one, &one), 0.0);
        assert_eq!(differing(&one, &words("a b d")), 25.0);
        assert_eq!(differing(&one, &words("a b x c d")), 20.0);
        assert_eq!(differing(&one, &words("d c b a")), 75.0);
        assert_eq!(differing(&[], &[]), 0.0);
    }
}
