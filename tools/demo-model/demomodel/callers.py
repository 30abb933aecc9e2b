"""python3 -m demomodel.callers FOLDER: callers for `make accuracy`, each of one voice, as sounds for Asterisk to play.

For every voice N it writes N.wav (8 kHz) and N.wav16 (16 kHz), the same sentences
with pauses between, and all that is said to voices.json. Nothing of it was trained
on: some voices never, the others not with this seed. Needs numpy and scipy only.
"""

import argparse
import json
import random
import wave
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from . import grammar, synth

# Of each accent, each other engine and each voice in it one.
SEEN = (
    ("espeak", "en-us"),
    ("espeak", "en-gb+f2"),
    ("espeak", "en-gb-x-rp+Andy"),
    ("espeak", "en-us-nyc+m3"),
    ("espeak", "en-gb-scotland"),
    ("espeak", "en-029+f5"),
    ("espeak", "en-gb-x-gbclan+m7"),
    *(("flite", voice) for voice in synth.FLITE_VOICES),
    *(("festival", voice) for voice in synth.FESTIVAL_VOICES),
)
UNSEEN = (
    *(("espeak", voice) for voice in synth.UNKNOWN_ESPEAK_VOICES),
    *(("flite", voice) for voice in synth.UNKNOWN_FLITE_VOICES),
)

_RATES = {"wav": 8000, "wav16": 16_000}
_PEAK = 16_384  # -6 dB
_SPEECH = 0.02  # of the peak; what is louder belongs to the speech
_PAUSE = 1.5  # seconds; the server ends an utterance after less
_SEED = 20_260  # of no training


def main() -> None:
    """Speaks for all voices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=16, help="of each voice, default 16")
    parser.add_argument("--voices", type=int, help="only so many seen and so many unseen ones")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    voices = [(*voice, True) for voice in SEEN[: arguments.voices]]
    voices += [(*voice, False) for voice in UNSEEN[: arguments.voices]]
    spoken = []
    for number, (engine, voice, seen) in enumerate(voices):
        sentences = _sentences(number, arguments.sentences)
        _write(arguments.folder / str(number), _recordings(engine, voice, sentences))
        spoken.append({"voice": f"{engine} {voice}", "seen": seen, "sentences": sentences})
    (arguments.folder / "voices.json").write_text(json.dumps(spoken, indent=1) + "\n")


def _sentences(number: int, count: int) -> list[str]:
    rng = random.Random(_SEED + number)
    return [grammar.utterance(rng) for _ in range(count)]


def _recordings(engine: str, voice: str, sentences: list[str]) -> list[synth.Recording]:
    speed = 150 if engine == "espeak" else 1.0
    return synth.speak([synth.Clip(text, engine, voice, text, speed, None) for text in sentences])


def _write(path: Path, recordings: list[synth.Recording]) -> None:
    trimmed = [_trimmed(recording) for recording in recordings]
    for suffix, rate in _RATES.items():
        pause = np.zeros(int(_PAUSE * rate))
        parts = [part for samples, own in trimmed for part in (_resampled(samples, own, rate), pause)]
        samples = np.clip(np.concatenate([pause, *parts]), -32767, 32767).astype("<i2")
        with wave.open(f"{path}.{suffix}", "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())


def _trimmed(recording: synth.Recording) -> tuple[np.ndarray, int]:
    loudness = np.abs(recording.samples.astype(np.float64))
    if not loudness.any():
        raise RuntimeError("a recording is silent")
    speech = np.flatnonzero(loudness > _SPEECH * loudness.max())
    samples = recording.samples[speech[0] : speech[-1] + 1] * (_PEAK / loudness.max())
    return samples, recording.rate


def _resampled(samples: np.ndarray, own: int, rate: int) -> np.ndarray:
    common = gcd(own, rate)
    return resample_poly(samples, rate // common, own // common)


if __name__ == "__main__":
    main()
