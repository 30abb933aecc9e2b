"""Has the synthetic voices speak: sets of WAV files with their texts."""

import json
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from . import grammar

ACCENTS = "en-us en-us en-us en-gb en-gb en-gb-x-rp en-gb-scotland en-029 en-us-nyc en-gb-x-gbclan".split()
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

_FESTIVAL_BATCH = 100  # starting festival costs more than a sentence


@dataclass(frozen=True)
class Counts:
    """Clips of a set: of espeak-ng in all, of each flite voice, of each festival voice."""

    espeak: int
    flite: int
    festival: int


@dataclass(frozen=True)
class Clip:
    """A recording to be made."""

    path: str
    text: str
    engine: str
    voice: str
    prompt: str  # the text as the engine gets it
    speed: float  # espeak-ng: words per minute; others: stretch of durations
    pitch: int | None


def record(folder: Path, counts: Counts, seed: int, workers: int, unknown_voices: bool = False) -> None:
    """Makes a set of recordings in `folder`, with `clips.json` telling what was said. Fails if an engine does."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = plan(folder, counts, random.Random(seed), unknown_voices)
    festival = [clip for clip in clips if clip.engine == "festival"]
    others = [clip for clip in clips if clip.engine != "festival"]
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_SPEAK[clip.engine], clip) for clip in others]
        jobs += [pool.submit(_speak_festival, batch) for batch in _batches(festival)]
        for job in jobs:
            job.result()
    (folder / "clips.json").write_text(json.dumps([asdict(clip) for clip in clips]))


def plan(folder: Path, counts: Counts, rng: random.Random, unknown_voices: bool) -> list[Clip]:
    """Draws texts, voices and their settings."""
    clips: list[Clip] = []

    def add(engine: str, voice: str, speed: float, pitch: int | None) -> None:
        text = grammar.utterance(rng)
        path = folder / f"{len(clips):06d}.wav"
        clips.append(Clip(str(path), text, engine, voice, _punctuated(text, rng), speed, pitch))

    for _ in range(counts.espeak):
        variant = rng.choice(["", *("+" + name for name in VARIANTS)])
        voice = rng.choice(UNKNOWN_ESPEAK_VOICES) if unknown_voices else rng.choice(ACCENTS) + variant
        add("espeak", voice, rng.randint(120, 200), rng.randint(25, 75))
    for voice in UNKNOWN_FLITE_VOICES if unknown_voices else FLITE_VOICES:
        for _ in range(counts.flite):
            # The other two are cut from recordings, which have their own melody.
            pitch = rng.randint(80, 160) if voice == "kal16" and rng.random() < 0.6 else None
            add("flite", voice, round(rng.uniform(0.8, 1.3), 2), pitch)
    for voice in () if unknown_voices else FESTIVAL_VOICES:
        for _ in range(counts.festival):
            add("festival", voice, round(rng.uniform(0.8, 1.25), 2), None)
    return clips


def _punctuated(text: str, rng: random.Random) -> str:
    """Varies the melody, never the words."""
    words = text.split()
    if len(words) > 3 and rng.random() < 0.3:
        words[rng.randint(0, len(words) - 2)] += ","
    return " ".join(words) + rng.choice(["", "", ".", "?"])


def _speak_espeak(clip: Clip) -> None:
    _run(["espeak-ng", "-v", clip.voice, "-s", str(clip.speed), "-p", str(clip.pitch), "-w", clip.path, clip.prompt])


def _speak_flite(clip: Clip) -> None:
    command = ["flite", "-voice", clip.voice, "-t", clip.prompt, "-o", clip.path]
    command += ["--setf", f"duration_stretch={clip.speed}"]
    if clip.pitch:
        command += ["--setf", f"int_f0_target_mean={clip.pitch}"]
    _run(command)


def _speak_festival(batch: list[Clip]) -> None:
    lines = [f"(voice_{batch[0].voice})"]
    for clip in batch:
        if "hts" not in clip.voice:
            lines.append(f"(Parameter.set 'Duration_Stretch {clip.speed})")
        lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{clip.prompt}")) "{clip.path}" \'riff)')
    script = Path(batch[0].path).with_suffix(".scm")
    script.write_text("\n".join(lines))
    _run(["festival", "-b", str(script)])
    script.unlink()


def _batches(clips: list[Clip]) -> list[list[Clip]]:
    by_voice = [[clip for clip in clips if clip.voice == voice] for voice in FESTIVAL_VOICES]
    return [
        voiced[start : start + _FESTIVAL_BATCH]
        for voiced in by_voice
        for start in range(0, len(voiced), _FESTIVAL_BATCH)
    ]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


_SPEAK = {"espeak": _speak_espeak, "flite": _speak_flite}
