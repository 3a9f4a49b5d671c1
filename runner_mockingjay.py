"""Pre-train masked-frame Transformers on speech, test and plot them, extract their representations."""

import argparse
import json
import math
import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downstream.classic_flags import add_classic_flags
from utility.command import Parser, run, seed, shard

if TYPE_CHECKING:
    from mockingjay.config import PretrainConfig
    from mockingjay.original_api import MockingjayModel
    from mockingjay.representation import Layers
    from mockingjay.solver import Pretrained

DEFAULT_CONFIG = Path("config/mockingjay_libri.yaml")
DEFAULT_SEED = 1337
CORPORA = ("libri", "timit", "any", "apc", "alignment")  # each with a script in preprocess/
EXAMPLES = """\
examples:
  python runner_mockingjay.py --train --config config/mockingjay_demo.yaml
  python runner_mockingjay.py --train --config config/mockingjay_demo.yaml --resume trainer.steps=4000
  python runner_mockingjay.py --test --ckpt mockingjay_demo_sd1337/best.ckpt
  python runner_mockingjay.py --plot --with_head --ckpt mockingjay_demo_sd1337/best.ckpt
  python runner_mockingjay.py --extract --ckpt mockingjay_demo_sd1337/best.ckpt --input recordings/ --layer all
"""


def parser() -> Parser:
    """The originals' flags, and those that came since."""
    usage = "%(prog)s --train | --test | ... [options] [section.key=value ...]"
    p = Parser(prog="runner_mockingjay.py", description=__doc__, epilog=EXAMPLES, usage=usage)
    mode = p.add_argument_group("what to do (one of)").add_mutually_exclusive_group(required=True)
    mode.add_argument("--train", action="store_true", help="pre-train")
    mode.add_argument("--test", action="store_true", help="masked loss of the test set, and its representations")
    mode.add_argument(
        "--plot",
        action="store_true",
        help="hidden states, or what --with_head, --output_attention and --alterations say",
    )
    mode.add_argument("--extract", action="store_true", help="representations of a store or of audio")
    doors = "the model as a folder for Transformers, for S3PRL, or for anything that reads safetensors"
    mode.add_argument("--export", choices=("hf", "s3prl", "safetensors"), help=doors)

    mode.add_argument(
        "--preprocess",
        nargs="?",
        choices=CORPORA,
        help="features of a corpus (default: libri); other flags are those of preprocess/preprocess_<corpus>.py",
    )
    about = "what a checkpoint is, ours or the originals': format, model, features, steps done, config"
    mode.add_argument("--info", type=Path, metavar="CKPT", help=about)
    add_classic_flags(p, mode)

    common = p.add_argument_group("run")
    common.add_argument("overrides", nargs="*", metavar="section.key=value", help="change values of the config")
    common.add_argument("--config", type=Path, help=f"YAML config for --train (default: {DEFAULT_CONFIG})")
    common.add_argument("--seed", type=seed, help=f"of weights, batches, masks and dropout (default: {DEFAULT_SEED})")
    common.add_argument("--name", help="name of the run (default: <config>_sd<seed>)")
    common.add_argument("--logdir", type=Path, default=Path("log/log_mockingjay"), help="TensorBoard and metrics.jsonl")
    common.add_argument("--ckpdir", type=Path, default=Path("result/result_mockingjay"), help="checkpoints")
    common.add_argument("--ckpt", type=Path, help="a checkpoint: its path, or its path below --ckpdir")
    common.add_argument("--cpu", action="store_true", help="compute on the CPU even where there is a GPU")
    common.add_argument("--no-msg", "--no_msg", action="store_true", dest="quiet", help="no messages, no progress bar")

    train = p.add_argument_group("--train")
    train.add_argument("--resume", action="store_true", help="continue the newest checkpoint of this run, exactly")
    train.add_argument(
        "--load", action="store_true", help="continue --ckpt, exactly; without --ckpt the same as --resume"
    )

    other = p.add_argument_group("--test, --plot and --extract")
    other.add_argument("--input", type=Path, help="store/split, folder of audio or one recording (default: data.test)")
    other.add_argument("--output", type=Path, help="folder to write to (default: <checkpoint>-dump beside it)")
    other.add_argument("--with_head", "--with-head", action="store_true", help="plot true, predicted and filled frames")
    other.add_argument("--output_attention", "--output-attention", action="store_true", help="plot attention")
    other.add_argument("--alterations", action="store_true", help="plot what --config, or --ckpt, hides of its input")
    other.add_argument("--num", type=int, default=10, help="utterances to plot")
    layers = "last, all, a number (0 = embedding), or ws:FILE for the weights in a probe's result.json"
    other.add_argument("--layer", default="last", help=layers)
    other.add_argument("--format", choices=("npy", "ark"), default="npy", help="feature store or Kaldi archive")
    other.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of a stored number")
    other.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the computation")
    other.add_argument(
        "--shard", type=shard, default="1/1", metavar="I/N", help="do part I of N, other machines the others"
    )
    return p


