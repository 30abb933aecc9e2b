"""Which phone and which word is spoken when, by what the engines tell.

flite and festival tell each phone; espeak-ng tells each word, and its phones
get their share of it as flite would give them. Without these targets the
attention of so small a model never finds the audio.
"""

import subprocess
from collections.abc import Sequence
from functools import cache

import numpy as np

PAUSE = "pau"
# flite's phones; frame target 0 means that nobody speaks.
PHONES = (
    "aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z"
).split()
PHONE = {name: number for number, name in enumerate(PHONES, start=1)}
_NEAREST = {"dx": "d", "axr": "er", "el": "l", "em": "m", "en": "n", "nx": "n", "zh": "jh"}  # festival's others
_VOICE_FOR_OTHERS = "slt"

Phone = tuple[str, float, float]  # name, start, end


def rows(words: Sequence[Sequence[Phone]]) -> np.ndarray:
    """Rows of (start, end, phone, word) in seconds; words by their place in the text, from 1."""
    return np.array(
        [
            (start, end, PHONE[_NEAREST.get(name, name)], number)
            for number, word in enumerate(words, start=1)
            for name, start, end in word
        ],
        np.float32,
    )


def from_phones(text: str, phones: list[Phone]) -> list[list[Phone]]:
    """The phones of each word. Within a sentence flite may drop or add some; then they are shared out in proportion."""
    counts = [len(pronunciation(word)) for word in text.split()]
    ends = np.round(np.cumsum(counts) / sum(counts) * len(phones)).astype(int)
    return [phones[start:end] for start, end in zip([0, *ends], ends)]


def from_words(text: str, spans: Sequence[tuple[float, float] | None]) -> list[list[Phone]]:
    """The phones of each word of which only the time is known, or not even that: it shares its forerunner's.

    Nothing if the first has none.
    """
    if not spans or not spans[0]:
        return []
    words = text.split()
    found: list[list[Phone]] = []
    for start, end in _groups(spans):
        phones = [pronunciation(word) for word in words[start:end]]
        begin, finish = spans[start]
        scale = (finish - begin) / sum(part[-1][2] for part in phones)
        for part in phones:
            found.append([(name, begin + scale * a, begin + scale * b) for name, a, b in part])
            begin = found[-1][-1][2]
    return found


def _groups(spans: Sequence) -> list[tuple[int, int]]:
    """Ranges of words that share a time."""
    starts = [number for number, span in enumerate(spans) if span]
    return list(zip(starts, [*starts[1:], len(spans)]))


@cache
def pronunciation(word: str) -> list[Phone]:
    """The phones of a word by itself, from 0."""
    command = ["flite", "-psdur", "-voice", _VOICE_FOR_OTHERS, "-t", word, "-o", "none"]
    spoken = parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    begin = spoken[0][1]
    return [(name, start - begin, end - begin) for name, start, end in spoken]


def parse(durations: str) -> list[Phone]:
    """What `flite -psdur` prints, without pauses."""
    phones, start = [], 0.0
    for part in durations.split():
        name, end = part.rsplit(":", 1)
        if name != PAUSE:
            phones.append((name, start, float(end)))
        start = float(end)
    return phones
