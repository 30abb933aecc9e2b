"""A set of recordings as one file: speech at 8 kHz, trimmed and levelled, with texts and alignments."""

import math
import multiprocessing
import time
from dataclasses import dataclass
from itertools import chain
from math import gcd
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly

from . import align, synth, tokens

RATE = 8000
_PEAK = 20_000  # of 32767
_STEP = RATE // 100  # trimming looks at 10 ms at a time
_LOOK_EVERY = 5  # seconds
_SPEECH = 400  # a step whose peak exceeds this, at _PEAK, belongs to the speech


@dataclass
class Corpus:
    """Clips, joined; clip i is samples[starts[i]:starts[i + 1]], and likewise its alignment."""

    samples: np.ndarray
    starts: np.ndarray
    texts: list[str]
    voices: list[str]
    alignments: np.ndarray
    alignment_starts: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def clip(self, number: int) -> np.ndarray:
        """Samples of a clip as 16-bit values."""
        return self.samples[self.starts[number] : self.starts[number + 1]].astype(np.float32)

    def alignment(self, number: int) -> np.ndarray:
        """Rows of (start, end, phone, word), see `align.rows`; times in seconds from the start of the clip."""
        return self.alignments[self.alignment_starts[number] : self.alignment_starts[number + 1]]

    def save(self, path: Path) -> None:
        """Writes the corpus; whoever waits for the file finds it whole."""
        unfinished = path.with_suffix(".part")
        with open(unfinished, "wb") as file:
            np.savez(file, **vars(self))
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Corpus":
        """Reads what `save` wrote."""
        with np.load(path) as stored:
            parts = {name: stored[name] for name in stored.files}
        parts["texts"], parts["voices"] = parts["texts"].tolist(), parts["voices"].tolist()
        return cls(**parts)


class Shards:
    """What is said in a corpus, without the sound: one file, or a folder of 0000.npz, 0001.npz... that may grow."""

    def __init__(self, path: Path):
        self._path = path
        self._next = 0
        self._looked = -math.inf
        self.texts: list[list[int]] = []  # compact tokens
        self.alignments: list[np.ndarray] = []
        self.starts: list[int] = []  # of the clips in all samples joined
        self.lengths: list[int] = []
        self.size = 0  # samples
        self.update()
        if not self.texts:
            raise ValueError(f"no corpus at {path}")

    def __len__(self) -> int:
        return len(self.texts)

    def update(self) -> None:
        """Takes in what was recorded meanwhile."""
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        while (path := shard(self._path, self._next)) and path.exists():
            self._take(path)
            self._next += 1

    def _take(self, path: Path) -> None:
        with np.load(path) as stored:
            starts, joined, joints = stored["starts"], stored["alignments"], stored["alignment_starts"]
            texts = stored["texts"].tolist()
        self.texts += [[tokens.WORD[word] for word in text.split()] for text in texts]
        self.alignments += np.split(joined, joints[1:-1])
        self.starts += (starts[:-1] + self.size).tolist()
        self.lengths += np.diff(starts).tolist()
        self.size += int(starts[-1])


class Sound:
    """The samples of all shards on a device, in the order of `Shards`."""

    def __init__(self, path: Path, device: torch.device):
        self._path = path
        self._next = 0
        self._size = 0
        self._samples = torch.zeros(0, dtype=torch.int16, device=device)

    def upto(self, size: int) -> torch.Tensor:
        """At least so many samples."""
        while self._size < size:
            with np.load(shard(self._path, self._next)) as stored:
                self._append(torch.from_numpy(stored["samples"]))
            self._next += 1
        return self._samples

    def _append(self, samples: torch.Tensor) -> None:
        size = self._size + len(samples)
        if size > len(self._samples):
            # Twice what is needed, or each shard would copy all those before it.
            grown = self._samples.new_zeros(size if self._next == 0 else 2 * size)
            grown[: self._size] = self._samples[: self._size]
            self._samples = grown
        self._samples[self._size : size] = samples.to(self._samples.device)
        self._size = size


def shard(path: Path, number: int) -> Path | None:
    """The file of a shard; a corpus that is a file has one."""
    if path.is_dir():
        return path / f"{number:04d}.npz"
    return path if number == 0 else None


def record(counts: synth.Counts, seed: int, workers: int, unknown_voices: bool = False) -> Corpus:
    """Has a set spoken. Recordings that came out empty are left out."""
    groups = synth.plan(counts, seed, unknown_voices)
    # One process for each worker: the library of espeak-ng speaks one sentence at a time.
    with multiprocessing.Pool(workers) as pool:
        recorded = list(chain.from_iterable(pool.imap(_record, groups)))
    kept = [(clip, *made) for clip, made in zip(chain.from_iterable(groups), recorded) if made]
    if not kept:
        raise RuntimeError("no usable recording")
    clips, samples, alignments = zip(*kept)
    return Corpus(
        np.concatenate(samples),
        _starts(samples),
        [clip.text for clip in clips],
        [f"{clip.engine}:{clip.voice}" for clip in clips],
        np.concatenate(alignments),
        _starts(alignments),
    )


def _record(clips: list[synth.Clip]) -> list[tuple[np.ndarray, np.ndarray] | None]:
    return [_prepared(clip, recording) for clip, recording in zip(clips, synth.speak(clips))]


def _prepared(clip: synth.Clip, recording: synth.Recording) -> tuple[np.ndarray, np.ndarray] | None:
    """Samples and alignment of a recording, trimmed and levelled."""
    rows = align.rows(recording.words)
    peak = np.abs(recording.samples.astype(np.float32)).max(initial=0)
    if len(recording.words) != len(clip.text.split()) or not len(rows) or peak < 200:
        return None
    samples = recording.samples * (_PEAK / peak)
    if recording.rate != RATE:
        common = gcd(recording.rate, RATE)
        samples = resample_poly(samples, RATE // common, recording.rate // common)
    steps = np.abs(samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)).max(axis=1)
    speech = np.flatnonzero(steps > _SPEECH)
    begin, end = max(0, speech[0] - 1) * _STEP, (speech[-1] + 2) * _STEP
    samples = np.clip(samples[begin:end], -32767, 32767).astype(np.int16)
    rows[:, :2] = np.clip(rows[:, :2] - begin / RATE, 0, len(samples) / RATE)
    return samples, rows


def _starts(parts) -> np.ndarray:
    return np.cumsum([0, *(len(part) for part in parts)])