def main(argv: Sequence[str]) -> int | None:
    """Run one mode."""
    if any(word.partition("=")[0] == "--preprocess" for word in argv):
        return preprocess(argv)
    args = parser().parse_intermixed_args(argv)
    if args.train:
        return train(args)
    if args.classic:
        return probe(args)
    if args.plot and args.alterations and args.ckpt is None:
        return plot_alterations(args)
    for name in ("config", "name", "seed"):
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} belongs to --train; a checkpoint brings its own")
    if args.info is not None:
        return info(args)
    if args.ckpt is None:
        raise ValueError("which model? add --ckpt result/result_mockingjay/<run>/best.ckpt")
    if args.export:
        return export(args)
    if args.test:
        return test(args)
    return plot(args) if args.plot else extract(args)


def get_mockingjay_model(from_path: str | Path, display_settings: bool = False) -> "MockingjayModel":
    """The originals' call; it is `mockingjay.original_api.get_mockingjay_model`."""
    from mockingjay import original_api

    return original_api.get_mockingjay_model(from_path, display_settings)


def preprocess(argv: Sequence[str]) -> None:
    """Run a script of preprocess/ with the other words, as if it had been called: nobody imports those."""
    at = next(i for i, word in enumerate(argv) if word.partition("=")[0] == "--preprocess")
    name, rest = argv[at].partition("=")[2], [*argv[:at], *argv[at + 1 :]]
    if not name and at < len(rest) and not rest[at].startswith("-"):
        name = rest.pop(at)
    if (name or "libri") not in CORPORA:
        raise ValueError(f"--preprocess {name}: expected one of {', '.join(CORPORA)}")
    script = Path(__file__).parent / "preprocess" / f"preprocess_{name or 'libri'}.py"
    sys.argv = [str(script), *rest]
    runpy.run_path(str(script), run_name="__main__")


def probe(args: argparse.Namespace) -> None:
    """The originals' probing flags."""
    from downstream.classic import run_classic

    ckpt = args.apc_path if args.run_apc else args.ckpt
    run_classic(args, None if ckpt is None else _below(args.ckpdir, ckpt))


