"""What a telephone network does to speech: many windows at once, on any device.

Samples are floats of 16-bit size at 8 kHz, a row to a window. Chance is torch's.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from scipy.signal import firwin

RATE = 8000
FULL_SCALE = 32768.0
_PACKET = RATE // 50
_TAPS = 16
_KNOCK = 80  # samples at most


def mu_law(samples: torch.Tensor) -> torch.Tensor:
    """As heard after G.711 µ-law."""
    size = (samples.abs() / FULL_SCALE).clamp(max=1)
    code = torch.round(torch.log1p(255 * size) / math.log(256) * 127) / 127
    return samples.sign() * torch.expm1(code * math.log(256)) / 255 * FULL_SCALE


def a_law(samples: torch.Tensor) -> torch.Tensor:
    """As heard after G.711 A-law."""
    a = 87.6
    span = 1 + math.log(a)
    size = (samples.abs() / FULL_SCALE).clamp(max=1)
    logarithmic = (1 + torch.log((a * size).clamp(min=1e-9))) / span
    code = torch.round(torch.where(size < 1 / a, a * size / span, logarithmic) * 127) / 127
    size = torch.where(code < 1 / span, code * span / a, torch.exp(code * span - 1) / a)
    return samples.sign() * size * FULL_SCALE


def deliver(samples: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Windows as an application gets them, in ±1 at 16 kHz; zero after `lengths`."""
    inside = torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]
    samples = _noisy(samples, inside)
    samples = torch.where(_chance(samples, 0.5), _band_pass(samples), samples)
    samples = _coded(samples.clamp(-32767, 32767))
    samples = torch.where(_chance(samples, 0.12), _lossy(samples), samples) * inside
    return to_16_khz(samples, _chance(samples, 1 / 3))


def to_16_khz(samples: torch.Tensor, linear: torch.Tensor | None = None) -> torch.Tensor:
    """Twice the rate, in ±1: by a proper filter or, where `linear`, by straight lines as cheap resamplers do."""
    padded = F.pad(samples[:, None] / FULL_SCALE, (_TAPS // 2 - 1, _TAPS // 2))
    doubled = F.conv1d(padded, _on(samples.device, _FILTER)).transpose(1, 2).flatten(1)
    if linear is None:
        return doubled
    straight = F.conv1d(padded, _on(samples.device, _STRAIGHT)).transpose(1, 2).flatten(1)
    return torch.where(linear, straight, doubled)


def noise(like: torch.Tensor) -> torch.Tensor:
    """White, dull, humming or surging noise, of level 1."""
    count, length = like.shape
    time = torch.arange(length, device=like.device) / RATE
    white = torch.randn_like(like)
    frequency = torch.fft.rfftfreq(length, 1 / (2 * math.pi), device=like.device)
    dull = _filtered(white, (1.9025 - 1.9 * frequency.cos()).rsqrt())
    phase = 2 * math.pi * (50 + 70 * torch.rand(count, 1, device=like.device)) * time
    hum = torch.sin(phase) + 0.3 * torch.sin(3 * phase) + 0.3 * white
    swell = F.interpolate(torch.randn(count, 1, length // 800 + 2, device=like.device), length, mode="linear")[:, 0]
    surging = white * (0.3 + swell.abs())
    kind = torch.randint(4, (count, 1), device=like.device)
    chosen = torch.where(kind == 0, white, torch.where(kind == 1, dull, torch.where(kind == 2, hum, surging)))
    return chosen / _level(chosen, torch.ones_like(chosen))


def _noisy(samples: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    speech = _level(samples, samples != 0)
    below_speech = speech * 10 ** (-_uniform(samples, 10, 45) / 20)
    alone = 10 ** _uniform(samples, -4, 2.9) / 3
    silent = speech < 1
    level = torch.where(silent, alone, below_speech) * torch.where(
        silent, _chance(samples, 0.85), _chance(samples, 0.55)
    )
    return (_knocked(samples, silent & _chance(samples, 0.3)) + level * noise(samples)) * inside


def _knocked(samples: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Four knocks of up to 10 ms in the windows that `where` marks."""
    count, length = samples.shape
    start = (torch.rand(count, 4, 1, device=samples.device) * (length - _KNOCK)).long()
    place = torch.arange(_KNOCK, device=samples.device).expand(count, 4, -1)
    ends = torch.randint(5, _KNOCK, (count, 4, 1), device=samples.device)
    loud = torch.empty(count, 4, 1, device=samples.device).uniform_(-6000, 6000)
    knocks = loud * (place < ends) * where[:, :, None]
    return samples.scatter_add(1, (start + place).flatten(1), knocks.flatten(1))


def _band_pass(samples: torch.Tensor) -> torch.Tensor:
    """Cuts lows as telephones do, and mostly highs."""
    frequency = torch.fft.rfftfreq(samples.shape[1], 1 / RATE, device=samples.device).clamp(min=1)
    lows = (1 + (_uniform(samples, 180, 350) / frequency) ** 4).rsqrt()
    highs = (1 + (frequency / _uniform(samples, 3000, 3700)) ** 8).rsqrt()
    return _filtered(samples, lows * torch.where(_chance(samples, 0.6), highs, 1.0))


def _filtered(samples: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft(torch.fft.rfft(samples) * gains, samples.shape[1])


def _coded(samples: torch.Tensor) -> torch.Tensor:
    kind = _uniform(samples, 0, 1)
    return torch.where(kind < 0.55, mu_law(samples), torch.where(kind < 0.8, a_law(samples), samples.round()))


def _lossy(samples: torch.Tensor) -> torch.Tensor:
    """Gaps of 20 to 60 ms: silence, or what came before once more."""
    count, packets = len(samples), samples.shape[1] // _PACKET
    heard = samples[:, : packets * _PACKET].unflatten(1, (packets, _PACKET))
    begins = torch.rand(count, packets, device=samples.device) < _uniform(samples, 0, 0.05)
    gaps = begins.clone()
    for longer in (1, 2):
        gaps[:, longer:] |= begins[:, :-longer] & _chance(samples, 0.5)
    before = F.pad(heard, (0, 0, 1, 0))[:, :-1] * _chance(samples, 0.4)[:, :, None]
    result = samples.clone()
    result[:, : packets * _PACKET] = torch.where(gaps[:, :, None], before, heard).flatten(1)
    return result


def _level(samples: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return ((samples**2).sum(1, keepdim=True) / counted.sum(1, keepdim=True).clamp(min=1)).sqrt().clamp(min=1e-6)


def _chance(like: torch.Tensor, share: float) -> torch.Tensor:
    return torch.rand(len(like), 1, device=like.device) < share


def _uniform(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * torch.rand(len(like), 1, device=like.device)


def _phases(filter_at_16_khz) -> torch.Tensor:
    """The taps that make even and odd samples of twice the rate."""
    taps = F.pad(torch.as_tensor(filter_at_16_khz, dtype=torch.float32).flip(0), (0, 1))
    return torch.stack([taps[1::2], taps[::2]])[:, None]


@lru_cache
def _on(device: torch.device, constant: torch.Tensor) -> torch.Tensor:
    return constant.to(device)


_FILTER = _phases(firwin(2 * _TAPS - 1, 0.48) * 2)
_STRAIGHT = _phases([0.0] * (_TAPS - 2) + [0.5, 1.0, 0.5] + [0.0] * (_TAPS - 2))
