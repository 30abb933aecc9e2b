"""Training examples: what is said when, and what the model should make of it. The sound itself is made by `render`."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np
import torch

from . import grammar, telephone, tokens
from .corpus import RATE, Shards
from .model import AUDIO_CONTEXT

IGNORED = -100  # as a target: no loss
_FRAMES_PER_SECOND = 50
_SAMPLES_PER_FRAME = RATE // _FRAMES_PER_SECOND
_SPARE_FRAMES = 10  # of context beyond the audio, as the server gives
_LONGEST = AUDIO_CONTEXT - 40  # frames of a window
_MOST_IN_BATCH = 512
_MOST_WORDS = 70  # in a window
_TEXT_STEP = 8  # texts are filled up to a multiple of it
_AFTERWARDS = 15  # frames after the last word in which to see that it was the last


@dataclass
class Utterance:
    """A clip in a window."""

    place: int  # in the window, samples
    clip: int
    speed: float
    length: int  # at that speed, samples


@dataclass
class Window:
    """Some seconds of a call, up to Whisper's 30."""

    length: int = 0  # samples
    utterances: list[Utterance] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Encoder frames that hold it."""
        return -(-self.length // _SAMPLES_PER_FRAME)


@dataclass
class Batch:
    """A training step; the first index of the arrays is the window."""

    frames: int  # that hold every window
    context: int  # encoder frames
    full: bool  # whether Whisper's whole 30 s should give the same
    corpus_size: int  # samples of the corpus that `source` refers to
    lengths: np.ndarray  # samples
    # Of each utterance:
    places: np.ndarray  # in the window, ascending; past its end where there is none
    sources: np.ndarray  # where its clip begins in the corpus
    source_lengths: np.ndarray
    speeds: np.ndarray
    gains: np.ndarray
    tilts: np.ndarray
    # Of each token:
    text: np.ndarray  # compact tokens
    targets: np.ndarray  # the next token, or IGNORED
    silent: np.ndarray  # true where "no speech" is the right next token
    token_words: np.ndarray  # which word of the window is the next, from 1; END's is the last and one; else 0
    # Of each frame:
    frame_phones: np.ndarray
    frame_tokens: np.ndarray  # compact tokens of words
    frame_words: np.ndarray  # which word of the window, from 1
    words: np.ndarray  # compact tokens of all windows in a row
    word_counts: list[int]

    def pinned(self) -> "Batch":
        """Arrays as tensors that a GPU can fetch while the CPU goes on."""
        return self._mapped(np.ndarray, lambda value: torch.from_numpy(value).pin_memory())

    def tensors(self) -> "Batch":
        """Arrays as tensors."""
        return self._mapped(np.ndarray, torch.from_numpy)

    def to(self, device: torch.device) -> "Batch":
        """Tensors on a device, whole numbers as long ones."""

        def moved(value: torch.Tensor) -> torch.Tensor:
            value = value.to(device, non_blocking=True)
            return value if value.is_floating_point() or value.dtype == torch.bool else value.long()

        return self._mapped(torch.Tensor, moved)

    def _mapped(self, kind: type, change) -> "Batch":
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return Batch(**{name: change(part) if isinstance(part, kind) else part for name, part in parts.items()})


class Source:
    """An endless supply of batches from a corpus."""

    def __init__(self, corpus: Shards, seed: list[int], frames_per_batch: int, long_share: float, full_share: float):
        self._corpus = corpus
        self._rng = np.random.default_rng(seed)
        self._words_rng = random.Random(repr(seed))
        self._frames_per_batch = frames_per_batch
        self._long_share = long_share
        self._full_share = full_share
        # Windows of about one length go together, so that little is padding.
        self._waiting: dict[tuple[bool, int], list[Window]] = defaultdict(list)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            self._corpus.update()
            window = self._window()
            full = self._rng.random() < self._full_share
            frames = _rounded(window.frames)
            waiting = self._waiting[full, frames]
            waiting.append(window)
            budget = self._frames_per_batch // (frames + (AUDIO_CONTEXT if full else 0))
            if len(waiting) >= min(max(budget, 1), _MOST_IN_BATCH):
                yield self._batch(waiting, frames, full)
                waiting.clear()

    def _window(self) -> Window:
        kind = self._rng.random()
        if kind < 0.05:
            return self._without_speech()
        return self._conversation() if kind < 0.05 + self._long_share else self._saying()

    def _without_speech(self) -> Window:
        longest = 3 if self._rng.random() < 0.8 else 28
        return Window(int(RATE * self._rng.uniform(0.3, longest)))

    def _saying(self) -> Window:
        """One utterance, or two."""
        count = 1 if self._rng.random() < 0.84 else 2
        return self._filled(count, lead=self._edge(), pause=(0.08, 0.9), tail=self._edge())

    def _conversation(self) -> Window:
        """Two to eight utterances with pauses between, as a call of up to 30 s has them."""
        rng = self._rng
        lead = rng.uniform(0, 10) if rng.random() < 0.2 else rng.uniform(0, 1.5)
        pauses = (0.3, 3.0) if rng.random() < 0.7 else (0.08, 0.6)
        return self._filled(int(rng.integers(2, 9)), lead, pauses, tail=rng.uniform(0, 1.5))

    def _edge(self) -> float:
        rng = self._rng
        if rng.random() < 0.13:
            return 0.01
        return rng.uniform(0, 0.4) if rng.random() < 0.8 else rng.uniform(0.4, 1.5)

    def _filled(self, count: int, lead: float, pause: tuple[float, float], tail: float) -> Window:
        window = Window(int(RATE * lead))
        words = 0
        for _ in range(count):
            clip = int(self._rng.integers(len(self._corpus)))
            speed = math.exp(self._rng.uniform(math.log(0.88), math.log(1.14))) if self._rng.random() < 0.6 else 1.0
            length = int((self._corpus.lengths[clip] - 1) / speed)
            gap = int(RATE * self._rng.uniform(*pause)) if window.utterances else 0
            words += len(self._corpus.texts[clip])
            if (window.length + gap + length) / _SAMPLES_PER_FRAME > _LONGEST - 100 or words > _MOST_WORDS:
                break
            window.utterances.append(Utterance(window.length + gap, clip, speed, length))
            window.length += gap + length
        window.length += int(RATE * tail)
        return window

    def _batch(self, windows: list[Window], frames: int, full: bool) -> Batch:
        texts = [
            [token for said in window.utterances for token in self._corpus.texts[said.clip]] for window in windows
        ]
        context = self._context(frames)
        return Batch(
            frames,
            context,
            full,
            self._corpus.size,
            np.array([window.length for window in windows], np.int32),
            *self._utterances(windows),
            *self._token_arrays(windows, texts),
            *self._frame_arrays(windows, texts, context),
            np.array([token for text in texts for token in text], np.int64),
            [len(text) for text in texts],
        )

    def _context(self, frames: int) -> int:
        """Mostly fitted to the audio, as the server fits it; of few different sizes."""
        kind = self._rng.random()
        if kind < 0.5:
            spare = _SPARE_FRAMES
        else:
            spare = 10 * int(self._rng.integers(4) if kind < 0.8 else self._rng.integers(4, 20))
        return min(frames + spare, AUDIO_CONTEXT)

    def _utterances(self, windows: list[Window]) -> tuple[np.ndarray, ...]:
        rng, corpus = self._rng, self._corpus
        shape = len(windows), max(1, *(len(window.utterances) for window in windows))
        places = np.full(shape, 1 << 30, np.int32)
        sources, lengths = np.zeros(shape, np.int64), np.zeros(shape, np.int32)
        speeds = np.ones(shape, np.float32)
        for row, window in enumerate(windows):
            for column, said in enumerate(window.utterances):
                places[row, column] = said.place
                sources[row, column] = corpus.starts[said.clip]
                lengths[row, column] = corpus.lengths[said.clip]
                speeds[row, column] = said.speed
        decibels = rng.uniform(-26, -1, (shape[0], 1)) + rng.uniform(-4, 4, shape)
        gains = (10 ** (np.clip(decibels, -30, -1) / 20)).astype(np.float32)
        tilts = np.where(rng.random(shape) < 0.35, rng.uniform(-0.4, 0.5, shape), 0).astype(np.float32)
        return places, sources, lengths, speeds, gains, tilts

    def _token_arrays(self, windows: list[Window], texts: list[list[int]]) -> tuple[np.ndarray, ...]:
        bodies = [self._tokens(window, text) for window, text in zip(windows, texts)]
        longest = max(len(sequence) for sequence, _ in bodies)
        shape = len(windows), -(-longest // _TEXT_STEP) * _TEXT_STEP
        text = np.full(shape, tokens.END, np.int16)
        targets = np.full(shape, IGNORED, np.int16)
        silent = np.zeros(shape, bool)
        words = np.zeros(shape, np.uint8)
        for row, (sequence, start) in enumerate(bodies):
            text[row, : len(sequence)] = sequence
            targets[row, start : len(sequence) - 1] = sequence[start + 1 :]
            if count := len(texts[row]):
                first = start + 1  # behind it comes the first word
                words[row, first : first + count] = np.arange(1, count + 1)
                words[row, len(sequence) - 2] = count + 1
            else:
                silent[row, start] = True
        return text, targets, silent, words

    def _tokens(self, window: Window, text: list[int]) -> tuple[list[int], int]:
        """The compact tokens of a window, and where the start token is among them."""
        said = text or [tokens.EMPTY]
        if self._rng.random() < 0.1:
            body = _with_timestamps(window, said)
        else:
            body = [tokens.NO_TIMESTAMPS, *said]
        prompt = self._prompt() if self._rng.random() < 0.05 else []
        return [*prompt, tokens.START, *body, tokens.END], len(prompt)

    def _prompt(self) -> list[int]:
        """Earlier text, sometimes of unknown words, so that a prompt is no surprise."""
        rng = self._rng
        text = [tokens.WORD[word] for word in grammar.utterance(self._words_rng).split()]
        if rng.random() < 0.3:
            if rng.random() < 0.5:
                text = [tokens.UNUSED] * int(rng.integers(1, 12))
            else:
                text = [token if rng.random() < 0.7 else tokens.UNUSED for token in text]
        if rng.random() < 0.3:
            text = [tokens.TIMESTAMP, *text, tokens.TIMESTAMP + int(rng.integers(5, 60))]
        return [tokens.PREVIOUS, *text]

    def _frame_arrays(self, windows: list[Window], texts: list[list[int]], context: int) -> tuple[np.ndarray, ...]:
        phones, words_said, words = np.zeros((3, len(windows), context), np.uint8)
        middles = (np.arange(context) + 0.5) / _FRAMES_PER_SECOND
        for row, (window, text) in enumerate(zip(windows, texts)):
            if not text:
                continue
            spans = self._spans(window)
            span = np.searchsorted(spans[:, 0], middles, "right") - 1
            spoken = (span >= 0) & (middles < spans[span, 1])
            phones[row] = np.where(spoken, spans[span, 2], 0)
            words[row] = np.where(spoken, spans[span, 3], 0)
            words_said[row] = np.array([0, *text])[words[row]]
            end = int(spans[-1, 1] * _FRAMES_PER_SECOND) + 1
            words[row, end : end + _AFTERWARDS] = len(text) + 1
        return phones, words_said, words

    def _spans(self, window: Window) -> np.ndarray:
        """Rows of (start, end, phone, word), seconds; words counted from 1 through the window."""
        parts, words = [], 0
        for said in window.utterances:
            rows = self._corpus.alignments[said.clip].copy()
            rows[:, :2] = rows[:, :2] / said.speed + said.place / RATE
            rows[:, 3] += words
            words += len(self._corpus.texts[said.clip])
            parts.append(rows)
        return np.concatenate(parts)


def render(batch: Batch, samples: torch.Tensor) -> torch.Tensor:
    """The sound of a batch (of tensors) at 16 kHz, in ±1; `samples` is the corpus."""
    count = len(batch.lengths)
    place = torch.arange(batch.frames * _SAMPLES_PER_FRAME, device=samples.device)
    owner = torch.searchsorted(batch.places, place.expand(count, -1).contiguous(), right=True) - 1
    said = owner >= 0
    owner = owner.clamp(min=0)
    at = (place - batch.places.gather(1, owner)) * batch.speeds.gather(1, owner)
    first = at.long()
    said &= first < batch.source_lengths.gather(1, owner) - 1
    first = torch.where(said, first, 0)
    source = torch.where(said, batch.sources.gather(1, owner) + first, 0)
    between = at - first
    sound = samples[source] * (1 - between) + samples[source + 1] * between
    sound = torch.where(said, sound * batch.gains.gather(1, owner), 0.0)
    tilted = sound - batch.tilts.gather(1, owner) * torch.nn.functional.pad(sound, (1, 0))[:, :-1]
    return telephone.deliver(torch.where(said, tilted, 0.0), batch.lengths)


def _rounded(frames: int) -> int:
    """Few different sizes, for the sake of those who plan by size."""
    step = 10 if frames <= 300 else 50 if frames <= 600 else 100
    return min(-(-frames // step) * step, AUDIO_CONTEXT)


def _with_timestamps(window: Window, text: list[int]) -> list[int]:
    if not window.utterances:
        return [tokens.TIMESTAMP, *text]
    # Whisper's first timestamp is at most 1 s.
    start = min(int(window.utterances[0].place * 10 / RATE), 10)
    last = window.utterances[-1]
    end = min(max(math.ceil((last.place + last.length) * 10 / RATE), start + 1), tokens.TIMESTAMPS - 1)
    return [tokens.TIMESTAMP + start, *text, tokens.TIMESTAMP + end]
