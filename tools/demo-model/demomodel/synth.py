"""Has the synthetic voices speak."""

import random
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import align, espeak, grammar

# Those that are hard to learn come as often as the common ones.
ACCENTS = (
    "en-us en-us en-us en-gb en-gb en-gb-x-rp en-us-nyc en-gb-scotland en-gb-scotland en-029 en-029 "
    "en-gb-x-gbclan en-gb-x-gbclan"
).split()
VARIANTS = (
    "m1 m2 m3 m4 m6 m7 m8 f1 f2 f3 f5 klatt klatt2 klatt4 Alex Alicia Andrea Andy Annie adam belinda benjamin boris "
    "david Denis ed edward Gene Gene2 Henrique Hugo john Lee marcelo Marco Mario max Michael michel Mike pablo paul "
    "pedro rob robert steph steph2 victor zac anika norbert sandro shelby travis quincy"
).split()
FLITE_VOICES = ("kal16", "awb", "slt")
FESTIVAL_VOICES = ("ked_diphone", "kal_diphone", "cmu_us_slt_arctic_hts")
# Never trained on.
UNKNOWN_ESPEAK_VOICES = ("en-us+m5", "en-us+f4", "en-gb+linda", "en-us+caleb")
UNKNOWN_FLITE_VOICES = ("rms",)

_TOGETHER = 50  # clips; starting festival costs more than a sentence


@dataclass(frozen=True)
class Counts:
    """Clips of a set: of espeak-ng in all, of each flite voice, of each festival voice."""

    espeak: int
    flite: int
    festival: int


@dataclass(frozen=True)
class Clip:
    """A recording to be made."""

    text: str
    engine: str
    voice: str
    prompt: str  # the text as the engine gets it
    speed: float  # espeak-ng: words per minute; others: stretch of durations
    pitch: int | None


@dataclass(frozen=True)
class Recording:
    """What an engine made of a clip."""

    samples: np.ndarray  # 16 bits
    rate: int
    words: list[list[align.Phone]]


def plan(counts: Counts, seed: int, unknown_voices: bool = False) -> list[list[Clip]]:
    """Draws texts, voices and their settings; in groups to be spoken together, each of one voice or engine."""
    rng = random.Random(seed)
    groups: list[list[Clip]] = []

    def add(clips: list[Clip]) -> None:
        groups.extend(clips[start : start + _TOGETHER] for start in range(0, len(clips), _TOGETHER))

    add([_espeak_clip(rng, unknown_voices) for _ in range(counts.espeak)])
    for voice in UNKNOWN_FLITE_VOICES if unknown_voices else FLITE_VOICES:
        add([_flite_clip(rng, voice) for _ in range(counts.flite)])
    for voice in () if unknown_voices else FESTIVAL_VOICES:
        add([_clip(rng, "festival", voice, round(rng.uniform(0.8, 1.25), 2), None) for _ in range(counts.festival)])
    return groups


def speak(clips: list[Clip]) -> list[Recording]:
    """Has a group spoken. Fails if the engine does."""
    with tempfile.TemporaryDirectory() as folder:
        return list(_SPEAK[clips[0].engine](clips, Path(folder)))


def _espeak_clip(rng: random.Random, unknown: bool) -> Clip:
    variant = rng.choice(["", *("+" + name for name in VARIANTS)])
    voice = rng.choice(UNKNOWN_ESPEAK_VOICES) if unknown else rng.choice(ACCENTS) + variant
    return _clip(rng, "espeak", voice, rng.randint(120, 200), rng.randint(25, 75))


def _flite_clip(rng: random.Random, voice: str) -> Clip:
    # The other voices are cut from recordings, which have their own melody.
    pitch = rng.randint(80, 160) if voice == "kal16" and rng.random() < 0.6 else None
    return _clip(rng, "flite", voice, round(rng.uniform(0.8, 1.3), 2), pitch)


def _clip(rng: random.Random, engine: str, voice: str, speed: float, pitch: int | None) -> Clip:
    text = grammar.utterance(rng)
    return Clip(text, engine, voice, _punctuated(text, rng), speed, pitch)


def _punctuated(text: str, rng: random.Random) -> str:
    """Varies the melody, never the words."""
    words = text.split()
    if len(words) > 3 and rng.random() < 0.3:
        words[rng.randint(0, len(words) - 2)] += ","
    return " ".join(words) + rng.choice(["", "", ".", "?"])


def _speak_espeak(clips: list[Clip], _folder: Path) -> Iterator[Recording]:
    for clip in clips:
        samples, rate, spans = espeak.speak(clip.prompt, clip.voice, int(clip.speed), clip.pitch or 50)
        yield Recording(samples, rate, align.from_words(clip.text, spans))


def _speak_flite(clips: list[Clip], folder: Path) -> Iterator[Recording]:
    path = folder / "clip.wav"
    for clip in clips:
        command = ["flite", "-psdur", "-voice", clip.voice, "-t", clip.prompt, "-o", str(path)]
        command += ["--setf", f"duration_stretch={clip.speed}"]
        if clip.pitch:
            command += ["--setf", f"int_f0_target_mean={clip.pitch}"]
        phones = align.parse(_run(command))
        yield Recording(*_read(path), align.from_phones(clip.text, phones))


# Prints a line for each word, and below it one for each of its phones.
_FESTIVAL_SAY = """
(define (phone p) (format t "%s %f %f\\n" (item.name p) (item.feat p "segment_start") (item.feat p "end")))
(define (syllable s) (mapcar phone (item.daughters s)))
(define (word w) (format t "%s\\n" (item.name w)) (mapcar syllable (item.daughters (item.relation w 'SylStructure))))
(define (say text path)
  (let ((utt (utt.synth (eval (list 'Utterance 'Text text)))))
    (utt.save.wave utt path 'riff)
    (mapcar word (utt.relation.items utt 'Word))
    (format t "end\\n")))
"""


def _speak_festival(clips: list[Clip], folder: Path) -> Iterator[Recording]:
    lines = [_FESTIVAL_SAY, f"(voice_{clips[0].voice})"]
    for number, clip in enumerate(clips):
        if "hts" not in clip.voice:
            lines.append(f"(Parameter.set 'Duration_Stretch {clip.speed})")
        lines.append(f'(say "{clip.prompt}" "{folder}/{number}.wav")')
    script = folder / "say.scm"
    script.write_text("\n".join(lines))
    told = _run(["festival", "-b", str(script)]).split("end\n")
    for number, words in enumerate(told[: len(clips)]):
        yield Recording(*_read(folder / f"{number}.wav"), _festival_words(words))


def _festival_words(told: str) -> list[list[align.Phone]]:
    words: list[list[align.Phone]] = []
    for name, *times in map(str.split, told.splitlines()):
        if times:
            words[-1].append((name, float(times[0]), float(times[1])))
        else:
            words.append([])
    return words


def _read(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as recording:
        return np.frombuffer(recording.readframes(recording.getnframes()), "<i2"), recording.getframerate()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


_SPEAK = {"espeak": _speak_espeak, "flite": _speak_flite, "festival": _speak_festival}
