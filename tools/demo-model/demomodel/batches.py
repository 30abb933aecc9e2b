"""Training examples: clips as a telephone would deliver them, with what the model should make of them."""

import math
import random
from dataclasses import dataclass, field

import numpy as np
import torch

from . import grammar, telephone, tokens
from .corpus import RATE, Corpus
from .features import SAMPLES_PER_FRAME
from .model import AUDIO_CONTEXT

IGNORED = -100  # as a target: no loss
_FRAMES_PER_SECOND = 50
_POOL = 160  # examples drawn at once, so that a batch can be of similar lengths
_SHORTEST_CONTEXT = 20


@dataclass
class Example:
    """One piece of audio."""

    audio: np.ndarray  # 16 kHz, in ±1
    words: list[str] = field(default_factory=list)
    start: float = 0.0  # of the speech, seconds
    end: float = 0.0
    spans: list = field(default_factory=list)  # (start, end, phone, word), seconds

    @property
    def frames(self) -> int:
        """Encoder frames that hold the audio."""
        return math.ceil(len(self.audio) / SAMPLES_PER_FRAME)


@dataclass
class Batch:
    """Tensors of a training step; the first index is the example."""

    audio: torch.Tensor
    context: int  # encoder frames
    text: torch.Tensor  # compact tokens
    targets: torch.Tensor  # the next token, or IGNORED
    silent: torch.Tensor  # true where "no speech" is the right next token
    words: torch.Tensor  # of all examples in a row
    word_counts: torch.Tensor
    frame_phones: torch.Tensor
    frame_words: torch.Tensor


