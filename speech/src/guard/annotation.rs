//! Annotations in a text: Whisper was trained on subtitles for the deaf, and describes what it
//! hears that is no speech, or sets a lyric between notes.
//!
//! Annotations are told from a caller's words by their form alone:
//!
//! - Square brackets (`[Music]`, `［音楽］`, `【拍手】`, `〔笑〕`) around something with a letter.
//! - Asterisks close around words without digits (`*sighs*`; not `*67`, nor `2 * 3 * 4`).
//! - Round brackets (`(wind howling)`, `（音楽）`) around letters without digits that are a sentence
//!   of their own: before them the text begins or a sentence ends, behind them it ends or a new
//!   one begins. So `(555) 123-4567` and `one (or two) items` are words.
//! - Notes (`♪`, `🎵`) and what stands between two of them, or between one that begins and the
//!   end of the text.
//!
//! Quotation marks, « and » too, stand around what somebody says.

use std::ops::Range;

use asterscribe_call::SpokenWord;

use super::plain;
use crate::Recognition;

/// Longest annotation between brackets, characters; Whisper's own have some 40.
const LONGEST: usize = 80;

/// Words that asterisks may stand around.
const MOST_WORDS_IN_ASTERISKS: usize = 6;

/// Words by which an annotation says that a language is spoken which the model was not asked for.
const FOREIGN_SPEECH: [&str; 3] = ["foreign", "speaking", "speaks"];

/// Annotations of a text, marked byte by byte.
#[derive(Debug)]
pub(super) struct TextAnnotations<'a> {
    text: &'a str,
    /// Of each byte of the text: whether it belongs to an annotation. All bytes of a character
    /// are marked alike.
    marked: Vec<bool>,
}

impl<'a> TextAnnotations<'a> {
    /// The annotations of a text; `None` if it has none.
    pub(super) fn find(text: &'a str) -> Option<Self> {
        if !text.chars().any(begins_annotation) {
            return None;
        }
        let mut found = Self {
            text,
            marked: vec![false; text.len()],
        };
        found.mark_lyrics();
        found.mark_square_brackets();
        found.mark_asterisks();
        found.mark_round_brackets();
        found.marked.contains(&true).then_some(found)
    }

    /// The text without them.
    pub(super) fn rest(&self) -> String {
        let mut rest = String::with_capacity(self.text.len());
        let mut is_cut = false;
        for (place, c) in self.text.char_indices() {
            if self.marked[place] {
                is_cut = true;
                continue;
            }
            // A space is left before what is cut, or behind it, and not both.
            let joins = is_cut && matches!(c, ',' | '.' | '!' | '?' | ';' | ':' | '…');
            if joins || c.is_whitespace() && rest.ends_with(char::is_whitespace) {
                rest.truncate(rest.trim_end().len());
            }
            rest.push(c);
            is_cut &= c.is_whitespace();
        }
        rest.trim().to_owned()
    }

    /// The annotations alone, with a space between two.
    pub(super) fn removed(&self) -> String {
        let mut removed = String::new();
        let mut was_marked = true;
        for (place, c) in self.text.char_indices() {
            let is_marked = self.marked[place];
            match (was_marked, is_marked) {
                (false, true) => removed.extend([' ', c]),
                (true, true) => removed.push(c),
                (_, false) => {}
            }
            was_marked = is_marked;
        }
        removed.trim().to_owned()
    }

    /// A result without its annotations: the text, and the other words with their times.
    pub(super) fn strip(&self, heard: &Recognition) -> Recognition {
        let mut from = 0;
        let words: Vec<SpokenWord> = heard
            .words
            .iter()
            .filter_map(|word| self.strip_word(word, &mut from))
            .collect();
        let sum: f32 = words.iter().map(|word| word.probability).sum();
        let confidence = match words.len() {
            0 => heard.confidence,
            count => sum / count as f32,
        };
        Recognition {
            text: self.rest(),
            confidence,
            words,
            ..heard.clone()
        }
    }

    /// The part of a word that is not marked; words stand in the text one behind the other.
    fn strip_word(&self, word: &SpokenWord, from: &mut usize) -> Option<SpokenWord> {
        let Some(offset) = self.text[*from..].find(&word.text) else {
            // Words of broken UTF-8 may not be the text's.
            return Some(word.clone());
        };
        let place = *from + offset;
        *from = place + word.text.len();
        if !self.marked[place..*from].contains(&true) {
            return Some(word.clone());
        }
        let left = word.text.char_indices();
        let left = left.filter(|(within, _)| !self.marked[place + within]);
        let text: String = left.map(|(_, c)| c).collect();
        text.contains(char::is_alphanumeric).then(|| SpokenWord {
            text: text.trim().to_owned(),
            ..word.clone()
        })
    }

    fn mark(&mut self, range: Range<usize>) {
        self.marked[range].fill(true);
    }

