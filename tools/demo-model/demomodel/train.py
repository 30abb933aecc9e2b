"""The training loop."""

import math
import multiprocessing
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed
import torch.nn.functional as F

from . import batches, tokens
from .align import PHONES
from .corpus import Corpus
from .features import log_mel
from .model import Shape, Whisper

_QUEUED_BATCHES = 12
_NO_SPEECH_SHARE = 0.85


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
    frame_weight: float = 1.0
    ctc_weight: float = 0.3
    seed: int = 1
    processes: int = 2


def train(settings: Settings) -> None:
    """Trains, from a checkpoint if one is named, and writes a checkpoint every 500 steps and at the end.

    Processes of one thread each, with averaged gradients, are faster than as many threads in one.
    """
    if settings.processes == 1:
        _worker(0, settings)
        return
    # `spawn`: a forked child inherits torch's thread pool without its threads.
    context = multiprocessing.get_context("spawn")
    meeting_point = Path(f"{settings.checkpoint}.meeting").absolute()
    meeting_point.unlink(missing_ok=True)
    workers = [
        context.Process(target=_worker, args=(rank, settings, meeting_point)) for rank in range(settings.processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    meeting_point.unlink(missing_ok=True)
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a training process failed; see above")


def _worker(rank: int, settings: Settings, meeting_point: Path | None = None) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    if meeting_point:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=settings.processes
        )
    trainer = _Trainer(settings, leads=rank == 0)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue(_QUEUED_BATCHES)
    seed = settings.seed * 1000 + trainer.step + 7 * rank
    feeder = context.Process(target=_feed, args=(settings, seed, queue), daemon=True)
    feeder.start()
    try:
        while not trainer.finished():
            trainer.train_on(queue.get())
    finally:
        feeder.terminate()
    trainer.save()


def _feed(settings: Settings, seed: int, queue) -> None:
    torch.set_num_threads(1)
    os.nice(3)  # the gradients are what everyone waits for
    corpus = Corpus.load(settings.corpus)
    for batch in batches.Source(corpus, seed, settings.frames_per_batch, settings.long_share):
        queue.put(batch)


class _Trainer:
    """The model, its running average, and the optimiser."""

    def __init__(self, settings: Settings, leads: bool):
        self._settings = settings
        self._leads = leads
        self._shape = Shape()
        self.step = 0
        self._steps_here = 0
        self._started = time.monotonic()
        self._model = Whisper(self._shape, len(PHONES) + 1)
        if settings.resume:
            self._resume(settings.resume)
        self._average = {name: value.clone() for name, value in self._model.state_dict().items()}
        self._optimiser = torch.optim.AdamW(self._model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
        self._log = _Log()
        # The unused tokens share a row, which stands in the sum of the softmax for all of them.
        self._bias = torch.zeros(tokens.COMPACT_SIZE)
        self._bias[tokens.UNUSED] = math.log(tokens.UNUSED_COUNT)

    def finished(self) -> bool:
        """Whether the stretch is over; all processes agree, since each waits for the others' gradients."""
        over = self._progress() >= 1
        if torch.distributed.is_initialized():
            flag = torch.tensor([float(over)])
            torch.distributed.all_reduce(flag)
            return flag.item() > 0
        return over

    def train_on(self, batch: batches.Batch) -> None:
        """One step."""
        progress = self._progress()
        rate = self._rate(progress)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        losses, correct = self._losses(batch)
        frame_weight = self._settings.frame_weight * max(0.1, 1 - 1.5 * progress)
        loss = losses["text"] + self._settings.ctc_weight * losses["ctc"]
        loss = loss + frame_weight * (losses["phone"] + losses["word"])
        self._optimiser.zero_grad()
        loss.backward()
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        self._steps_here += 1
        self._update_average()
        if self._leads:
            self._log.add(losses, correct, len(batch.audio))
            if self.step % 100 == 0:
                self._log.print(self.step, time.monotonic() - self._started, rate)
            if self.step % 500 == 0:
                self.save()

    def save(self) -> None:
        """Writes the checkpoint, so that there is always a whole one."""
        if not self._leads:
            return
        path = self._settings.checkpoint
        unfinished = path.with_suffix(".part")
        state = {"shape": asdict(self._shape), "weights": self._model.state_dict(), "average": self._average}
        torch.save({**state, "step": self.step}, unfinished)
        unfinished.replace(path)

    def _resume(self, path: Path) -> None:
        state = torch.load(path)
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

    def _losses(self, batch: batches.Batch):
        mel = _masked(log_mel(batch.audio, batch.context))
        padding = -batch.context % 256 if torch.rand(1) < 0.25 else 0
        logits, audio, middle = self._model(mel, batch.text, padding)
        correct = ((logits.argmax(-1) == batch.targets) & (batch.targets >= 0)).sum().item()
        heads = self._model.heads
        losses = {
            "text": self._text_loss(logits, batch),
            "ctc": _ctc_loss(heads.ctc(audio), batch),
            "phone": _frame_loss(heads.frame_phone(heads.phone_ln(middle)), batch.frame_phones),
            "word": _frame_loss(heads.frame_word(audio), batch.frame_words),
        }
        return losses, correct / (batch.targets >= 0).sum().item()

    def _text_loss(self, logits: torch.Tensor, batch: batches.Batch) -> torch.Tensor:
        log_probabilities = F.log_softmax(logits + self._bias, -1)
        loss = F.nll_loss(
            log_probabilities.transpose(1, 2), batch.targets, ignore_index=batches.IGNORED, reduction="none"
        )
        # Without speech the start token should be followed by "no speech" mostly.
        no_speech = -log_probabilities[..., tokens.NO_SPEECH]
        loss = torch.where(batch.silent, (1 - _NO_SPEECH_SHARE) * loss + _NO_SPEECH_SHARE * no_speech, loss)
        return loss.sum() / (batch.targets >= 0).sum()

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
        keep = min(0.998, (1 + self._steps_here) / (10 + self._steps_here))
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                self._average[name].lerp_(value, 1 - keep)


def _masked(mel: torch.Tensor) -> torch.Tensor:
    """Up to two bands and two moments hidden, a third of the time each."""
    hide_bands, hide_moments = torch.rand(2) < 0.35
    for _ in range(2):
        if hide_bands:
            first, width = int(torch.randint(70, (1,))), int(torch.randint(1, 10, (1,)))
            mel[:, first : first + width] = mel.mean((1, 2), keepdim=True)
        if hide_moments:
            first, width = int(torch.randint(mel.shape[2] - 20, (1,))), int(torch.randint(1, 18, (1,)))
            mel[:, :, first : first + width] = mel.amin((1, 2), keepdim=True)
    return mel


def _ctc_loss(logits: torch.Tensor, batch: batches.Batch) -> torch.Tensor:
    log_probabilities = F.log_softmax(logits, -1).transpose(0, 1)
    lengths = torch.full((len(batch.audio),), batch.context)
    loss = F.ctc_loss(log_probabilities, batch.words, lengths, batch.word_counts, zero_infinity=True, reduction="sum")
    # At least one to a clip, or a batch without speech would count as much as a hundred others.
    return loss / max(len(batch.audio), int(batch.word_counts.sum()))


def _frame_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.transpose(1, 2), targets)


class _Log:
    """Means since the last line."""

    def __init__(self):
        self._examples = 0
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, losses: dict[str, torch.Tensor], correct: float, examples: int) -> None:
        for name, value in {**{name: loss.item() for name, loss in losses.items()}, "right": correct}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._examples += examples

    def print(self, step: int, seconds: float, rate: float) -> None:
        means = " ".join(f"{name} {total / self._count:.3f}" for name, total in self._sums.items())
        print(
            f"step {step}, {seconds:.0f} s, {self._examples / seconds:.0f} examples/s, rate {rate:.5f}: {means}",
            flush=True,
        )
        self._sums, self._count = {}, 0