def train(args: argparse.Namespace) -> None:
    """Pre-train from scratch, or continue a checkpoint exactly."""
    from mockingjay.config import PretrainConfig
    from mockingjay.solver import STEM, Place, continue_from, load_pretrained, make_trainer
    from utility.config import as_dict, changes, resolve, write_yaml
    from utility.device import pick_device
    from utility.distributed import Group
    from utility.files import check_folder
    from utility.trainer import newest_checkpoint

    seed = DEFAULT_SEED if args.seed is None else args.seed
    source = args.config or DEFAULT_CONFIG
    name = args.name or f"{source.stem}_sd{seed}"
    directory, log = args.ckpdir / name, args.logdir / name
    check_folder(directory)
    check_folder(log)
    start = _checkpoint(args) if args.load and args.ckpt else newest_checkpoint(directory, STEM)
    if args.resume or args.load:
        if start is None:
            raise ValueError(f"{directory} has no checkpoint to continue: start the run without --resume")
        saved = load_pretrained(start)
        config = resolve(PretrainConfig, args.config or as_dict(saved.config), args.overrides)
        if args.seed not in (None, saved.seed):
            raise ValueError(f"{start} was trained with --seed {saved.seed}, not {args.seed}")
        seed = saved.seed
        for change in changes(saved.config, config):
            _say(args, f"changed since {start.name}: {change}")
    else:
        if start is not None:
            raise ValueError(f"{start} exists: add --resume to continue that run, or --name for another one")
        config = resolve(PretrainConfig, source, args.overrides)
    device = pick_device(args.cpu)
    group = Group.join(device)
    args.quiet |= not group.leads
    trainer = make_trainer(config, seed, Place(directory, log, device, args.quiet, group))
    if start is not None:
        continue_from(trainer, start)
    if group.leads:
        directory.mkdir(parents=True, exist_ok=True)
        write_yaml(config, directory / "config.yaml")
    millions = sum(p.numel() for p in trainer.task.module.parameters()) / 1e6
    _say(args, f"{name}: {millions:.1f} M parameters, from step {trainer.progress.step} to {config.trainer.steps}")
    progress = trainer.fit()
    group.leave()
    best = "" if progress.best is None else f", best dev loss {progress.best:.4f} at step {progress.best_step}"
    _say(args, f"checkpoints in {directory}, figures: tensorboard --logdir {args.logdir}{best}")


def info(args: argparse.Namespace) -> None:
    """Print what a checkpoint is."""
    from mockingjay.describe import describe

    print(describe(_below(args.ckpdir, args.info)))


def test(args: argparse.Namespace) -> int:
    """Masked loss of the test set with fixed masks, and its representations."""
    from mockingjay.inspection import Inspection
    from utility.device import pick_device
    from utility.files import replacing

    found, folder = _open(args), _folder(args)
    paths = _paths(args, found.config)
    inspection = Inspection.open(found, paths, folder, pick_device(args.cpu))
    code = extract(args)
    loss = inspection.loss()
    with replacing(folder / "test.json") as temporary:
        temporary.write_text(json.dumps({"loss": loss, "data": paths, "checkpoint": str(_checkpoint(args))}) + "\n")
    print(f"masked L1 {loss:.4f} on {', '.join(paths)}")
    return code


def plot(args: argparse.Namespace) -> None:
    """Pictures of the first utterances of the test set."""
    from mockingjay.inspection import Inspection
    from utility.device import pick_device

    if args.num < 1:
        raise ValueError(f"--num is {args.num}: plot at least one utterance")
    layers = _layers(args.layer)
    if args.layer != "last" and not isinstance(layers.which, tuple):
        raise ValueError(f"--layer {args.layer}: --plot draws the first and the last, and takes only weights, ws:FILE")
    found = _open(args)
    inspection = Inspection.open(found, _paths(args, found.config), _folder(args), pick_device(args.cpu))
    if args.alterations:
        saved = inspection.plot_alterations(args.num)
    elif args.with_head:
        saved = inspection.plot_reconstructions(args.num)
        silent = inspection.silent_because()
        if silent:
            _say(args, f"no waveforms: {silent}")
    elif args.output_attention:
        saved = inspection.plot_attention(args.num)
    else:
        saved = inspection.plot_hidden_states(layers, args.num)
    _say(args, f"{len(saved)} files in {inspection.folder}")


def plot_alterations(args: argparse.Namespace) -> None:
    """Pictures of what a config hides, without a model."""
    from mockingjay.config import PretrainConfig
    from mockingjay.inspection import draw_alterations
    from mockingjay.solver import open_data
    from utility.config import resolve
    from utility.files import check_folder

    source = args.config or DEFAULT_CONFIG
    config = resolve(PretrainConfig, source, args.overrides)
    folder = args.output or args.ckpdir / f"{source.stem}-alterations"
    check_folder(folder)
    data = open_data(_paths(args, config), [], config.loader)
    _say(args, f"{len(draw_alterations(config, data, folder, args.num))} files in {folder}")


