"""espeak-ng by way of its library, which tells when it says each word."""

import ctypes
import re
from functools import cache

import numpy as np

_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1
_SPEED, _PITCH = 1, 3
_LAST, _WORD, _PHONEME = 0, 1, 7

Event = tuple[int, int, float, str]  # type, place in the text counted from 1, seconds, phoneme
Span = tuple[float, float]


def speak(text: str, voice: str, speed: int, pitch: int) -> tuple[np.ndarray, int, list[Span | None]]:
    """Samples, their rate, and (start, end) of each word in seconds, or None where it is joined to the one before."""
    return _library().speak(text, voice, speed, pitch)


def _word_spans(text: str, events: list[Event]) -> list[Span | None]:
    places = [match.start() + 1 for match in re.finditer(r"\S+", text)]
    spans: dict[int, Span] = {}
    current = None
    for kind, place, time, phoneme in events:
        if current:
            spans[current] = (spans[current][0], time)
        # Some words are said in two pieces; only the first has the place of a word.
        if kind == _WORD and place in places and place not in spans:
            current = place
            spans[place] = (time, time)
        elif phoneme.startswith("_"):  # a pause
            current = None
    return [spans.get(place) for place in places]


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("type", "identifier", "text_position", "length", "audio_position")),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_char_p) for name in ("name", "languages", "identifier")),
        *((name, ctypes.c_ubyte) for name in ("gender", "age", "variant", "unused")),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@cache
def _library() -> "_Library":
    return _Library()


class _Library:
    """One voice at a time, so one to a process."""

    def __init__(self):
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        if self._rate <= 0:
            raise RuntimeError("espeak-ng finds no voices")
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._samples: list[bytes] = []
        self._events: list[Event] = []

    def speak(self, text: str, voice: str, speed: int, pitch: int):
        self._samples, self._events = [], []
        self._choose(voice)
        self._library.espeak_SetParameter(_SPEED, speed, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(self._samples), np.int16)
        return samples, self._rate, _word_spans(text, self._events)

    def _choose(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) == 0:
            return
        by_language = _Voice(languages=voice.encode())
        if self._library.espeak_SetVoiceByProperties(ctypes.byref(by_language)) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice}")

    def _take(self, samples, count: int, events) -> int:
        if count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        number = 0
        while events[number].type != _LAST:
            event = events[number]
            phoneme = event.id.string.decode(errors="replace") if event.type == _PHONEME else ""
            self._events.append((event.type, event.text_position, event.sample / self._rate, phoneme))
            number += 1
        return 0
