//! Asterisk's prompts as lists of recordings with what is said in them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::tools_dir;
use crate::process;
use crate::wav::Sound;
use crate::words;
use crate::{Error, Result};

/// File of the texts in the packages that differ from the recordings, in `tools/real-speech`.
pub(super) const CORRECTIONS: &str = "corrections.tsv";

/// Languages, and the folder of the voice that speaks each.
const VOICES: [(&str, &str); 5] = [
    ("en", "en_US_f_Allison"),
    ("es", "es_MX_f_Allison"),
    ("fr", "fr_CA_f_June"),
    ("it", "it_IT_m_Carlo"),
    ("ru", "ru_RU_f_IvrvoiceRU"),
];

/// Prompts whose texts are no words that are spoken as they stand: tones, single letters, what
/// the speaker sings or screams, names that the text gives otherwise. A name that ends with `-`
/// or `/` stands for all that begin so.
const LEFT_OUT: &[&str] = &[
    "letters/",
    "phonetic/",
    "silence/",
    "spy-",
    "beep",
    "tt-monkeys",
    "ascending-2tone",
    "descending-2tone",
    "confbridge-join",
    "confbridge-leave",
    "vm-Cust1",
    "vm-Cust2",
    "vm-Cust3",
    "vm-Cust4",
    "vm-Cust5",
    "vm-INBOX",
    "vm-Old",
];

fn is_left_out(id: &str) -> bool {
    LEFT_OUT.iter().any(|left| {
        let is_prefix = left.ends_with(['-', '/']) && id.starts_with(left);
        is_prefix || id == *left
    })
}

/// Longest prompt in seconds that is taken: more does not fit Whisper's window.
const LONGEST_SECS: f64 = 29.0;

/// A list of prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// A code of ISO 639-1: `en`, `es`, `fr`, `it` or `ru`.
    pub language: &'static str,
    /// Prompts of one or two words; otherwise those of three and more.
    pub short: bool,
}

impl List {
    /// English prompts of three words and more: their texts are proof-read.
    pub const ENGLISH: Self = Self {
        language: "en",
        short: false,
    };

    /// Every list.
    pub fn all() -> impl Iterator<Item = Self> {
        VOICES
            .into_iter()
            .flat_map(|(language, _)| [false, true].map(|short| Self { language, short }))
    }

    /// Name of the list: `en`, `en-short` and so on.
    pub fn name(self) -> String {
        let Self { language, short } = self;
        format!("{language}{}", if short { "-short" } else { "" })
    }
}

/// A recording and what is said in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Asterisk's name of the prompt: `conf-adminmenu`.
    pub id: String,
    /// Path of the recording: 8 kHz, mono, 16 bits.
    pub wav: PathBuf,
    /// Length in seconds.
    pub seconds: f64,
    /// Words of the prompt, as the package or the proof-reader wrote them.
    pub text: String,
}

impl Prompt {
    /// Reads the recording.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub fn sound(&self) -> Result<Sound> {
        Sound::read(&self.wav)
    }
}

/// The packages that hold recordings and texts.
pub(super) fn packages() -> Vec<String> {
    let speech = VOICES.iter().flat_map(|(language, _)| {
        let texts = format!("asterisk-core-sounds-{language}");
        [format!("{texts}-wav"), texts]
    });
    speech
        .chain(["asterisk-moh-opsound-wav".to_owned()])
        .collect()
}

/// Writes the lists into `home`.
pub(super) fn prepare(home: &Path) -> Result<()> {
    let corrections = corrections()?;
    let lists = home.join("lists");
    fs::create_dir_all(&lists).map_err(Error::io("cannot create a folder for lists"))?;
    for (language, voice) in VOICES {
        let sounds = home.join("debian/usr/share/asterisk/sounds").join(voice);
        let mut texts = [String::new(), String::new()];
        for (id, text) in scripts(home, language)? {
            let text = corrections
                .get(&format!("{language}:{id}"))
                .unwrap_or(&text);
            let words = words::normalise(text);
            let wav = sounds.join(format!("{id}.wav"));
            if words.is_empty() || !wav.is_file() || is_left_out(&id) {
                continue;
            }
            let seconds = Sound::read(&wav)?.duration_ms() as f64 / 1000.0;
            if seconds <= LONGEST_SECS {
                let is_short = words.len() < 3;
                let list = &mut texts[usize::from(is_short)];
                writeln!(list, "{id}\t{seconds:.3}\t{}\t{text}", wav.display())
                    .expect("a string takes all that is written");
            }
        }
        for (short, text) in [false, true].into_iter().zip(texts) {
            let path = file(home, List { language, short });
            fs::write(path, text).map_err(Error::io("cannot write a list of prompts"))?;
        }
    }
    Ok(())
}

/// A list that was written before.
pub(super) fn read(home: &Path, list: List) -> Result<Vec<Prompt>> {
    let path = file(home, list);
    let text = fs::read_to_string(&path);
    let text = text.map_err(Error::io(format!("cannot read {}", path.display())))?;
    let parse = |line: &str| {
        let mut fields = line.split('\t');
        Some(Prompt {
            id: fields.next()?.to_owned(),
            seconds: fields.next()?.parse().ok()?,
            wav: fields.next()?.into(),
            text: fields.next()?.to_owned(),
        })
    };
    let prompts = text.lines().map(|line| {
        parse(line).ok_or_else(|| Error::Failed(format!("{}: {line}", path.display())))
    });
    prompts.collect()
}

/// Music on hold.
pub(super) fn music(home: &Path) -> Result<Vec<PathBuf>> {
    let folder = home.join("debian/usr/share/asterisk/moh");
    let mut found = Vec::new();
    find_wavs(&folder, &mut found)
        .map_err(Error::io(format!("cannot list {}", folder.display())))?;
    found.sort();
    Ok(found)
}

fn find_wavs(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_wavs(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "wav") {
            found.push(path);
        }
    }
    Ok(())
}

fn file(home: &Path, list: List) -> PathBuf {
    home.join("lists").join(format!("{}.tsv", list.name()))
}

/// A package's texts: `name: text` a line, comments behind semicolons.
fn scripts(home: &Path, language: &str) -> Result<BTreeMap<String, String>> {
    let package = format!("asterisk-core-sounds-{language}");
    let path = home
        .join("debian/usr/share/doc")
        .join(&package)
        .join(format!("core-sounds-{language}.txt.gz"));
    let mut gzip = Command::new("gzip");
    gzip.arg("-dc").arg(&path);
    let text = process::run(
        &format!("unpacking {}", path.display()),
        gzip,
        Duration::from_secs(30),
    )?;
    let lines = text.lines().filter(|line| !line.starts_with(';'));
    let pairs = lines.filter_map(|line| line.split_once(':'));
    let trimmed = pairs.map(|(id, text)| (id.trim().to_owned(), text.trim().to_owned()));
    // Stage directions stand for a sound, not for words.
    let is_spoken = |text: &str| !text.starts_with(['[', '(', '<']);
    Ok(trimmed.filter(|(_, text)| is_spoken(text)).collect())
}

/// Corrected texts, by `LANGUAGE:prompt`.
fn corrections() -> Result<BTreeMap<String, String>> {
    let path = tools_dir().join(CORRECTIONS);
    let text = fs::read_to_string(&path);
    let text = text.map_err(Error::io(format!("cannot read {}", path.display())))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('\t'));
    Ok(pairs
        .map(|(id, text)| (id.to_owned(), text.trim().to_owned()))
        .collect())
}
