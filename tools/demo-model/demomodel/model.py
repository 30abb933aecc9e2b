"""Whisper's architecture, small. Parameters bear the names of the model file."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import tokens
from .features import MELS

AUDIO_CONTEXT = 1500  # encoder frames of 20 ms: Whisper's 30 s
TEXT_CONTEXT = 448


@dataclass(frozen=True)
class Shape:
    """Size of a model. Not two decoder layers: whisper.cpp would take it for a distilled one."""

    width: int = 96
    heads: int = 3
    encoder_layers: int = 3
    decoder_layers: int = 3


class Whisper(nn.Module):
    """Encoder, decoder, and the heads that training alone uses."""

    def __init__(self, shape: Shape, phones: int):
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        self.heads = Heads(shape.width, phones)
        self._shrink_residual_branches()

    def forward(self, mel: torch.Tensor, text: torch.Tensor, padding: int = 0):
        """Logits of compact tokens, where the decoder looked, and the encoder's output, also at the last but one layer."""
        audio, middle = self.encoder(mel, padding)
        return *self.decoder(text, audio, padding), audio, middle

    def _shrink_residual_branches(self):
        scale = 1 / math.sqrt(self.shape.encoder_layers + self.shape.decoder_layers)
        for block in [*self.encoder.blocks, *self.decoder.blocks]:
            attentions = [block.attn] + ([block.cross_attn] if block.crosses else [])
            for linear in [*(attention.out for attention in attentions), block.mlp[2]]:
                linear.weight.data *= scale


class Encoder(nn.Module):
    """Mel columns to one vector per 20 ms."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.width
        self.conv1 = nn.Conv1d(MELS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        # Default weights let the signal fade ahead of the first block.
        self.conv1.weight.data *= 2.0
        self.conv2.weight.data *= 2.5
        # Weak positions, so that content leads; coarse ones, so that files compress.
        positions = np.round(sinusoids(AUDIO_CONTEXT, width) * 0.2 * 128) / 128
        self.register_buffer("positional_embedding", torch.from_numpy(positions))
        self.blocks = nn.ModuleList(Block(width, shape.heads, crosses=False) for _ in range(shape.encoder_layers))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, mel: torch.Tensor, padding: int = 0):
        x = F.gelu(self.conv1(mel), approximate="tanh")
        x = F.gelu(self.conv2(x), approximate="tanh").transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        middle = x
        for number, block in enumerate(self.blocks):
            x, _ = block(x, padding=padding)
            if number == len(self.blocks) - 2:
                middle = x
        return self.ln_post(x), middle


class Decoder(nn.Module):
    """Compact tokens so far, and audio, to logits of the next token."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.width
        self.token_embedding = nn.Parameter(torch.randn(tokens.COMPACT_SIZE, width) * 0.06)
        self.positional_embedding = nn.Parameter(torch.from_numpy(sinusoids(TEXT_CONTEXT, width)) * 0.06)
        self.blocks = nn.ModuleList(Block(width, shape.heads, crosses=True) for _ in range(shape.decoder_layers))
        self.ln = nn.LayerNorm(width)

    def forward(self, text: torch.Tensor, audio: torch.Tensor, padding: int = 0):
        """Logits, and the attention of each layer: (batch, head, token, frame)."""
        x = F.embedding(text, self.token_embedding) + self.positional_embedding[: text.shape[1]]
        attentions = []
        for block in self.blocks:
            x, attention = block(x, audio, padding)
            attentions.append(attention)
        with torch.autocast(x.device.type, enabled=False):
            return self.ln(x.float()) @ self.token_embedding.T, attentions


class Block(nn.Module):
    """A transformer block: causal with cross-attention in the decoder, plain in the encoder."""

    def __init__(self, width: int, heads: int, crosses: bool):
        super().__init__()
        self.crosses = crosses
        self.attn = Attention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        if crosses:
            self.cross_attn = Attention(width, heads)
            self.cross_attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, audio: torch.Tensor | None = None, padding: int = 0):
        attention = None
        if self.crosses:
            x = x + self.attn(self.attn_ln(x), causal=True)
            heard, attention = self.cross_attn.listen(self.cross_attn_ln(x), audio, padding)
            x = x + heard
        else:
            x = x + self.attn(self.attn_ln(x), padding=padding)
        return x + self.mlp(self.mlp_ln(x)), attention


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, padding: int = 0, causal: bool = False) -> torch.Tensor:
        """Within one sequence."""
        return self._joined(_attend(*self._parts(x, x, padding), causal))

    def listen(self, x: torch.Tensor, audio: torch.Tensor, padding: int = 0):
        """To the encoder's output; and the weights of it."""
        query, key, value = self._parts(x, audio, padding)
        weights = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(3)
        return self._joined(weights.to(value.dtype) @ value), weights

    def _parts(self, x: torch.Tensor, over: torch.Tensor, padding: int):
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(over), self.value(over))
        )
        if padding:
            # Some builds of whisper.cpp attend to zeros appended up to a multiple
            # of 256 frames; a model that has seen them does not mind.
            key, value = F.pad(key, (0, 0, 0, padding)), F.pad(value, (0, 0, 0, padding))
        return query, key, value

    def _joined(self, mixed: torch.Tensor) -> torch.Tensor:
        return self.out(mixed.transpose(1, 2).flatten(2))


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool) -> torch.Tensor:
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    if causal:
        ahead = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(ahead, -math.inf)
    return scores.softmax(3) @ value


class Heads(nn.Module):
    """What is asked of the encoder in training only: the words in order, and the phone and word of each frame."""

    def __init__(self, width: int, phones: int):
        super().__init__()
        words = tokens.END  # the compact numbers of words, and 0 for none
        self.ctc = nn.Linear(width, words)
        self.frame_word = nn.Linear(width, words)
        self.phone_ln = nn.LayerNorm(width)
        self.frame_phone = nn.Linear(width, phones)


def sinusoids(length: int, width: int) -> np.ndarray:
    """Whisper's positions: sines in the first half of the columns, cosines in the second."""
    rates = np.exp(-np.log(10000) / (width // 2 - 1) * np.arange(width // 2))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
