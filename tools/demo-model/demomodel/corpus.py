"""A set of recordings as one file: speech at 8 kHz, trimmed and levelled, with texts and alignments."""

import json
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from .align import align

RATE = 8000
_PEAK = 20_000  # of 32767
_STEP = RATE // 100  # trimming looks at 10 ms at a time
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
        """Rows of (start, end, phone, word), see `align`."""
        return self.alignments[self.alignment_starts[number] : self.alignment_starts[number + 1]]

    def save(self, path: Path) -> None:
        """Writes the corpus."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Corpus":
        """Reads what `save` wrote."""
        with np.load(path) as stored:
            parts = {name: stored[name] for name in stored.files}
        parts["texts"], parts["voices"] = parts["texts"].tolist(), parts["voices"].tolist()
        return cls(**parts)


def build(folder: Path, workers: int) -> Corpus:
    """Reads the recordings of a set. An engine sometimes writes an empty file; those clips are left out."""
    clips = json.loads((folder / "clips.json").read_text())
    with ThreadPoolExecutor(workers) as pool:
        recordings = list(pool.map(lambda clip: _read(clip["path"]), clips))
        kept = [(clip, samples) for clip, samples in zip(clips, recordings) if samples is not None]
        alignments = list(pool.map(lambda pair: align(pair[0]["text"], pair[0]["engine"], pair[0]["voice"]), kept))
    if not kept:
        raise RuntimeError(f"no usable recording in {folder}")
    return Corpus(
        np.concatenate([samples for _, samples in kept]),
        _starts(samples for _, samples in kept),
        [clip["text"] for clip, _ in kept],
        [f"{clip['engine']}:{clip['voice']}" for clip, _ in kept],
        np.concatenate(alignments),
        _starts(alignments),
    )


def _read(path: str) -> np.ndarray | None:
    with wave.open(path) as recording:
        rate = recording.getframerate()
        samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2").astype(np.float32)
    if len(samples) < rate // 10:
        return None
    if rate != RATE:
        common = gcd(rate, RATE)
        samples = resample_poly(samples, RATE // common, rate // common)
    peak = np.abs(samples).max()
    if peak < 200:
        return None
    samples = samples * (_PEAK / peak)
    steps = np.abs(samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)).max(axis=1)
    speech = np.flatnonzero(steps > _SPEECH)
    begin, end = max(0, speech[0] - 1) * _STEP, (speech[-1] + 2) * _STEP
    return np.clip(samples[begin:end], -32767, 32767).astype(np.int16)


def _starts(parts) -> np.ndarray:
    return np.cumsum([0, *(len(part) for part in parts)])
