"""The training loop."""

import math
import multiprocessing
import os
import queue
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed
import torch.nn.functional as F

from . import batches, tokens
from .align import PHONES
from .corpus import Shards, Sound
from .features import log_mel
from .model import AUDIO_CONTEXT, Shape, Whisper

# Layer and head of those by whose attention the server tells when a word was
# spoken: `DEMO_HEADS` in recognition/src/model.rs.
ALIGNMENT_HEADS = ((0, 0), (1, 1), (2, 0))

_QUEUED_BATCHES, _READY_BATCHES = 24, 4
_NO_SPEECH_SHARE = 0.85
_LOG_EVERY, _SAVE_EVERY = 10, 60  # seconds
_AVERAGE_EVERY = 10  # steps
_PATIENCE = 120  # seconds for a batch: those who draw them have died, or cannot keep up


@dataclass(frozen=True)
class Settings:
    """One stretch of training. It ends after `minutes` or `steps`, whichever is given."""

    corpus: Path
    checkpoint: Path
    resume: Path | None = None
    minutes: float | None = None
    steps: int | None = None
    rate: float = 2e-3
    warm_up: int = 300
    frames_per_batch: int = 1600
    long_share: float = 0.0
    full_share: float = 0.0
    frame_weight: float = 1.0
    ctc_weight: float = 0.3
    look_weight: float = 0.1
    same_weight: float = 0.5
    average: float = 0.998
    seed: int = 1
    processes: int = 2
    device: str = "auto"
    profile: bool = False


