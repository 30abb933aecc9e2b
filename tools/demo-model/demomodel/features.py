"""From samples to the log-mel spectrogram, as whisper.cpp computes it."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 320  # of the encoder: two mel columns, 20 ms
MELS = 80
_WINDOW, _HOP = 400, 160


def mel_filters() -> np.ndarray:
    """Slaney's triangular filters of unit area, (80, 201): linear up to 1 kHz, then logarithmic."""
    top = 15 + np.log(SAMPLE_RATE / 2 / 1000) / (np.log(6.4) / 27)
    mels = np.linspace(0, top, MELS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    bins = np.linspace(0, SAMPLE_RATE / 2, _WINDOW // 2 + 1)
    widths = np.diff(edges)[:, None]
    distance = edges[:, None] - bins
    rising = -distance[:-2] / widths[:-1]
    falling = distance[2:] / widths[1:]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.maximum(0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


@lru_cache
def _constants(device: torch.device) -> tuple[torch.Tensor, ...]:
    """Cosines and sines under Hann's window, (200, 201) each, and the filters.

    The window's samples 1 to 200 are added to those from its end, or these subtracted; sample 0 weighs nothing.
    A GPU would have to plan an FFT anew for each size of batch.
    """
    half = _WINDOW // 2
    place = np.arange(1, half + 1)[:, None]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / _WINDOW * place)
    hann[-1] /= 2  # the middle is added to itself
    angles = 2 * np.pi / _WINDOW * (place * np.arange(half + 1) % _WINDOW)
    parts = hann * np.cos(angles), hann * np.sin(angles), mel_filters().T
    return tuple(torch.from_numpy(part.astype(np.float32)).to(device) for part in parts)


_FLOOR = -10.0  # log10 of the least power


def log_mel(samples: torch.Tensor, frames: int) -> torch.Tensor:
    """(batch, samples) at 16 kHz in ±1 to (batch, 80, 2 x frames); silence is appended up to `frames`."""
    samples = samples[:, : frames * SAMPLES_PER_FRAME]
    padded = F.pad(samples, (0, _WINDOW // 2 + _HOP))
    padded = F.pad(padded[:, None], (_WINDOW // 2, 0), mode="reflect")[:, 0]
    cosines, sines, filters = _constants(samples.device)
    windows = padded.unfold(1, _WINDOW, _HOP)
    front, back = windows[:, :, 1 : _WINDOW // 2 + 1], windows[:, :, _WINDOW // 2 :].flip(2)
    power = ((front + back) @ cosines) ** 2 + ((front - back) @ sines) ** 2
    mel = torch.log10(torch.clamp(power @ filters, min=10**_FLOOR)).transpose(1, 2)[:, :, : 2 * frames]
    mel = F.pad(mel, (0, 2 * frames - mel.shape[2]), value=_FLOOR)
    mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8)
    return (mel + 4) / 4
