//! The scripted calls: who says what when, and the dialplan that makes
//! Asterisk say it. The fixtures are recordings of these, and the integration
//! tests place the same calls live.

use std::path::{Path, PathBuf};

use crate::wav::Sound;
use crate::{Error, Result, host};

/// The folder of `fixtures/prompts`, as the dialplan knows it.
const PROMPTS: &str = "${PROMPTS}";

/// One utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Label of the party that speaks: `caller` or `callee`.
    pub leg: &'static str,
    /// Name of the prompt in its folder, `fixtures/prompts` if not said otherwise.
    pub prompt: &'static str,
    /// Silence since the end of the turn before, milliseconds; negative: it is cut short by this one.
    pub gap_ms: i64,
}

/// An utterance with its place in the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Label of the party that speaks.
    pub leg: &'static str,
    /// Name of the prompt.
    pub prompt: &'static str,
    /// Start since the call was answered, milliseconds.
    pub start_ms: i64,
    /// End since the call was answered, milliseconds.
    pub end_ms: i64,
}

/// One caller alone: three sentences.
pub const MONOLOGUE: [Turn; 3] = [
    Turn {
        leg: "caller",
        prompt: "phone-problem",
        gap_ms: 2000,
    },
    Turn {
        leg: "caller",
        prompt: "account-number",
        gap_ms: 1200,
    },
    Turn {
        leg: "caller",
        prompt: "call-back",
        gap_ms: 1800,
    },
];

/// A small support conversation; near its end both speak at once.
pub const CONVERSATION: [Turn; 10] = [
    Turn {
        leg: "callee",
        prompt: "support-greeting",
        gap_ms: 2000,
    },
    Turn {
        leg: "caller",
        prompt: "internet-broken",
        gap_ms: 700,
    },
    Turn {
        leg: "callee",
        prompt: "what-number",
        gap_ms: 700,
    },
    Turn {
        leg: "caller",
        prompt: "account-number",
        gap_ms: 600,
    },
    Turn {
        leg: "callee",
        prompt: "one-moment",
        gap_ms: 600,
    },
    Turn {
        leg: "callee",
        prompt: "check-internet",
        gap_ms: 1600,
    },
    Turn {
        leg: "caller",
        prompt: "internet-works",
        gap_ms: 900,
    },
    Turn {
        leg: "caller",
        prompt: "thanks-for-help",
        gap_ms: 800,
    },
    Turn {
        leg: "callee",
        prompt: "good-day",
        gap_ms: -700,
    },
    Turn {
        leg: "caller",
        prompt: "goodbye",
        gap_ms: 900,
    },
];

/// Silence after the last word before a party hangs up: longer than any pause
/// that a segmenter takes for the end of an utterance.
const TAIL_MS: i64 = 1500;

/// Extensions of context `kit`, for [`crate::asterisk::Options::extensions`]:
///
/// - `talk`: answers, speaks [`MONOLOGUE`], hangs up;
/// - `hold`: the same, but stays on the line;
/// - `caller`, `callee`: the parts of [`CONVERSATION`];
/// - `dial-callee`: calls `callee` and bridges the two, no ARI involved;
/// - `stasis`: enters `Stasis(asterscribe)`, as a user's dialplan does.
///
/// Originate `Local/talk@kit/n` into an application or into `stasis@kit`, and
/// `Local/caller@kit/n` into `dial-callee@kit`, always with `formats=ulaw` or the like.
pub fn dialplan() -> String {
    let monologue = place(&MONOLOGUE, prompt_length);
    let conversation = place(&CONVERSATION, prompt_length);
    let (Ok(monologue), Ok(conversation)) = (monologue, conversation) else {
        // Without prompts (a checkout without fixtures) nobody has anything to say.
        return "[kit]\nexten => talk,1,Answer()\n same => n,Wait(3600)\n".to_owned();
    };
    [
        "[kit]\n".to_owned(),
        extension("talk", &monologue, PROMPTS, "caller", "Hangup()"),
        extension("hold", &monologue, PROMPTS, "caller", "Wait(3600)"),
        parties(&conversation, PROMPTS),
        "exten => stasis,1,Answer()\n same => n,Stasis(asterscribe)\n same => n,Hangup()\n"
            .to_owned(),
    ]
    .concat()
}

/// Extensions `caller`, `callee` and `dial-callee` of context `kit` for a call of people, whose
/// recordings lie in that folder.
///
/// # Errors
/// A recording cannot be read.
pub fn people_dialplan(turns: &[Turn], folder: &Path) -> Result<String> {
    let length = |prompt: &str| {
        let sound = Sound::read(&folder.join(format!("{prompt}.wav")))?;
        Ok(sound.duration_ms())
    };
    let placed = place(turns, length)?;
    let folder = folder.to_string_lossy();
    Ok(format!("[kit]\n{}", parties(&placed, &folder)))
}

/// Turns of a call between people: prompts of Asterisk's English voice that make a conversation.
pub fn people_call() -> Vec<Turn> {
    let lines = include_str!("../../../fixtures/people-call.txt").lines();
    let turns = lines.filter_map(|line| line.split_once(' ')).enumerate();
    let turn = |(n, (leg, prompt))| Turn {
        leg,
        prompt,
        // Until the tap is there nobody speaks.
        gap_ms: if n == 0 { 3_000 } else { 800 },
    };
    turns.map(turn).collect()
}

