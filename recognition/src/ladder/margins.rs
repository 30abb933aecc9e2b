//! Margins of silence that the encoder gets behind an utterance, by model or as set.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::WHOLE_WINDOW;
use crate::model::{AlignmentHeads, SpeechModel};

/// Prefix of the margin behind the sentinel, in the text form.
const SENTINEL: &str = "sentinel+";

/// Most margins behind the utterance alone that can be set.
const MOST_MARGINS: usize = 4;

/// Positions of silence that the encoder gets behind an utterance, in the order of the tries; after
/// the last of them comes the whole window. Empty: the whole window at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextMargins {
    /// Margin behind the sentinel, for a first try at speech in the sentinel's language.
    pub sentinel: Option<u16>,
    /// Margins behind the utterance alone, in the order in which they are tried.
    pub alone: Vec<u16>,
}

impl ContextMargins {
    /// The whole window for every utterance.
    pub const WHOLE: Self = Self {
        sentinel: None,
        alone: Vec::new(),
    };

    /// Margins behind the utterance alone, in the order in which they are tried.
    pub fn new(alone: Vec<u16>) -> Self {
        Self {
            sentinel: None,
            alone,
        }
    }

    /// Margins measured for the model, or wide ones where none were measured.
    pub fn of(model: &SpeechModel) -> Self {
        let measured = |sentinel: u16, alone: &[u16]| Self {
            sentinel: model.times_words_closely().then_some(sentinel),
            alone: alone.to_vec(),
        };
        match model.alignment_heads() {
            // Trained for it.
            AlignmentHeads::Demo => Self::new(vec![10]),
            AlignmentHeads::Published("tiny.en") => measured(128, &[256]),
            AlignmentHeads::Published("base") => measured(64, &[256, 512]),
            AlignmentHeads::Published(_) | AlignmentHeads::Unknown => Self::new(vec![512]),
        }
    }

    /// Margins that are set, else those of the model; without the sentinel's where its word could
    /// not be told from the caller's own.
    pub fn chosen(set: Option<&Self>, model: &SpeechModel) -> Self {
        let mut margins = set.cloned().unwrap_or_else(|| Self::of(model));
        margins.sentinel = margins.sentinel.filter(|_| model.times_words_closely());
        margins
    }
}

/// The text form that [`from_str`](Self::from_str) takes.
impl fmt::Display for ContextMargins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::WHOLE {
            return f.write_str("whole");
        }
        let sentinel = self.sentinel.map(|margin| format!("{SENTINEL}{margin}"));
        let alone = self.alone.iter().map(u16::to_string);
        let all: Vec<_> = sentinel.into_iter().chain(alone).collect();
        f.write_str(&all.join(","))
    }
}

/// Text form: `whole`, or margins in the order in which they are tried, such as
/// `sentinel+64,128,512`.
impl FromStr for ContextMargins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "whole" {
            return Ok(Self::WHOLE);
        }
        let margin = |text: &str| match text.parse::<u16>() {
            Ok(margin) if usize::from(margin) <= WHOLE_WINDOW => Ok(margin),
            _ => Err(format!("{text:?} is no number from 0 to {WHOLE_WINDOW}")),
        };
        let mut texts = text.split(',').map(str::trim).peekable();
        let sentinel = texts.next_if(|text| text.starts_with(SENTINEL));
        let sentinel = sentinel.map(|text| margin(&text[SENTINEL.len()..]));
        let alone: Vec<_> = texts.map(margin).collect::<Result<_, _>>()?;
        if !alone.is_sorted_by(|a, b| a < b) {
            return Err("each number must be above the one before it".to_owned());
        }
        if alone.len() > MOST_MARGINS {
            return Err(format!("more than {MOST_MARGINS} numbers"));
        }
        Ok(Self {
            sentinel: sentinel.transpose()?,
            alone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_are_read_as_they_are_written() {
        let margins = |sentinel, alone: &[u16]| ContextMargins {
            sentinel,
            alone: alone.to_vec(),
        };
        for (text, expected) in [
            ("sentinel+64,128,512", margins(Some(64), &[128, 512])),
            ("sentinel+0", margins(Some(0), &[])),
            ("0,256,1500", margins(None, &[0, 256, 1500])),
            ("whole", ContextMargins::WHOLE),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!(" sentinel+64, 128".parse(), Ok(margins(Some(64), &[128])));
        for text in [
            "",
            "fast",
            "1501",
            "-1",
            "sentinel",
            "sentinel+",
            "sentinel+1501",
            "128,64",
            "64,64",
            "128,sentinel+64",
            "sentinel+1,sentinel+2",
            "1,2,3,4,5",
            "1,,2",
            "whole,64",
        ] {
            assert!(text.parse::<ContextMargins>().is_err(), "{text}");
        }
    }
}