    /// Marks notes and what is sung between them.
    fn mark_lyrics(&mut self) {
        let runs = runs(self.text, is_note);
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            return;
        };
        let has_words = |range: Range<usize>| self.text[range].contains(char::is_alphanumeric);
        let is_framed = !has_words(0..first.start) && !has_words(last.end..self.text.len());
        if runs.len() > 2 && runs.len() % 2 == 1 && is_framed {
            // Verses with one note between two.
            return self.mark(first.start..last.end);
        }
        let length = self.text.len();
        for pair in runs.chunks(2) {
            let end = match pair {
                [_, closing] => closing.end,
                // One that nothing follows only says that music begins.
                _ => length,
            };
            self.mark(pair[0].start..end);
        }
    }

    fn mark_square_brackets(&mut self) {
        for (place, c) in self.text.char_indices() {
            let Some(closing) = closing_square(c) else {
                continue;
            };
            if self.marked[place] {
                continue;
            }
            let inside = place + c.len_utf8();
            let end = end_of(self.text, inside, c, closing);
            // A text that was cut off may lack its end.
            let (content_end, end) = end.unwrap_or((self.text.len(), self.text.len()));
            let content = &self.text[inside..content_end];
            if is_short(content) && content.contains(char::is_alphabetic) {
                let end = self.with_full_stop(place, end);
                self.mark(place..end);
            }
        }
    }

    fn mark_asterisks(&mut self) {
        let runs = runs(self.text, |c| c == '*');
        let mut n = 0;
        while n + 1 < runs.len() {
            let (opening, closing) = (&runs[n], &runs[n + 1]);
            let content = &self.text[opening.end..closing.start];
            let before = self.text[..opening.start].chars().next_back();
            let after = self.text[closing.end..].chars().next();
            let is_free = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
            let is_annotation = is_free(before)
                && is_free(after)
                && content.trim() == content
                && is_wordy(content)
                && content.split_whitespace().count() <= MOST_WORDS_IN_ASTERISKS;
            if !is_annotation {
                n += 1;
                continue;
            }
            let end = self.with_full_stop(opening.start, closing.end);
            self.mark(opening.start..end);
            n += 2;
        }
    }

    fn mark_round_brackets(&mut self) {
        for (place, c) in self.text.char_indices() {
            let closing = match c {
                '(' => ')',
                '（' => '）',
                _ => continue,
            };
            if self.marked[place] {
                continue;
            }
            let inside = place + c.len_utf8();
            let Some((content_end, end)) = end_of(self.text, inside, c, closing)
                // The whole of a text that was cut off.
                .or_else(|| {
                    self.begins(place)
                        .then_some((self.text.len(), self.text.len()))
                })
            else {
                continue;
            };
            let end = self.with_full_stop(place, end);
            let stands_alone = self.is_sentence_end(place) && self.is_sentence_start(end);
            if stands_alone && is_wordy(&self.text[inside..content_end]) {
                self.mark(place..end);
            }
        }
    }

    /// Whether nothing but annotations is before that place.
    fn begins(&self, place: usize) -> bool {
        self.last_before(place).is_none()
    }

    /// Whether what is before that place, annotations apart, is whole sentences.
    fn is_sentence_end(&self, place: usize) -> bool {
        self.last_before(place).is_none_or(|c| {
            matches!(
                c,
                '.' | '!' | '?' | '…' | '。' | '！' | '？' | '।' | '؟' | '|' | '"' | '”' | '»'
            )
        })
    }

    /// Whether behind that place, annotations apart, there is nothing or a new sentence.
    fn is_sentence_start(&self, place: usize) -> bool {
        let rest = self.text[place..].char_indices();
        let mut rest = rest.filter(|(offset, _)| !self.marked[place + offset]);
        let next =
            rest.find(|(_, c)| !c.is_whitespace() && !matches!(c, '"' | '“' | '«' | '¿' | '¡'));
        next.is_none_or(|(_, c)| {
            matches!(c, '(' | '（' | '-' | '–' | '—') || c.is_alphabetic() && !c.is_lowercase()
        })
    }

    /// The last character before that place that is neither space nor annotation.
    fn last_before(&self, place: usize) -> Option<char> {
        let mut before = self.text[..place].char_indices().rev();
        let found = before.find(|(place, c)| !self.marked[*place] && !c.is_whitespace());
        found.map(|(_, c)| c)
    }

    /// The end of an annotation that begins there, with the full stop that belongs to it where
    /// it is a sentence.
    fn with_full_stop(&self, start: usize, end: usize) -> usize {
        if !self.is_sentence_end(start) {
            return end;
        }
        let rest = &self.text[end..];
        end + rest.len()
            - rest
                .trim_start_matches(['.', '!', '?', '…', '。', '！', '？'])
                .len()
    }
}

/// Whether an annotation says that a language is spoken which the model was not asked for.
pub(super) fn names_foreign_speech(annotation: &str) -> bool {
    let words = plain(annotation);
    words.split(' ').any(|word| FOREIGN_SPEECH.contains(&word))
}

fn begins_annotation(c: char) -> bool {
    matches!(c, '(' | '（' | '*') || closing_square(c).is_some() || is_note(c)
}

fn is_note(c: char) -> bool {
    matches!(c, '♩' | '♪' | '♫' | '♬' | '🎵' | '🎶' | '🎼')
}

fn closing_square(opening: char) -> Option<char> {
    Some(match opening {
        '[' => ']',
        '［' => '］',
        '【' => '】',
        '〔' => '〕',
        _ => return None,
    })
}

fn is_short(content: &str) -> bool {
    content.chars().nth(LONGEST).is_none()
}

/// Whether it is words without digits.
fn is_wordy(content: &str) -> bool {
    is_short(content)
        && content.contains(char::is_alphabetic)
        && !content.contains(char::is_numeric)
}

/// Where the bracket that is open at that place closes: the ends of what it holds and of itself.
fn end_of(text: &str, inside: usize, opening: char, closing: char) -> Option<(usize, usize)> {
    let mut depth = 1usize;
    for (offset, c) in text[inside..].char_indices() {
        if c == opening {
            depth += 1;
        } else if c == closing {
            depth -= 1;
            if depth == 0 {
                let end = inside + offset;
                return Some((end, end + c.len_utf8()));
            }
        }
    }
    None
}

/// Characters of a kind that stand side by side.
fn runs(text: &str, is_of_kind: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (place, c) in text.char_indices().filter(|(_, c)| is_of_kind(*c)) {
        let end = place + c.len_utf8();
        match runs.last_mut() {
            Some(last) if last.end == place => last.end = end,
            _ => runs.push(place..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
