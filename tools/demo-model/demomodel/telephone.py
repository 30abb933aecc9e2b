"""What a telephone network does to speech. Samples are floats of 16-bit size at 8 kHz."""

import numpy as np
from scipy.signal import butter, firwin, lfilter

RATE = 8000
FULL_SCALE = 32768.0
_INTERPOLATOR = firwin(31, 0.48) * 2


def mu_law(samples: np.ndarray) -> np.ndarray:
    """As heard after G.711 µ-law."""
    size = np.minimum(np.abs(samples) / FULL_SCALE, 1)
    code = np.round(np.log1p(255 * size) / np.log(256) * 127) / 127
    return np.sign(samples) * np.expm1(code * np.log(256)) / 255 * FULL_SCALE


def a_law(samples: np.ndarray) -> np.ndarray:
    """As heard after G.711 A-law."""
    a = 87.6
    span = 1 + np.log(a)
    size = np.minimum(np.abs(samples) / FULL_SCALE, 1)
    logarithmic = (1 + np.log(np.maximum(a * size, 1e-9))) / span
    code = np.round(np.where(size < 1 / a, a * size / span, logarithmic) * 127) / 127
    size = np.where(code < 1 / span, code * span / a, np.exp(code * span - 1) / a)
    return np.sign(samples) * size * FULL_SCALE


def noise(rng: np.random.Generator, length: int) -> np.ndarray:
    """White, dull, humming or surging noise, of a level around 1."""
    white = rng.standard_normal(length)
    kind = rng.integers(4)
    if kind == 0:
        return white
    if kind == 1:
        return lfilter([1], [1, -0.95], white)
    if kind == 2:
        phase = 2 * np.pi * rng.choice([50, 60, 100, 120]) * np.arange(length) / RATE
        return np.sin(phase) + 0.3 * np.sin(3 * phase) + 0.3 * white
    surge = np.abs(lfilter([0.002], [1, -0.998], rng.standard_normal(length)))
    return white * (0.3 + 8 * surge)


def band_pass(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Cuts lows as telephones do, and mostly highs."""
    samples = lfilter(*butter(2, rng.uniform(180, 350) / (RATE / 2), "high"), samples)
    if rng.random() < 0.6:
        samples = lfilter(*butter(4, rng.uniform(3000, 3700) / (RATE / 2)), samples)
    return samples


def speed(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Faster and higher, or slower and lower."""
    factor = np.exp(rng.uniform(np.log(0.88), np.log(1.14)))
    positions = np.arange(int(len(samples) / factor)) * factor
    return np.interp(positions, np.arange(len(samples)), samples)


def tilt(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Duller or brighter."""
    return lfilter([1, -rng.uniform(-0.4, 0.5)], [1], samples)


def lose_packets(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Up to four gaps of 20 to 60 ms: silence, or what came before once more."""
    packet = RATE // 50
    samples = samples.copy()
    for _ in range(rng.integers(1, 5)):
        length = packet * rng.integers(1, 4)
        start = packet * rng.integers(max(1, len(samples) // packet - 3))
        gap = samples[start : start + length]
        before = samples[start - length : start] if start >= length and rng.random() < 0.4 else np.zeros(length)
        gap[:] = before[: len(gap)]
    return samples


def to_16_khz(samples: np.ndarray, linear: bool = False) -> np.ndarray:
    """Twice the rate, in ±1: by a proper filter, or by straight lines as cheap resamplers do."""
    if linear:
        between = (samples + np.append(samples[1:], 0)) / 2
        doubled = np.stack([samples, between], axis=1).ravel()
    else:
        doubled = np.zeros(2 * len(samples))
        doubled[::2] = samples
        doubled = np.convolve(doubled, _INTERPOLATOR, "same")
    return (doubled / FULL_SCALE).astype(np.float32)
