"""The file format of whisper.cpp, written and read.

magic, 11 numbers, mel filters, texts of tokens, then tensors to the end of the
file: rank, length of name, type, dimensions (fastest first), name, data. Types
other than f32 and f16 store blocks of 32 weights.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = 0x67676D6C
BLOCK = 32

# Names of file types: the number in the header, and the tensor type of matrices.
FILE_TYPES = {"f32": (0, 0), "f16": (1, 1), "q8_0": (2007, 8), "q5_0": (2008, 6)}
_F32, _F16, _Q5_0, _Q8_0 = 0, 1, 6, 8


@dataclass
class File:
    """A model file."""

    header: tuple[int, ...]  # the eleven numbers, in the order of the file
    filters: np.ndarray
    texts: list[str]
    tensors: dict[str, np.ndarray]
    types: dict[str, int]  # tensor type by name

    def differences(self, other: "File") -> list[str]:
        """How two files differ otherwise than in their weights. The order of tensors is of no matter."""
        found = []
        if self.header != other.header:
            found.append(f"headers: {self.header} and {other.header}")
        if self.filters.shape != other.filters.shape or np.abs(self.filters - other.filters).max() > 1e-7:
            found.append("mel filters")
        if self.texts != other.texts:
            found.append("texts of tokens")
        if self._tensor_table() != other._tensor_table():
            found.append(f"tensors: {sorted(self._tensor_table() ^ other._tensor_table())}")
        return found

    def _tensor_table(self) -> set:
        return {(name, self.types[name], data.shape) for name, data in self.tensors.items()}


def write(path: Path, file: File) -> None:
    """Writes a model file."""
    with open(path, "wb") as out:
        out.write(struct.pack("<I11i", MAGIC, *file.header))
        out.write(struct.pack("<2i", *file.filters.shape) + file.filters.astype("<f4").tobytes())
        out.write(struct.pack("<i", len(file.texts)))
        for text in file.texts:
            out.write(struct.pack("<I", len(text.encode())) + text.encode())
        for name, data in file.tensors.items():
            kind = file.types[name]
            out.write(struct.pack("<3i", data.ndim, len(name), kind))
            out.write(struct.pack(f"<{data.ndim}i", *reversed(data.shape)) + name.encode())
            out.write(_ENCODE[kind](np.ascontiguousarray(data, dtype=np.float32)))


def read(path: Path) -> File:
    """Reads a model file; its weights come back as f32."""
    raw = Path(path).read_bytes()
    at = 0

    def take(form: str) -> tuple:
        nonlocal at
        values = struct.unpack_from("<" + form, raw, at)
        at += struct.calcsize("<" + form)
        return values

    def take_bytes(size: int) -> bytes:
        nonlocal at
        if at + size > len(raw):
            raise ValueError(f"{path} ends in the middle of something")
        at += size
        return raw[at - size : at]

    if take("I") != (MAGIC,):
        raise ValueError(f"{path} is no ggml file")
    header = take("11i")
    rows, columns = take("2i")
    filters = np.frombuffer(take_bytes(4 * rows * columns), "<f4").reshape(rows, columns)
    texts = [take_bytes(take("I")[0]).decode() for _ in range(take("i")[0])]
    tensors, types = {}, {}
    while at < len(raw):
        rank, name_length, kind = take("3i")
        shape = take(f"{rank}i")[::-1]
        name = take_bytes(name_length).decode()
        weights = int(np.prod(shape))
        tensors[name] = _DECODE[kind](take_bytes(_size(kind, weights))).reshape(shape)
        types[name] = kind
    return File(header, filters, texts, tensors, types)


def _size(kind: int, weights: int) -> int:
    return {_F32: 4 * weights, _F16: 2 * weights, _Q8_0: weights // BLOCK * 34, _Q5_0: weights // BLOCK * 22}[kind]


def _encode_q8_0(data: np.ndarray) -> bytes:
    """Per block: scale (f16), 32 signed bytes."""
    blocks = data.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    quants = np.round(blocks * inverse[:, None]).astype(np.int8)
    return _join(_f16(scale), quants.view(np.uint8))


def _encode_q5_0(data: np.ndarray) -> bytes:
    """Per block: scale (f16), the 32 fifth bits, 16 bytes of low nibbles; -16 is the weight of largest size."""
    blocks = data.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)[:, 0]
    scale = largest / np.float32(-16)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    quants = np.clip(blocks * inverse[:, None] + np.float32(16.5), 0, 31).astype(np.uint32)
    fifth_bits = ((quants >> 4) << np.arange(BLOCK, dtype=np.uint32)).sum(axis=1).astype("<u4")
    nibbles = (quants[:, :16] & 15) | ((quants[:, 16:] & 15) << 4)
    return _join(_f16(scale), fifth_bits.view(np.uint8).reshape(-1, 4), nibbles.astype(np.uint8))


def _decode_q8_0(raw: bytes) -> np.ndarray:
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, 34)
    return _scales(blocks) * blocks[:, 2:].copy().view(np.int8).astype(np.float32)


def _decode_q5_0(raw: bytes) -> np.ndarray:
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, 22)
    fifth_bits = blocks[:, 2:6].copy().view("<u4") >> np.arange(BLOCK, dtype=np.uint32) & 1
    nibbles = np.concatenate([blocks[:, 6:] & 15, blocks[:, 6:] >> 4], axis=1)
    quants = nibbles.astype(np.int32) + (fifth_bits << 4).astype(np.int32) - 16
    return _scales(blocks) * quants.astype(np.float32)


def _scales(blocks: np.ndarray) -> np.ndarray:
    return blocks[:, :2].copy().view("<f2").astype(np.float32)


def _f16(scale: np.ndarray) -> np.ndarray:
    return scale.astype("<f2").view(np.uint8).reshape(-1, 2)


def _join(*columns: np.ndarray) -> bytes:
    return np.concatenate(columns, axis=1).tobytes()


_ENCODE = {
    _F32: lambda data: data.astype("<f4").tobytes(),
    _F16: lambda data: data.astype("<f2").tobytes(),
    _Q8_0: _encode_q8_0,
    _Q5_0: _encode_q5_0,
}
_DECODE = {
    _F32: lambda raw: np.frombuffer(raw, "<f4").copy(),
    _F16: lambda raw: np.frombuffer(raw, "<f2").astype(np.float32),
    _Q8_0: _decode_q8_0,
    _Q5_0: _decode_q5_0,
}
