"""From a checkpoint to a file that whisper.cpp loads, and back."""

from pathlib import Path

import numpy as np
import torch

from . import ggml, tokens
from .features import MELS, mel_filters
from .model import AUDIO_CONTEXT, TEXT_CONTEXT, Shape, Whisper

_EMBEDDING = "decoder.token_embedding.weight"


def export(weights: dict[str, torch.Tensor], shape: Shape, path: Path, file_type: str) -> None:
    """Writes the parameters (a state dict of `Whisper`) as `f32`, `f16`, `q8_0` or `q5_0`."""
    header_type, matrix_type = ggml.FILE_TYPES[file_type]
    header = (
        tokens.FILE_VOCABULARY_SIZE,
        *(AUDIO_CONTEXT, shape.width, shape.heads, shape.encoder_layers),
        *(TEXT_CONTEXT, shape.width, shape.heads, shape.decoder_layers),
        MELS,
        header_type,
    )
    tensors = _tensors(weights)
    types = {name: _type_of(name, data, matrix_type) for name, data in tensors.items()}
    ggml.write(path, ggml.File(header, mel_filters(), tokens.FILE_TEXTS, tensors, types))


def load(path: Path) -> Whisper:
    """The model of a file, without the training heads."""
    file = ggml.read(path)
    shape = Shape(file.header[2], file.header[3], file.header[4], file.header[8])
    model = Whisper(shape, phones=1)
    embedding = file.tensors.pop(_EMBEDDING)
    used = set(tokens.FILE_NUMBER)
    unused = next(row for row in range(tokens.FILE_VOCABULARY_SIZE) if row not in used)
    weights = {name: torch.from_numpy(data) for name, data in file.tensors.items()}
    weights["decoder.token_embedding"] = torch.from_numpy(embedding[[*tokens.FILE_NUMBER, unused]])
    own = model.state_dict()
    missing = [name for name in own if name not in weights and not name.startswith("heads.")]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    model.load_state_dict({name: weights.get(name, own[name]).reshape(own[name].shape) for name in own})
    return model.eval()


def _tensors(weights: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Names and shapes as in the file; the order is of no matter to whisper.cpp."""
    tensors = {name: data.detach().float().numpy() for name, data in weights.items() if not name.startswith("heads.")}
    compact = tensors.pop("decoder.token_embedding")
    full = np.repeat(compact[tokens.UNUSED][None], tokens.FILE_VOCABULARY_SIZE, axis=0)
    full[tokens.FILE_NUMBER] = compact[: tokens.UNUSED]
    tensors[_EMBEDDING] = full
    # Coarse values compress well and change nothing.
    positions = "decoder.positional_embedding"
    tensors[positions] = np.round(tensors[positions] * 256) / 256
    for convolution in ("encoder.conv1.bias", "encoder.conv2.bias"):
        tensors[convolution] = tensors[convolution].reshape(-1, 1)
    return tensors


def _type_of(name: str, data: np.ndarray, matrix_type: int) -> int:
    f32, f16 = ggml.FILE_TYPES["f32"][1], ggml.FILE_TYPES["f16"][1]
    if "positional" in name or name.endswith("bias") or data.ndim == 1:
        return f32
    if data.ndim == 3:  # whisper.cpp keeps convolutions in f16 when matrices are quantised
        return f32 if matrix_type == f32 else f16
    return matrix_type