/// Both parts of a call, and the extension that connects them.
fn parties(placed: &[Placed], folder: &str) -> String {
    [
        extension("caller", placed, folder, "caller", "Hangup()"),
        // The caller hangs up; the callee only waits for it.
        extension("callee", placed, folder, "callee", "Wait(3600)"),
        "exten => dial-callee,1,Dial(Local/callee@kit/n,30)\n same => n,Hangup()\n".to_owned(),
    ]
    .concat()
}

/// Puts turns one after the other; `length_ms` tells how long a prompt is.
pub fn place(
    turns: &[Turn],
    mut length_ms: impl FnMut(&str) -> Result<u64>,
) -> Result<Vec<Placed>> {
    let mut end_ms = 0;
    let mut placed = Vec::with_capacity(turns.len());
    for turn in turns {
        let start_ms = end_ms + turn.gap_ms;
        end_ms = start_ms
            + i64::try_from(length_ms(turn.prompt)?)
                .map_err(|_| Error::Failed("a prompt without end".into()))?;
        placed.push(Placed {
            leg: turn.leg,
            prompt: turn.prompt,
            start_ms,
            end_ms,
        });
    }
    Ok(placed)
}

/// Length of a prompt in milliseconds.
pub fn prompt_length(name: &str) -> Result<u64> {
    Sound::read(&prompt_file(name, "wav")).map(|sound| sound.duration_ms())
}

/// The words of a prompt.
pub fn prompt_text(name: &str) -> Result<String> {
    let file = prompt_file(name, "txt");
    let text = std::fs::read_to_string(&file)
        .map_err(Error::io(format!("cannot read {}", file.display())))?;
    Ok(text.trim().to_owned())
}

/// A prompt's file: `txt`, `wav` (8 kHz), or, for [`MONOLOGUE`] alone, `wav16`
/// (16 kHz, by the suffix that Asterisk knows).
pub fn prompt_file(name: &str, suffix: &str) -> PathBuf {
    host::workspace_dir()
        .join("fixtures/prompts")
        .join(format!("{name}.{suffix}"))
}

/// One party's part of a call, its prompts in that folder: it waits while others speak.
fn extension(name: &str, all: &[Placed], folder: &str, leg: &str, last: &str) -> String {
    let mut text = format!("exten => {name},1,Answer()\n");
    let mut spent = 0;
    for turn in all.iter().filter(|turn| turn.leg == leg) {
        text.push_str(&wait(turn.start_ms - spent));
        text.push_str(&format!(" same => n,Playback({folder}/{})\n", turn.prompt));
        spent = turn.end_ms;
    }
    let end = all.iter().map(|turn| turn.end_ms).max().unwrap_or_default();
    text.push_str(&wait(end + TAIL_MS - spent));
    text.push_str(&format!(" same => n,{last}\n"));
    text
}

fn wait(ms: i64) -> String {
    format!(
        " same => n,Wait({}.{:03})\n",
        ms.max(0) / 1000,
        ms.max(0) % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_each_other_and_may_overlap() {
        let turns = [
            Turn {
                leg: "a",
                prompt: "x",
                gap_ms: 1000,
            },
            Turn {
                leg: "b",
                prompt: "y",
                gap_ms: -250,
            },
            Turn {
                leg: "a",
                prompt: "x",
                gap_ms: 500,
            },
        ];
        let placed = place(&turns, |name| Ok(if name == "x" { 2000 } else { 300 })).unwrap();
        let times: Vec<_> = placed
            .iter()
            .map(|turn| (turn.start_ms, turn.end_ms))
            .collect();
        assert_eq!(times, [(1000, 3000), (2750, 3050), (3550, 5550)]);
        assert_eq!(
            extension("e", &placed, PROMPTS, "b", "Hangup()"),
            "exten => e,1,Answer()\n same => n,Wait(2.750)\n same => n,Playback(${PROMPTS}/y)\n same => n,Wait(4.000)\n same => n,Hangup()\n"
        );
    }

    #[test]
    fn every_prompt_of_the_scenarios_is_there_and_no_party_interrupts_itself() {
        for turns in [&MONOLOGUE[..], &CONVERSATION[..]] {
            let placed = place(turns, prompt_length).unwrap();
            for leg in ["caller", "callee"] {
                let own: Vec<_> = placed.iter().filter(|turn| turn.leg == leg).collect();
                assert!(
                    own.windows(2)
                        .all(|pair| pair[0].end_ms + 500 < pair[1].start_ms),
                    "{own:?}"
                );
            }
            assert!(
                turns
                    .iter()
                    .all(|turn| !prompt_text(turn.prompt).unwrap().is_empty())
            );
        }
    }

    #[test]
    fn both_sampling_rates_of_a_prompt_are_equally_long() {
        for turn in &MONOLOGUE {
            let [narrow, wide] = ["wav", "wav16"]
                .map(|suffix| Sound::read(&prompt_file(turn.prompt, suffix)).unwrap());
            assert_eq!((narrow.rate, wide.rate), (8000, 16_000), "{}", turn.prompt);
            assert!(
                narrow.duration_ms().abs_diff(wide.duration_ms()) <= 1,
                "{}",
                turn.prompt
            );
        }
    }
}