def extract(args: argparse.Namespace) -> int:
    """Write representations; 1 when some recordings could not be used."""
    from mockingjay.representation import AudioFolder, Representing, represent, write_ark
    from mockingjay.upstream import load_upstream
    from utility.device import pick_device
    from utility.store import Store

    if args.format == "ark" and args.layer == "all":
        raise ValueError("--format ark holds one vector per frame, not all layers: choose one by --layer")
    found = _open(args)
    how = Representing(_layers(args.layer), args.dtype, args.precision, shard=args.shard, quiet=args.quiet)
    paths = _paths(args, found.config)
    if args.input is None or args.input.with_name(f"{args.input.name}.csv").is_file():
        corpus = Store(paths)
    elif not args.input.exists():
        raise FileNotFoundError(f"--input {args.input}: neither a store/split nor a recording or folder of audio")
    elif found.features is None:
        raise ValueError(f"{args.ckpt} does not say which features it takes: extract from a store, not from audio")
    else:
        corpus = AudioFolder(args.input, found.features)
    upstream = load_upstream("transformer", _checkpoint(args), corpus.info, device=pick_device(args.cpu))
    folder, split = _folder(args), Path(paths[0]).stem if len(paths) == 1 else "test"
    if not represent(upstream, corpus, folder, split, how):
        _say(args, f"{folder / split}: this shard is done, others are not yet")
        return 0
    store = Store([folder / split])
    if args.format == "ark":
        write_ark(store, folder / split)
    failed = len(corpus.ids) - len(store)
    _say(args, f"{len(store)} utterances, {store.lengths.sum()} frames of {store.info.row_shape} in {folder / split}")
    if failed:
        print(f"{failed} recordings not used, see {folder / 'errors.csv'}", file=sys.stderr)
    return int(failed > 0)


def export(args: argparse.Namespace) -> None:
    """Write the model as a folder that other programs load."""
    from mockingjay.export import write_door
    from mockingjay.solver import load_pretrained

    if args.overrides:
        raise ValueError(f"--export writes the checkpoint as it is: {args.overrides[0]} cannot change it")
    path = _checkpoint(args)
    folder = args.output or path.with_name(f"{path.stem}-{args.export}")
    write_door(load_pretrained(path), args.export, folder)
    _say(args, f"{args.export}: {folder}")


def _checkpoint(args: argparse.Namespace) -> Path:
    return _below(args.ckpdir, args.ckpt)


def _below(directory: Path, path: Path) -> Path:
    below = directory / path
    return below if below.is_file() and not path.is_file() else path


def _open(args: argparse.Namespace) -> "Pretrained":
    """The checkpoint, its config changed by what the command line says."""
    from mockingjay.config import PretrainConfig
    from mockingjay.solver import load_pretrained
    from utility.config import as_dict, resolve

    found = load_pretrained(_checkpoint(args))
    return replace(found, config=resolve(PretrainConfig, as_dict(found.config), args.overrides))


def _paths(args: argparse.Namespace, config: "PretrainConfig") -> list[str]:
    paths = [str(args.input)] if args.input else config.data.test
    if not paths:
        raise ValueError("no test set: add --input store/split, or data.test=[store/split]")
    return paths


def _folder(args: argparse.Namespace) -> Path:
    from utility.files import check_folder

    path = _checkpoint(args)
    folder = args.output or path.with_name(f"{path.stem}-dump")
    check_folder(folder)
    return folder


def _layers(text: str) -> "Layers":
    from mockingjay.representation import Layers

    if text in ("last", "all"):
        return Layers(text)
    if text.isdecimal():
        return Layers(int(text))
    kind, _, file = text.partition(":")
    if kind != "ws" or not file:
        raise ValueError(f"--layer {text!r}: expected last, all, a number, or ws:FILE")
    try:
        weights = json.loads(Path(file).read_text(encoding="utf-8"))["layer_weights"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"--layer {text}: {file} is not a result.json with layer_weights") from None
    if not weights:
        raise ValueError(f"--layer {text}: that probe learnt no layer weights; run it with --weighted_sum")
    if not isinstance(weights, list) or not all(isinstance(w, int | float) and math.isfinite(w) for w in weights):
        raise ValueError(f"--layer {text}: layer_weights are {weights!r}, expected numbers")
    return Layers(tuple(weights))


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(text)


if __name__ == "__main__":
    run(main)