def train(settings: Settings) -> None:
    """Trains, from a checkpoint if one is named, and writes a checkpoint every minute and at the end.

    On CPUs, processes of one thread each, with averaged gradients, are faster than as many
    threads in one. On a GPU one process trains, and as many draw what it trains on.
    """
    device = _device(settings.device)
    if device.type != "cpu":
        # What is worth less precision is in bfloat16; sound is not.
        torch.backends.cudnn.allow_tf32 = False
        # cuDNN's attention is compiled anew for each size of batch.
        if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
            torch.backends.cuda.enable_cudnn_sdp(False)
        _worker(0, settings, device, feeders=settings.processes)
        return
    if settings.processes == 1:
        _worker(0, settings, device)
        return
    # `spawn`: a forked child inherits torch's thread pool without its threads.
    context = multiprocessing.get_context("spawn")
    meeting_point = Path(f"{settings.checkpoint}.meeting").absolute()
    meeting_point.unlink(missing_ok=True)
    workers = [
        context.Process(target=_worker, args=(rank, settings, device, 1, meeting_point))
        for rank in range(settings.processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    meeting_point.unlink(missing_ok=True)
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a training process failed; see above")


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _worker(
    rank: int, settings: Settings, device: torch.device, feeders: int = 1, meeting_point: Path | None = None
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed * 1000 + rank)
    if meeting_point:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=settings.processes
        )
    trainer = _Trainer(settings, device, leads=rank == 0)
    context = multiprocessing.get_context("spawn")
    drawn = context.Queue(_QUEUED_BATCHES)
    seeds = [[settings.seed, trainer.step, rank, feeder] for feeder in range(feeders)]
    processes = [context.Process(target=_feed, args=(settings, seed, drawn), daemon=True) for seed in seeds]
    for process in processes:
        process.start()
    ready = queue.Queue(_READY_BATCHES)
    threading.Thread(target=_prepare, args=(settings, device, drawn, ready), daemon=True).start()
    try:
        while not trainer.finished():
            asked = time.monotonic()
            batch, sound = ready.get(timeout=_PATIENCE)
            trainer.train_on(batch, sound, waited=time.monotonic() - asked)
    finally:
        for process in processes:
            process.terminate()
    trainer.save()


def _prepare(settings: Settings, device: torch.device, drawn, ready: queue.Queue) -> None:
    """Has batches, and the sound that they refer to, at hand."""
    sound = Sound(settings.corpus, device)
    while True:
        batch = drawn.get()
        batch = batch.pinned() if device.type == "cuda" else batch.tensors()
        ready.put((batch, sound.upto(batch.corpus_size)))


def _feed(settings: Settings, seed: list[int], drawn) -> None:
    torch.set_num_threads(1)
    os.nice(3)  # the gradients are what everyone waits for
    corpus = Shards(settings.corpus)
    shares = settings.frames_per_batch, settings.long_share, settings.full_share
    for batch in batches.Source(corpus, seed, *shares):
        drawn.put(batch)


class _Trainer:
    """The model, its running average, and the optimiser."""

    def __init__(self, settings: Settings, device: torch.device, leads: bool):
        self._settings = settings
        self._device = device
        self._leads = leads
        self._shape = Shape()
        self.step = 0
        self._steps_here = 0
        self._started = self._saved = time.monotonic()
        self._model = Whisper(self._shape, len(PHONES) + 1)
        if settings.resume:
            self._resume(settings.resume)
        self._model.to(device)
        self._average = {name: value.clone() for name, value in self._model.state_dict().items()}
        fused = {"fused": True} if device.type == "cuda" else {}
        self._optimiser = torch.optim.AdamW(self._model.parameters(), betas=(0.9, 0.98), weight_decay=0.01, **fused)
        self._log = _Log()
        self._clock = _Clock(device if settings.profile else None)
        # The unused tokens share a row, which stands in the sum of the softmax for all of them.
        self._bias = torch.zeros(tokens.COMPACT_SIZE, device=device)
        self._bias[tokens.UNUSED] = math.log(tokens.UNUSED_COUNT)

    def finished(self) -> bool:
        """Whether the stretch is over; all processes agree, since each waits for the others' gradients."""
        over = self._progress() >= 1
        if torch.distributed.is_initialized():
            flag = torch.tensor([float(over)])
            torch.distributed.all_reduce(flag)
            return flag.item() > 0
        return over

    def train_on(self, batch: batches.Batch, sound: torch.Tensor, waited: float) -> None:
        """One step, on a batch of that sound, for which it had to wait so many seconds."""
        self._clock.lap("wait")
        progress = self._progress()
        rate = self._rate(progress)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        batch = batch.to(self._device)
        self._clock.lap("transfer")
        losses = self._losses(batch, sound)
        self._optimiser.zero_grad()
        self._sum(losses, progress).backward()
        self._clock.lap("backward")
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        self._steps_here += 1
        if self._steps_here % _AVERAGE_EVERY == 0:
            self._update_average()
        self._clock.lap("update")
        if self._leads:
            self._log.add(losses, len(batch.lengths), waited)
            if self._log.print_at_times(self.step, rate):
                self._clock.print()
            if time.monotonic() - self._saved > _SAVE_EVERY:
                self.save()

    def save(self) -> None:
        """Writes the checkpoint, so that there is always a whole one."""
        if not self._leads:
            return
        if not all(value.isfinite().all() for value in self._model.state_dict().values()):
            raise FloatingPointError(f"weights are no numbers any more at step {self.step}")
        path = self._settings.checkpoint
        unfinished = path.with_suffix(".part")
        state = {"shape": asdict(self._shape), "weights": self._model.state_dict(), "average": self._average}
        torch.save({**state, "step": self.step}, unfinished)
        unfinished.replace(path)
        self._saved = time.monotonic()

    def _resume(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu")
        if Shape(**state["shape"]) != self._shape:
            raise ValueError(f"{path} is of a model of another shape: {state['shape']}")
        self._model.load_state_dict(state["weights"])
        self.step = state["step"]

    def _progress(self) -> float:
        """From 0 to 1."""
        if self._settings.steps is not None:
            return self._steps_here / self._settings.steps
        return (time.monotonic() - self._started) / (60 * self._settings.minutes)

    def _rate(self, progress: float) -> float:
        """Warm-up, then a cosine."""
        warm = min(1, (self._steps_here + 1) / self._settings.warm_up)
        return self._settings.rate * warm * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1, progress))))

    def _sum(self, losses: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        settings = self._settings
        frame_weight = settings.frame_weight * max(0.1, 1 - 1.5 * progress)
        weights = {"text": 1, "ctc": settings.ctc_weight, "phone": frame_weight, "word": frame_weight}
        weights |= {"look": settings.look_weight, "same": settings.same_weight}
        return sum(weight * losses[name] for name, weight in weights.items() if name in losses)

    def _losses(self, batch: batches.Batch, samples: torch.Tensor) -> dict[str, torch.Tensor]:
        sound = batches.render(batch, samples)
        self._clock.lap("sound")
        mel = log_mel(sound, AUDIO_CONTEXT if batch.full else batch.context)
        fitted = mel[:, :, : 2 * batch.context]
        _mask(fitted)
        self._clock.lap("mel")
        padding = -batch.context % 256 if torch.rand(1) < 0.1 else 0
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            logits, attentions, audio, middle = self._model(fitted, batch.text, padding)
            heads = self._model.heads
            ctc, phones, words = heads.ctc(audio), heads.frame_phone(heads.phone_ln(middle)), heads.frame_word(audio)
        self._clock.lap("model")
        log_probabilities = F.log_softmax(logits + self._bias, -1)
        losses = {
            "text": _text_loss(log_probabilities, batch),
            "ctc": _ctc_loss(ctc.float(), batch),
            "phone": _frame_loss(phones.float(), batch.frame_phones),
            "word": _frame_loss(words.float(), batch.frame_tokens),
            "look": _look_loss(attentions, batch),
            "right": _share_right(log_probabilities.detach(), batch),
        }
        if batch.full:
            self._add_full_context(losses, mel, batch, log_probabilities)
        self._clock.lap("losses")
        return losses

    def _add_full_context(self, losses, mel: torch.Tensor, batch: batches.Batch, fitted: torch.Tensor) -> None:
        """The whole 30 s must give the same as the context that fits."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            logits, attentions, _, _ = self._model(mel, batch.text)
        full = F.log_softmax(logits + self._bias, -1)
        losses["full"] = _text_loss(full, batch)
        losses["text"] = (losses["text"] + losses["full"]) / 2
        losses["look"] = (losses["look"] + _look_loss(attentions, batch)) / 2
        losses["same"] = _divergence(fitted, full, batch)

    def _share_gradients(self) -> None:
        if not torch.distributed.is_initialized():
            return
        gradients = [parameter.grad for parameter in self._model.parameters()]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(joined)
        joined /= torch.distributed.get_world_size()
        for gradient, part in zip(gradients, joined.split([gradient.numel() for gradient in gradients])):
            gradient.copy_(part.view_as(gradient))

    def _update_average(self) -> None:
        keep = min(self._settings.average, (1 + self._steps_here) / (10 + self._steps_here)) ** _AVERAGE_EVERY
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                self._average[name].lerp_(value, 1 - keep)


def _mask(mel: torch.Tensor) -> None:
    """Up to two bands and two moments hidden, in a third of the windows each."""
    bands = _hidden(mel, mel.shape[1], 10)[:, :, None]
    moments = _hidden(mel, mel.shape[2], 18)[:, None]
    mean, least = mel.mean((1, 2), keepdim=True), mel.amin((1, 2), keepdim=True)
    mel.copy_(torch.where(moments, least, torch.where(bands, mean, mel)))


def _hidden(mel: torch.Tensor, size: int, widest: int) -> torch.Tensor:
    count, device = len(mel), mel.device
    place = torch.arange(size, device=device)
    first = torch.rand(2, count, 1, device=device) * (size - widest)
    width = torch.rand(2, count, 1, device=device) * widest
    hidden = ((place >= first) & (place < first + width)).any(0)
    return hidden & (torch.rand(count, 1, device=device) < 0.35)


def _text_loss(log_probabilities: torch.Tensor, batch: batches.Batch) -> torch.Tensor:
    loss = F.nll_loss(log_probabilities.transpose(1, 2), batch.targets, ignore_index=batches.IGNORED, reduction="none")
    # Without speech the start token should be followed by "no speech" mostly.
    no_speech = -log_probabilities[..., tokens.NO_SPEECH]
    loss = torch.where(batch.silent, (1 - _NO_SPEECH_SHARE) * loss + _NO_SPEECH_SHARE * no_speech, loss)
    return loss.sum() / (batch.targets >= 0).sum()


def _share_right(log_probabilities: torch.Tensor, batch: batches.Batch) -> torch.Tensor:
    asked = batch.targets >= 0
    return ((log_probabilities.argmax(-1) == batch.targets) & asked).sum() / asked.sum()


def _divergence(one: torch.Tensor, other: torch.Tensor, batch: batches.Batch) -> torch.Tensor:
    """How far two distributions of the next token are apart, either from the other."""
    asked = (batch.targets >= 0)[:, :, None]
    return ((one.exp() - other.exp()) * (one - other) * asked).sum() / asked.sum()


def _look_loss(attentions: list[torch.Tensor], batch: batches.Batch) -> torch.Tensor:
    """The heads that tell the time have to look at the word that is to come: at all of it,
    since whisper.cpp smooths what they see and would lose sight of a single moment."""
    next_word = batch.token_words[:, :, None]
    wanted = ((next_word == batch.frame_words[:, None]) & (next_word > 0)).float()
    length = wanted.sum(2, keepdim=True)
    wanted = wanted / length.clamp(min=1)
    looks = [attentions[layer][:, head, :, : batch.context] for layer, head in ALIGNMENT_HEADS]
    apart = [-(wanted * (look.float() * length).clamp(min=1e-4).log()).sum(2) for look in looks]
    said = length[:, :, 0] > 0
    return sum(part.sum() for part in apart) / len(looks) / said.sum().clamp(min=1)


def _ctc_loss(logits: torch.Tensor, batch: batches.Batch) -> torch.Tensor:
    log_probabilities = F.log_softmax(logits, -1).transpose(0, 1)
    lengths = torch.full((len(batch.lengths),), batch.context)
    counts = torch.tensor(batch.word_counts)
    loss = F.ctc_loss(log_probabilities, batch.words, lengths, counts, zero_infinity=True, reduction="sum")
    # At least one to a clip, or a batch without speech would count as much as a hundred others.
    return loss / max(len(batch.lengths), sum(batch.word_counts))


def _frame_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.transpose(1, 2), targets)


class _Log:
    """Means since the last line."""

    def __init__(self):
        self._started = self._printed = time.monotonic()
        self._clear()

    def add(self, losses: dict[str, torch.Tensor], examples: int, waited: float) -> None:
        # Summed where they are: to fetch each number would make the GPU wait.
        for name, value in losses.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value.detach(), count + 1
        self._examples += examples
        self._steps += 1
        self._waited += waited

    def print_at_times(self, step: int, rate: float) -> bool:
        """Whether it was time."""
        now = time.monotonic()
        if now - self._printed < _LOG_EVERY:
            return False
        means = " ".join(f"{name} {float(total) / count:.3f}" for name, (total, count) in self._sums.items())
        took = time.monotonic() - self._printed
        print(
            f"step {step}, {now - self._started:.0f} s, {self._steps / took:.1f} steps/s, "
            f"{self._examples / took:.0f} examples/s, {self._waited / took:.0%} waited for them, rate {rate:.5f}: {means}",
            flush=True,
        )
        self._printed = time.monotonic()
        self._clear()
        return True

    def _clear(self) -> None:
        self._sums: dict[str, tuple] = {}
        self._examples = self._steps = 0
        self._waited = 0.0


class _Clock:
    """How long the parts of a step take, each waited for; without a device, nothing."""

    def __init__(self, device: torch.device | None):
        self._device = device
        self._last = time.monotonic()
        self._laps: dict[str, list[float]] = {}

    def lap(self, part: str) -> None:
        """What ran since the last call was that part."""
        if not self._device:
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.monotonic()
        self._laps.setdefault(part, []).append(now - self._last)
        self._last = now

    def print(self) -> None:
        """Milliseconds since the last line: mean, and median."""
        if not self._device:
            return
        parts = (
            f"{part} {1000 * sum(laps) / len(laps):.1f} ({1000 * sorted(laps)[len(laps) // 2]:.1f})"
            for part, laps in self._laps.items()
        )
        print("ms, mean (median): " + ", ".join(parts), flush=True)
        self._laps.clear()
