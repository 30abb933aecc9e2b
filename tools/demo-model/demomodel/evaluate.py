"""Word error rates of a model file, on recordings that it was not trained on.

Decoding is greedy and without timestamps, under whisper.cpp's rules: text may
not begin with end-of-text, and only words may follow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import telephone, tokens
from .corpus import RATE, Corpus
from .export import load
from .features import SAMPLES_PER_FRAME, log_mel
from .model import AUDIO_CONTEXT, Whisper
from .synth import UNKNOWN_ESPEAK_VOICES

_MOST_TOKENS = 100
_SPARE_FRAMES = 10  # of context beyond the audio, as the server gives


@dataclass
class Score:
    """What became of a set of clips."""

    clips: int = 0
    right: int = 0
    words: int = 0
    errors: int = 0

    def add(self, said: str, heard: str) -> None:
        """Counts one clip."""
        errors = distance(said.split(), heard.split())
        self.clips += 1
        self.right += errors == 0
        self.words += len(said.split())
        self.errors += errors

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.clips + other.clips, self.right + other.right, self.words + other.words, self.errors + other.errors
        )

    def __str__(self) -> str:
        if not self.words:
            return f"{self.clips - self.right} of {self.clips} clips gave text"
        wrong, right = 100 * self.errors / self.words, 100 * self.right / self.clips
        return f"word error rate {wrong:.1f} %, sentences right {right:.0f} %, n = {self.clips}"


def evaluate(model_path: Path, known: Path, unknown: Path, clips: int) -> dict[str, Score]:
    """Scores by name of set, over at most `clips` clips of each; then how far the whole context gives other words."""
    model = load(model_path)
    voices, others = Corpus.load(known), Corpus.load(unknown)
    scores = {}
    for name, corpus in {"trained voices": voices, "other voices": others}.items():
        by_voice = _by_voice(model, corpus, clips)
        scores[name] = sum(by_voice.values(), Score())
        print(f"{name}: {scores[name]}", flush=True)
        for voice, score in sorted(by_voice.items()):
            print(f"    {voice}: {score}", flush=True)
    sets = {
        "3 % of packets lost": _speech(voices, clips, _lossy),
        "noise, 15 dB below": _speech(voices, clips, _noisy),
        "several in a window": _conversations(voices, clips),
        "silence and noise": _silence(min(clips, 100)),
    }
    for name, examples in sets.items():
        scores[name] = Score()
        for said, audio in examples:
            scores[name].add(said, transcribe(model, audio))
        print(f"{name}: {scores[name]}", flush=True)
    for name, examples in {
        "trained voices": _speech(voices, clips),
        "several in a window": _conversations(voices, clips),
    }.items():
        name += ", 30 s of context against fitted"
        scores[name] = Score()
        for _, audio in examples:
            scores[name].add(transcribe(model, audio), transcribe(model, audio, AUDIO_CONTEXT))
        print(f"{name}: {scores[name]}", flush=True)
    return scores


@torch.no_grad()
def transcribe(model: Whisper, audio: np.ndarray, context: int | None = None) -> str:
    """The words of some 16 kHz audio; the context is fitted to it unless given."""
    frames = context or min(-(-len(audio) // SAMPLES_PER_FRAME) + _SPARE_FRAMES, AUDIO_CONTEXT)
    encoded, _ = model.encoder(log_mel(torch.from_numpy(audio)[None], frames))
    text = [tokens.START, tokens.NO_TIMESTAMPS]
    for position in range(_MOST_TOKENS):
        logits = model.decoder(torch.tensor([text]), encoded)[0][0, -1]
        logits[tokens.END + 1 :] = -torch.inf
        if position == 0:
            logits[tokens.END] = -torch.inf
        drawn = int(logits.argmax())
        if drawn == tokens.END:
            break
        text.append(drawn)
    return tokens.text_of(text)


def distance(said: list[str], heard: list[str]) -> int:
    """Fewest words to change, leave out or put in."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, start=1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(heard, start=1):
            diagonal, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other))
    return row[-1]


def _by_voice(model: Whisper, corpus: Corpus, clips: int) -> dict[str, Score]:
    """Scores by voice; espeak-ng's many variants of a trained accent count as one."""
    scores: dict[str, Score] = {}
    for voice, (said, audio) in zip(corpus.voices, _speech(corpus, clips)):
        known = voice.removeprefix("espeak:") not in UNKNOWN_ESPEAK_VOICES
        score = scores.setdefault(voice.partition("+")[0] if known else voice, Score())
        score.add(said, transcribe(model, audio))
    return scores


def _speech(corpus: Corpus, clips: int, harm=None) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(9)
    for number in range(min(clips, len(corpus))):
        samples = np.concatenate([np.zeros(RATE // 5), corpus.clip(number) * 0.3, np.zeros(RATE * 3 // 10)])
        if harm:
            samples = harm(rng, samples)
        yield corpus.texts[number], _delivered(samples)


def _conversations(corpus: Corpus, clips: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each clip once, two to eight in a window with pauses between, up to 28 s."""
    rng = np.random.default_rng(9)
    waiting = list(range(min(clips, len(corpus))))
    while waiting:
        texts, parts = [], [np.zeros(RATE // 5)]
        for _ in range(rng.integers(2, 9)):
            length = sum(map(len, parts))
            if not waiting or length + len(corpus.clip(waiting[-1])) > 25 * RATE:
                break
            number = waiting.pop()
            texts.append(corpus.texts[number])
            parts += [corpus.clip(number) * 0.3, np.zeros(int(RATE * rng.uniform(0.3, 3)))]
        yield " ".join(texts), _delivered(np.concatenate(parts))


def _silence(clips: int) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(9)
    for number in range(clips):
        samples = np.zeros(int(RATE * rng.uniform(0.4, 4)))
        if number % 5:
            samples = rng.standard_normal(len(samples)) * 10 ** rng.uniform(-1, 3.2)
        yield "", _delivered(samples)


def _lossy(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    packet = RATE // 50
    samples = samples.copy()
    for start in range(packet, len(samples) - packet, packet):
        if rng.random() < 0.03:
            samples[start : start + packet] = 0
    return samples


def _noisy(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    level = np.sqrt(np.mean(samples**2)) * 10 ** (-15 / 20)
    return samples + level * rng.standard_normal(len(samples))


def _delivered(samples: np.ndarray) -> np.ndarray:
    samples = torch.from_numpy(np.clip(samples, -32767, 32767).astype(np.float32))[None]
    return telephone.to_16_khz(telephone.mu_law(samples))[0].numpy()
