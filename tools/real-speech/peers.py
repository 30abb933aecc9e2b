#!/usr/bin/env python3
"""Other programs over the same recordings, each on one thread, the whole window for every clip.

    peers.py faster-whisper FOLDER LIST STEP      the package of that name, 8 bits, beam 1, no voice detector
    peers.py whisper-cli PROGRAM MODEL LIST STEP  whisper.cpp's own program, greedy, no fallback

LIST has lines of NAME, seconds, 8 kHz WAV file and text, separated by tabs; every STEP-th is taken. One JSON document comes
out: clips with name and text, cpu_ms for all of them, audio_ms. Loading the model is not counted.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import wave

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy


def clips(path, step):
    """Names and samples at 16 kHz, from -1 to 1."""
    with open(path, encoding="utf-8") as lines:
        for line in list(lines)[:: int(step)]:
            name, _, sound, _ = line.rstrip("\n").split("\t")
            with wave.open(sound) as file:
                assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2), sound
                samples = numpy.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
            # Twice the rate by a spectrum that is empty above 4 kHz.
            spectrum = numpy.fft.rfft(samples)
            yield name, (2 * numpy.fft.irfft(spectrum, 2 * len(samples))).astype(numpy.float32)


def faster_whisper(folder, path, step):
    from faster_whisper import WhisperModel

    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)

    def hear(samples):
        segments, _ = model.transcribe(
            samples, language="en", beam_size=1, temperature=0.0, vad_filter=False, without_timestamps=True,
            condition_on_previous_text=False)
        return "".join(segment.text for segment in segments).strip()

    heard, audio = [], 0
    all_clips = list(clips(path, step))
    hear(all_clips[0][1])
    begun = time.process_time()
    for name, samples in all_clips:
        heard.append({"name": name, "text": hear(samples)})
        audio += len(samples)
    return heard, time.process_time() - begun, audio


def whisper_cli(program, model, path, step):
    with tempfile.TemporaryDirectory() as folder:
        names, files, audio = [], [], 0
        for number, (name, samples) in enumerate(clips(path, step)):
            files.append(os.path.join(folder, f"{number}.wav"))
            with wave.open(files[-1], "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
            names.append(name)
            audio += len(samples)

        def run(some):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            options = [program, "-m", model, "-t", "1", "-l", "en", "-bs", "1", "-bo", "1", "-nf", "-nt", "-np", "-otxt"]
            subprocess.run(options + some, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        # What the first clip takes twice is not loading: the model's own time is the rest.
        once, twice = run(files[:1]), run(files[:1] * 2)
        cpu = run(files) - (2 * once - twice)
        texts = []
        for file in files:
            with open(file + ".txt", encoding="utf-8") as text:
                texts.append(" ".join(text.read().split()))
        return [{"name": name, "text": text} for name, text in zip(names, texts)], cpu, audio


if __name__ == "__main__":
    if len(sys.argv) < 5 or sys.argv[1] not in ("faster-whisper", "whisper-cli"):
        sys.exit(__doc__)
    peer = {"faster-whisper": faster_whisper, "whisper-cli": whisper_cli}[sys.argv[1]]
    heard, cpu, audio = peer(*sys.argv[2:])
    json.dump({"clips": heard, "cpu_ms": round(1000 * cpu), "audio_ms": audio // 16}, sys.stdout)
