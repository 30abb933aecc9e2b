"""python3 -m demomodel record|train|export|evaluate|compare: the steps, in that order."""

import argparse
import sys
from pathlib import Path

import torch

from . import corpus, evaluate, export, ggml, synth, train
from .model import Shape


def main() -> int:
    """Runs one step; the exit status is the step's."""
    arguments = _parser().parse_args()
    return arguments.step(arguments) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demomodel", description=__doc__)
    steps = parser.add_subparsers(required=True)

    record = steps.add_parser("record", help="have the voices speak a set, and make a corpus of it")
    record.add_argument("corpus", type=Path, help="the .npz file to write")
    record.add_argument("--espeak", type=int, required=True, help="clips by espeak-ng")
    record.add_argument("--flite", type=int, required=True, help="clips by each flite voice")
    record.add_argument("--festival", type=int, default=0, help="clips by each festival voice")
    record.add_argument("--unknown-voices", action="store_true", help="voices that are never trained on")
    record.add_argument("--seed", type=int, required=True)
    record.add_argument("--workers", type=int, default=2)
    record.set_defaults(step=_record)

    learn = steps.add_parser("train", help="train, or go on training")
    learn.add_argument("--corpus", type=Path, required=True, help="a file, or a folder that grows")
    learn.add_argument("--checkpoint", type=Path, required=True, help="written every minute and at the end")
    learn.add_argument("--resume", type=Path, help="the checkpoint to begin with")
    length = learn.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    for name, kind in (("rate", float), ("warm-up", int), ("frames-per-batch", int), ("long-share", float),
                       ("full-share", float), ("frame-weight", float), ("ctc-weight", float), ("look-weight", float),
                       ("same-weight", float), ("average", float), ("seed", int), ("processes", int),
                       ("device", str)):  # fmt: skip
        default = getattr(train.Settings, name.replace("-", "_"))
        learn.add_argument(f"--{name}", type=kind, default=default, help=f"default {default}")
    learn.add_argument("--profile", action="store_true", help="log how long the parts of a step take; slower")
    learn.set_defaults(step=_train)

    save = steps.add_parser("export", help="write a model file from a checkpoint")
    save.add_argument("checkpoint", type=Path)
    save.add_argument("model", type=Path)
    save.add_argument("--type", choices=ggml.FILE_TYPES, default="q5_0")
    save.set_defaults(step=_export)

    test = steps.add_parser("evaluate", help="word error rates of a model file")
    test.add_argument("model", type=Path)
    test.add_argument("--known", type=Path, required=True, help="corpus of trained voices, not trained on")
    test.add_argument("--unknown", type=Path, required=True, help="corpus of other voices")
    test.add_argument("--clips", type=int, default=500, help="most clips of a set")
    test.set_defaults(step=_evaluate)

    compare = steps.add_parser("compare", help="whether two model files differ in weights only")
    compare.add_argument("models", type=Path, nargs=2)
    compare.set_defaults(step=_compare)
    return parser


def _record(arguments: argparse.Namespace) -> None:
    counts = synth.Counts(arguments.espeak, arguments.flite, arguments.festival)
    made = corpus.record(counts, arguments.seed, arguments.workers, arguments.unknown_voices)
    made.save(arguments.corpus)
    print(f"{arguments.corpus}: {len(made)} clips, {len(made.samples) / corpus.RATE / 3600:.2f} h")


def _train(arguments: argparse.Namespace) -> None:
    names = train.Settings.__dataclass_fields__
    train.train(train.Settings(**{name: value for name, value in vars(arguments).items() if name in names}))


def _export(arguments: argparse.Namespace) -> None:
    state = torch.load(arguments.checkpoint, map_location="cpu")
    # The running average of the weights is better than the last of them.
    export.export(state["average"], Shape(**state["shape"]), arguments.model, arguments.type)
    print(f"{arguments.model}: step {state['step']}, {arguments.model.stat().st_size} bytes")


def _evaluate(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    evaluate.evaluate(arguments.model, arguments.known, arguments.unknown, arguments.clips)


def _compare(arguments: argparse.Namespace) -> int:
    one, other = (ggml.read(path) for path in arguments.models)
    differences = one.differences(other)
    print("\n".join(differences) or "same structure")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
