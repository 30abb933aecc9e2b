"""From samples to the log-mel spectrogram, as whisper.cpp computes it."""

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


_FILTERS = torch.from_numpy(mel_filters())
_HANN = torch.hann_window(_WINDOW)
_FLOOR = -10.0  # log10 of the least power


def log_mel(samples: torch.Tensor, frames: int) -> torch.Tensor:
    """(batch, samples) at 16 kHz in ±1 to (batch, 80, 2 x frames); silence is appended up to `frames`."""
    samples = samples[:, : frames * SAMPLES_PER_FRAME]
    padded = F.pad(samples, (0, _WINDOW // 2 + _HOP))
    padded = F.pad(padded[:, None], (_WINDOW // 2, 0), mode="reflect")[:, 0]
    window = _HANN.to(samples.device)
    spectrum = torch.stft(padded, _WINDOW, _HOP, window=window, center=False, return_complex=True)
    power = spectrum.real**2 + spectrum.imag**2
    mel = torch.log10(torch.clamp(_FILTERS.to(samples.device) @ power, min=10**_FLOOR))[:, :, : 2 * frames]
    mel = F.pad(mel, (0, 2 * frames - mel.shape[2]), value=_FLOOR)
    mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8)
    return (mel + 4) / 4