class Source:
    """An endless supply of batches from a corpus."""

    def __init__(self, corpus: Corpus, seed: int, frames_per_batch: int, long_share: float):
        self._corpus = corpus
        self._rng = np.random.default_rng(seed)
        self._words_rng = random.Random(seed)
        self._frames_per_batch = frames_per_batch
        self._long_share = long_share

    def __iter__(self):
        while True:
            yield from self._pool()

    def _pool(self):
        rng = self._rng
        batches = _grouped([self._example() for _ in range(_POOL)], self._frames_per_batch)
        rng.shuffle(batches)
        for examples in batches:
            # Mostly the context is fitted to the audio, as the server fits it.
            spare = rng.integers(25) if rng.random() < 0.75 else rng.integers(25, 150)
            yield self._batch(examples, max(example.frames for example in examples) + int(spare))
        # Now and then a long one, up to Whisper's whole 30 s.
        if rng.random() < self._long_share:
            examples = [self._example(long=True) for _ in range(4)]
            longest = max(example.frames for example in examples)
            yield self._batch(examples, AUDIO_CONTEXT if rng.random() < 0.6 else longest + int(rng.integers(300)))

    def _example(self, long: bool = False) -> Example:
        if self._rng.random() < 0.05:
            return Example(self._delivered(self._no_speech()))
        return self._speech(long)

    def _no_speech(self) -> np.ndarray:
        rng = self._rng
        length = int(RATE * rng.uniform(0.3, 3))
        samples = np.zeros(length)
        if rng.random() < 0.85:
            samples = telephone.noise(rng, length) * 10 ** rng.uniform(-4, 2.9) / 3
        if rng.random() < 0.3:
            for _ in range(rng.integers(1, 5)):
                at = rng.integers(length)
                samples[at : at + rng.integers(5, 80)] += rng.uniform(-6000, 6000)
        return samples

    def _speech(self, long: bool) -> Example:
        rng = self._rng
        lead = self._lead(long)
        parts, words, spans = [np.zeros(int(RATE * lead))], [], []
        for number in range(self._utterances(long)):
            samples, said, alignment = self._utterance()
            if number and len(words) + len(said) > (40 if long else 20):
                break
            if number:
                parts.append(np.zeros(int(RATE * rng.uniform(0.08, 0.9))))
            offset, length = sum(map(len, parts)) / RATE, len(samples) / RATE
            spans += [(offset + a * length, offset + b * length, int(p), int(w)) for a, b, p, w in alignment]
            parts.append(samples)
            words += said
        end = sum(map(len, parts)) / RATE
        parts.append(np.zeros(int(RATE * self._tail())))
        samples = np.concatenate(parts)
        if rng.random() < 0.55:
            samples = self._with_noise(samples)
        return Example(self._delivered(samples), words, lead, end, spans)

    def _utterances(self, long: bool) -> int:
        if long:
            return int(self._rng.integers(1, 5))
        return 1 if self._rng.random() < 0.84 else 2

    def _lead(self, long: bool) -> float:
        rng = self._rng
        if long and rng.random() < 0.5:
            return rng.uniform(0, 10)
        if rng.random() < 0.15:
            return 0.0
        return rng.uniform(0, 0.4) if rng.random() < 0.85 else rng.uniform(0.4, 1.5)

    def _tail(self) -> float:
        rng = self._rng
        if rng.random() < 0.12:
            return 0.02
        return rng.uniform(0, 0.4) if rng.random() < 0.8 else rng.uniform(0.4, 1.2)

    def _utterance(self):
        rng = self._rng
        number = int(rng.integers(len(self._corpus)))
        samples = self._corpus.clip(number)
        if rng.random() < 0.6:
            samples = telephone.speed(rng, samples)
        if rng.random() < 0.35:
            samples = telephone.tilt(rng, samples)
        level = 10 ** (rng.uniform(-26, -1) / 20) * 32767 / (np.abs(samples).max() + 1)
        return samples * level, self._corpus.texts[number].split(), self._corpus.alignment(number)

    def _with_noise(self, samples: np.ndarray) -> np.ndarray:
        rng = self._rng
        noise = telephone.noise(rng, len(samples))
        speech_level = np.sqrt(np.mean(samples[samples != 0] ** 2) + 1)
        noise_level = np.sqrt(np.mean(noise**2)) + 1e-6
        return samples + noise * (speech_level / noise_level * 10 ** (-rng.uniform(10, 45) / 20))

    def _delivered(self, samples: np.ndarray) -> np.ndarray:
        """Through the telephone network, to 16 kHz."""
        rng = self._rng
        if rng.random() < 0.5:
            samples = telephone.band_pass(rng, samples)
        samples = np.clip(samples, -32767, 32767)
        codec = rng.choice([telephone.mu_law, telephone.a_law, np.round], p=[0.55, 0.25, 0.2])
        samples = codec(samples)
        if rng.random() < 0.1:
            samples = telephone.lose_packets(rng, samples)
        return telephone.to_16_khz(samples, linear=rng.random() < 1 / 3)

    def _tokens(self, example: Example) -> tuple[list[int], int]:
        """The compact tokens of an example, and where the start token is among them."""
        rng = self._rng
        text = [tokens.WORD[word] for word in example.words] or [tokens.EMPTY]
        if rng.random() < 0.45:
            body = _with_timestamps(text, example)
        else:
            body = [tokens.NO_TIMESTAMPS, *text]
        prompt = self._prompt() if rng.random() < 0.15 else []
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

    def _batch(self, examples: list[Example], context: int) -> Batch:
        context = min(max(context, _SHORTEST_CONTEXT), AUDIO_CONTEXT)
        count = len(examples)
        longest = min(max(len(example.audio) for example in examples), context * SAMPLES_PER_FRAME)
        sequences = [self._tokens(example) for example in examples]
        length = max(len(sequence) for sequence, _ in sequences)
        audio = np.zeros((count, longest), np.float32)
        text = np.full((count, length), tokens.END, np.int64)
        targets = np.full((count, length), IGNORED, np.int64)
        silent = np.zeros((count, length), bool)
        frames = np.zeros((2, count, context), np.int64)
        for row, (example, (sequence, start)) in enumerate(zip(examples, sequences)):
            samples = example.audio[:longest]
            audio[row, : len(samples)] = samples
            text[row, : len(sequence)] = sequence
            targets[row, start : len(sequence) - 1] = sequence[start + 1 :]
            silent[row, start] = not example.words
            for begin, end, phone, word in example.spans:
                first = round(begin * _FRAMES_PER_SECOND)
                last = max(first + 1, round(end * _FRAMES_PER_SECOND))
                frames[:, row, first:last] = [[phone], [word]]
        words = [tokens.WORD[word] for example in examples for word in example.words]
        counts = [len(example.words) for example in examples]
        arrays = (audio, context, text, targets, silent, np.array(words, np.int64), np.array(counts), *frames)
        return Batch(*(part if isinstance(part, int) else torch.from_numpy(part) for part in arrays))


def _with_timestamps(text: list[int], example: Example) -> list[int]:
    # Whisper's first timestamp is at most 1 s.
    start = min(int(example.start * 10), 10) if example.words else 0
    if not example.words:
        return [tokens.TIMESTAMP + start, *text]
    end = min(max(math.ceil(example.end * 10), start + 1), tokens.TIMESTAMPS - 1)
    return [tokens.TIMESTAMP + start, *text, tokens.TIMESTAMP + end]


def _grouped(examples: list[Example], frames_per_batch: int) -> list[list[Example]]:
    """Batches of similar length, of about so many frames with padding."""
    groups: list[list[Example]] = [[]]
    for example in sorted(examples, key=lambda example: example.frames):
        if groups[-1] and example.frames * (len(groups[-1]) + 1) > frames_per_batch:
            groups.append([])
        groups[-1].append(example)
    return groups
