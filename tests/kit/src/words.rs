//! Distance of a recognised text from the spoken one.

/// Differences between a reference and a hypothesis, in words, under the
/// cheapest alignment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WordErrors {
    /// Words that came out as others.
    pub substitutions: usize,
    /// Words that did not come out.
    pub deletions: usize,
    /// Words that nobody said.
    pub insertions: usize,
    /// Words that were said.
    pub reference: usize,
}

impl WordErrors {
    /// Compares `said` with `heard`, both normalised.
    pub fn between(said: &str, heard: &str) -> Self {
        let (said, heard) = (normalise(said), normalise(heard));
        let blank = Self {
            reference: said.len(),
            ..Self::default()
        };
        // One row of the edit distance; each cell knows how its cost is made up.
        let mut row: Vec<Self> = (0..=heard.len())
            .map(|n| Self {
                insertions: n,
                ..blank
            })
            .collect();
        for word in &said {
            let mut diagonal = row[0];
            row[0].deletions += 1;
            for (at, other) in heard.iter().enumerate() {
                let matched = if word == other {
                    diagonal
                } else {
                    Self {
                        substitutions: diagonal.substitutions + 1,
                        ..diagonal
                    }
                };
                let deleted = Self {
                    deletions: row[at + 1].deletions + 1,
                    ..row[at + 1]
                };
                let inserted = Self {
                    insertions: row[at].insertions + 1,
                    ..row[at]
                };
                diagonal = row[at + 1];
                row[at + 1] = [matched, deleted, inserted]
                    .into_iter()
                    .min_by_key(Self::total)
                    .expect("three candidates");
            }
        }
        row[heard.len()]
    }

    /// All differences.
    pub fn total(&self) -> usize {
        self.substitutions + self.deletions + self.insertions
    }

    /// Differences per word said: the word error rate. Anything heard when
    /// nothing was said counts as wholly wrong.
    pub fn rate(&self) -> f64 {
        if self.reference == 0 {
            if self.total() == 0 { 0.0 } else { 1.0 }
        } else {
            self.total() as f64 / self.reference as f64
        }
    }

    /// The differences of two comparisons taken together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            substitutions: self.substitutions + other.substitutions,
            deletions: self.deletions + other.deletions,
            insertions: self.insertions + other.insertions,
            reference: self.reference + other.reference,
        }
    }
}

/// The words of a text: lower case, without punctuation, apostrophes kept.
pub fn normalise(text: &str) -> Vec<String> {
    let kept = |c: char| {
        if c.is_alphanumeric() || c == '\'' {
            c
        } else {
            ' '
        }
    };
    let text: String = text
        .chars()
        .flat_map(char::to_lowercase)
        .map(kept)
        .collect();
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_and_punctuation_do_not_count() {
        assert_eq!(
            WordErrors::between("Hello, I can't.", "hello i can't").total(),
            0
        );
        assert_eq!(normalise(" Good-bye;  ÄÖ "), ["good", "bye", "äö"]);
    }

    #[test]
    fn each_kind_of_error_is_told_apart() {
        let errors = WordErrors::between("one two three four", "one too three four five");
        assert_eq!(
            errors,
            WordErrors {
                substitutions: 1,
                deletions: 0,
                insertions: 1,
                reference: 4
            }
        );
        assert_eq!(
            WordErrors::between("one two three", "one three"),
            WordErrors {
                deletions: 1,
                reference: 3,
                ..WordErrors::default()
            }
        );
        assert!((errors.rate() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn silence_and_noise() {
        assert!(WordErrors::between("", "").rate() < 1e-9);
        assert!((WordErrors::between("", "boo").rate() - 1.0).abs() < 1e-9);
        assert!((WordErrors::between("a b", "").rate() - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn it_is_a_distance(a in "[abc ]{0,16}", b in "[abc ]{0,16}", c in "[abc ]{0,16}") {
            let d = |x: &str, y: &str| WordErrors::between(x, y).total();
            prop_assert_eq!(d(&a, &b), d(&b, &a));
            prop_assert_eq!(d(&a, &b) == 0, normalise(&a) == normalise(&b));
            prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
            let longer = normalise(&a).len().max(normalise(&b).len());
            prop_assert!(d(&a, &b) <= longer);
        }
    }
}
