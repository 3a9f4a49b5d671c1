"""Pre-train masked-frame Transformers on speech, test and plot them, extract their representations."""

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import utility.openmp  # noqa: F401, before PyTorch is loaded
from commands.common import DEFAULT_CONFIG, below
from commands.export import export
from commands.extract import extract
from commands.inspect import info, plot, plot_alterations, test
from commands.pretrain import train
from originals.flags import add_classic_flags
from utility.command import DEFAULT_SEED, Parser, run, seed, shard

if TYPE_CHECKING:
    from originals.mockingjay_api import MockingjayModel

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
    about = "train straight from audio: YAML config with a section online, laid over --config (config/online.yaml)"
    train.add_argument("--online_config", "--online-config", type=Path, metavar="YAML", help=about)
    train.add_argument("--resume", action="store_true", help="continue the newest checkpoint of this run, exactly")
    train.add_argument(
        "--load", action="store_true", help="continue --ckpt, exactly; without --ckpt the same as --resume"
    )

    other = p.add_argument_group("--test, --plot and --extract")
    other.add_argument("--input", type=Path, help="store/split, folder of audio or one recording (default: data.test)")
    other.add_argument("--output", type=Path, help="folder to write to (default: <checkpoint>-dump beside it)")
    about = "put the new representations in place of those in --output (of --test and --extract)"
    other.add_argument("--overwrite", action="store_true", help=about)
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
    if args.overwrite and not (args.test or args.extract):
        raise ValueError("--overwrite belongs to --test and --extract")
    if args.overwrite and args.shard != (0, 1):
        raise ValueError("--overwrite removes what other shards write: remove the old folder, then start the shards")
    if args.train:
        return train(args)
    if args.classic:
        return probe(args)
    if args.plot and args.alterations and args.ckpt is None:
        return plot_alterations(args)
    for name in ("config", "online_config", "name", "seed"):
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
    """The originals' call; it is `originals.mockingjay_api.get_mockingjay_model`."""
    from originals import mockingjay_api

    return mockingjay_api.get_mockingjay_model(from_path, display_settings)


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
    from originals.probing import run_classic

    ckpt = args.apc_path if args.run_apc else args.ckpt
    run_classic(args, None if ckpt is None else below(args.ckpdir, ckpt))


if __name__ == "__main__":
    run(main)
