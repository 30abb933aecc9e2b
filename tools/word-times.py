#!/usr/bin/env python3
"""When each word of the prompts begins, as the synthesiser that spoke them says.

    tools/word-times.py > fixtures/prompts/word-times.json

espeak-ng is asked for the same sentence again through its library, which tells with the
samples where each word begins. The prompts had the silence at their ends taken off; how
much that was is found by laying one over the other. Needs libespeak-ng and numpy.
"""

import ctypes
import json
import pathlib
import wave

import numpy

PROMPTS = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "prompts"
# As in tests/kit/src/bin/capture/prompts.rs.
PACE = 150
VOICES = ["en-us", "en-us+f2"]
WORD = 1
RATE_PARAMETER = 1
SYNCHRONOUS = 2
UTF8 = 1
RATE = 8000


class Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", Id),
    ]


CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
)


class Synthesiser:
    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)
        self.samples, self.starts = [], {}
        self.callback = CALLBACK(self.take)
        self.library.espeak_SetSynthCallback(self.callback)

    def take(self, samples, count, events):
        if count > 0:
            self.samples.extend(samples[:count])
        n = 0
        while events[n].type != 0:
            if events[n].type == WORD:
                place = events[n].text_position
                self.starts.setdefault(place, events[n].sample / self.rate)
            n += 1
        return 0

    def speak(self, text, voice):
        """The samples at RATE, and where each word begins, seconds."""
        self.samples, self.starts = [], {}
        self.library.espeak_SetVoiceByName(voice.encode())
        self.library.espeak_SetParameter(RATE_PARAMETER, PACE, 0)
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        spoken = numpy.array(self.samples, dtype=float)
        # Without what the lower rate cannot hold.
        spectrum = numpy.fft.rfft(spoken)
        spectrum[int(len(spectrum) * RATE / self.rate) :] = 0
        spoken = numpy.fft.irfft(spectrum, len(spoken))
        there = numpy.arange(0, len(spoken), self.rate / RATE)
        # Some words are said in two pieces. Places are counted from 1.
        begins = [n + 1 for n, c in enumerate(text) if c != " " and (n == 0 or text[n - 1] == " ")]
        starts = [time for place, time in sorted(self.starts.items()) if place in begins]
        return numpy.interp(there, numpy.arange(len(spoken)), spoken), starts


def read(path):
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE
        return numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float)


def offset(whole, part):
    """Where the part begins in the whole, seconds; and how alike they are there."""
    size = 1 << (len(whole) + len(part)).bit_length()
    alike = numpy.fft.irfft(numpy.fft.rfft(whole, size) * numpy.conj(numpy.fft.rfft(part, size)), size)
    best = int(numpy.argmax(alike))
    if best > size // 2:
        best -= size
    first, last = max(best, 0), min(len(whole), best + len(part))
    one, other = whole[first:last], part[first - best : last - best]
    likeness = float(one @ other / (numpy.linalg.norm(one) * numpy.linalg.norm(other)))
    return best / RATE, likeness


def take(synthesiser, text, voice, prompt):
    samples, starts = synthesiser.speak(text, voice)
    begins, likeness = offset(samples, prompt)
    return likeness, begins, starts


def main():
    synthesiser = Synthesiser()
    times = {}
    for path in sorted(PROMPTS.glob("*.txt")):
        text = path.read_text().strip()
        prompt = read(path.with_suffix(".wav"))
        likeness, begins, starts = max(take(synthesiser, text, voice, prompt) for voice in VOICES)
        # The other voice comes to 0.2 at most. Not 1: its hiss is drawn anew each time.
        assert likeness > 0.45, f"{path.stem}: only {likeness:.3f} alike"
        words = text.split()
        assert len(starts) == len(words), f"{path.stem}: {len(starts)} times for {len(words)} words"
        times[path.stem] = [
            {"word": word, "start_ms": max(0, round((start - begins) * 1000))}
            for word, start in zip(words, starts)
        ]
    print(json.dumps(times, indent=1))


main()
