"""Which phone and which word is spoken when.

flite tells the durations it would give each phone of a text; scaled to a clip's
length they serve for every voice. That is rough, and enough: without these
targets the attention of so small a model never finds the audio.
"""

import subprocess
from functools import cache

import numpy as np

from . import tokens
from .grammar import WORDS
from .synth import FLITE_VOICES

PAUSE = "pau"
# flite's phones; frame target 0 means that nobody speaks.
PHONES = (
    "aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z"
).split()
PHONE = {name: number for number, name in enumerate(PHONES, start=1)}
_VOICE_FOR_OTHERS = "slt"


def align(text: str, engine: str, voice: str) -> np.ndarray:
    """Rows of (start, end, phone, word): times as fractions of the clip, pauses with phone and word 0."""
    flite_voice = voice if engine == "flite" and voice in FLITE_VOICES else _VOICE_FOR_OTHERS
    spoken = _without_outer_pauses(_durations(text, flite_voice))
    begin, length = spoken[0][1], spoken[-1][2] - spoken[0][1]
    words = iter(_word_of_phones(text.split(), sum(phone != PAUSE for phone, _, _ in spoken)))
    rows = []
    for phone, start, end in spoken:
        targets = (0, 0) if phone == PAUSE else (PHONE[phone], tokens.WORD[next(words)])
        rows.append(((start - begin) / length, (end - begin) / length, *targets))
    return np.array(rows, np.float32)


def _word_of_phones(words: list[str], phones: int) -> list[str]:
    """The word of each phone. Within a sentence flite may drop or add some; then they are shared out in proportion."""
    counts = [pronunciation_lengths()[word] for word in words]
    if sum(counts) == phones:
        return [word for word, count in zip(words, counts) for _ in range(count)]
    ends = np.cumsum(counts) / sum(counts) * phones
    owners = np.minimum(np.searchsorted(ends, np.arange(phones) + 0.5), len(words) - 1)
    return [words[owner] for owner in owners]


@cache
def pronunciation_lengths() -> dict[str, int]:
    """Phones of each word by itself."""
    return {word: len(_without_outer_pauses(_durations(word, _VOICE_FOR_OTHERS))) for word in WORDS}


def _durations(text: str, voice: str) -> list[tuple[str, float, float]]:
    """(phone, start, end) in seconds as flite would speak it."""
    command = ["flite", "-psdur", "-voice", voice, "-t", text, "-o", "none"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    phones, start = [], 0.0
    for part in out.split():
        name, end = part.rsplit(":", 1)
        phones.append((name, start, float(end)))
        start = float(end)
    return phones


def _without_outer_pauses(phones: list) -> list:
    spoken = [number for number, phone in enumerate(phones) if phone[0] != PAUSE]
    return phones[spoken[0] : spoken[-1] + 1]
