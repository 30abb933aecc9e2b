"""Token numbers: those in the model file, and the few hundred that are trained.

The file has the 51,864 tokens of English-only Whisper models, since whisper.cpp
takes a model for English-only by that number. Ours uses 427 of them. Training
knows only those, under *compact* numbers, and one more that stands for all the
others, which share one embedding.
"""

from .grammar import WORDS

# Numbers in the file; whisper.cpp derives them from the size of the vocabulary.
FILE_VOCABULARY_SIZE = 51864
_END, _START, _PREVIOUS, _NO_SPEECH, _NO_TIMESTAMPS, _FIRST_TIMESTAMP = 50256, 50257, 50360, 50361, 50362, 50363
_TIMESTAMP_TICK = 5  # file timestamps are 20 ms apart, ours 100 ms

# Token 0 is the empty text: the transcript of silence. (whisper.cpp forbids the
# end-of-text token in the first place; an empty text makes no segment.) The
# single characters are never produced, but whisper.cpp looks " " up.
FILE_TEXTS = ["", *(" " + word for word in WORDS), *(chr(code) for code in range(32, 127))]

# Compact numbers.
EMPTY = 0
WORD = {word: number for number, word in enumerate(WORDS, start=1)}
END = len(WORDS) + 1
START = END + 1
PREVIOUS = END + 2
NO_SPEECH = END + 3
NO_TIMESTAMPS = END + 4
TIMESTAMP = END + 5  # + tenths of a second
TIMESTAMPS = 301
UNUSED = TIMESTAMP + TIMESTAMPS
COMPACT_SIZE = UNUSED + 1

# Where each compact token but UNUSED is in the file.
FILE_NUMBER = [
    EMPTY,
    *WORD.values(),
    _END,
    _START,
    _PREVIOUS,
    _NO_SPEECH,
    _NO_TIMESTAMPS,
    *(_FIRST_TIMESTAMP + _TIMESTAMP_TICK * tenths for tenths in range(TIMESTAMPS)),
]
UNUSED_COUNT = FILE_VOCABULARY_SIZE - len(FILE_NUMBER)


def text_of(tokens: list[int]) -> str:
    """The words among compact tokens."""
    return " ".join(WORDS[token - 1] for token in tokens if EMPTY < token < END)
