"""Probe or fine-tune an upstream: phones and speakers, from frames or utterances."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import utility.openmp  # noqa: F401, before PyTorch is loaded
from downstream.config import DownstreamConfig
from downstream.experiment import Setting
from downstream.report import describe, run_folder
from downstream.sweep import Choice, choice_name, parse_sweep, run_many, run_single
from downstream.tasks.table import TASKS, find_task
from utility.command import DEFAULT_SEED, Parser, run, seed
from utility.config import resolve
from utility.device import claim_device
from utility.training.distributed import Group

OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)+=")
WITH_CHECKPOINT = ("transformer", "transformer_head", "random")
UPSTREAMS = (*WITH_CHECKPOINT, "baseline")
EXAMPLES = """
tasks:
{tasks}

examples:
  python run_downstream.py --run phone_linear --upstream baseline data.train=[data/libri/train-clean-100] \\
      data.test=[data/libri/test-other] data.alignment=data/libri_phones
  python run_downstream.py --run phone_linear --upstream transformer --ckpt result/result_mockingjay/base/best.ckpt \\
      --weighted_sum --config my.yaml --seeds 3 --sweep lr=1e-3,4e-3
  python run_downstream.py --run speaker_utterance --upstream my_package.models:Encoder --config my.yaml

A run leaves result.json, config.yaml, confusion.png, curves.png, metrics.jsonl, TensorBoard files and checkpoints in
EXPDIR/result_UPSTREAM_TASK/NAME; with --sweep or --seeds in folders below it, and summary.json beside them.
"""


def make_parser() -> Parser:
    """The command line."""
    tasks = "\n".join(f"  {name:<18} {about}" for name, about in TASKS.items())
    parser = Parser(
        prog="run_downstream.py", description=__doc__, epilog=EXAMPLES.format(tasks=tasks), usage="%(prog)s --run TASK "
        "--upstream UPSTREAM [options] [section.key=value ...]",
    )  # fmt: skip
    what = parser.add_argument_group("what is run")
    what.add_argument("--run", required=True, metavar="TASK", help="one of the tasks below")
    what.add_argument(
        "--upstream",
        required=True,
        help="transformer (pre-trained, needs --ckpt), transformer_head (the same, its head's state the last layer), "
        "random (same architecture, untrained: --ckpt names a checkpoint or a pre-training YAML), baseline (the "
        "features themselves), or your own nn.Module as package.module:Class",
    )
    what.add_argument("--ckpt", metavar="FILE", help="checkpoint of the upstream")
    what.add_argument("--layer", help="hidden state that is probed: 0 (embedding), 1 ... or last (default: last)")
    parser.add_boolean("--weighted_sum", default=None, help="probe a learnt softmax sum of all hidden states")
    parser.add_boolean("--fine_tune", default=None, help="train the upstream too, at probe.upstream_lr")
    how = parser.add_argument_group("how")
    how.add_argument("--config", metavar="YAML", help="keys that differ from the defaults (see config/downstream.yaml)")
    how.add_argument(
        "--seed", type=seed, default=DEFAULT_SEED, help="of weights and batches; the division has data.split_seed"
    )
    how.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="run seeds SEED ... SEED+N-1; report mean and spread"
    )
    how.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="KEY=A,B",
        help="try these values of a config key, all combinations if repeated; dev chooses",
    )
    how.add_argument("--cpu", action="store_true", help="do not use a GPU")
    where = parser.add_argument_group("where")
    where.add_argument("--expdir", type=Path, default=Path("result"), metavar="DIR", help="folder of all results")
    where.add_argument("--name", help="folder of this run (default: the next free exp_NNN)")
    where.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="DIR",
        help="continue the run --name, or the run in DIR, exactly where it stopped",
    )
    where.add_argument("--no-msg", action="store_true", help="no progress bars")
    return parser


def _split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of the command line without, and those that are, overrides `section.key=value`."""
    found = [i for i, word in enumerate(argv) if OVERRIDE.match(word) and argv[max(i - 1, 0)] != "--sweep"]
    return [word for i, word in enumerate(argv) if i not in found], [argv[i] for i in found]


def main(argv: Sequence[str]) -> int:
    """Run what the command line says and print the result."""
    words, overrides = _split_overrides(argv)
    options = make_parser().parse_args(words)
    task = find_task(options.run)
    directory = _directory(options)
    file = options.config
    if file is None and options.resume is not None and (directory / "config.yaml").is_file():
        file = directory / "config.yaml"
    choices = [
        Choice(choice_name(sweep), resolve(DownstreamConfig, file, [*_flags(options), *overrides, *sweep]))
        for sweep in parse_sweep(options.sweep)
    ]
    ckpt = _checkpoint(options)
    config, device = choices[0].config, claim_device(options.cpu)
    group = Group.join(device)
    quiet = options.no_msg or not group.leads
    setting = Setting(task, options.upstream, ckpt, config, options.seed, device, quiet, group)
    single = options.seeds == 1 and not options.sweep
    if group.world > 1 and not (single and config.upstream.fine_tune):
        raise ValueError("several processes are for one --fine_tune run, without --seeds and --sweep; start this alone")
    if single:
        found = run_single(setting, directory)
        if found is not None:
            print(describe(found, directory))
        group.leave()
    else:
        seeds = range(options.seed, options.seed + options.seeds)
        _print_summary(run_many(setting, choices, seeds, directory), directory)
    return 0


def _flags(options: argparse.Namespace) -> list[str]:
    flags = {"layer": options.layer, "weighted_sum": options.weighted_sum, "fine_tune": options.fine_tune}
    return [f"upstream.{name}={value}" for name, value in flags.items() if value is not None]


def _checkpoint(options: argparse.Namespace) -> Path | None:
    name = options.upstream
    if name not in UPSTREAMS and ":" not in name:
        raise ValueError(f"unknown upstream {name!r}: expected {', '.join(UPSTREAMS)} or package.module:Class")
    if options.ckpt is None:
        if name in WITH_CHECKPOINT:
            raise ValueError(f"--upstream {name} needs --ckpt, e.g. result/result_mockingjay/<run>/best.ckpt")
        return None
    if name not in WITH_CHECKPOINT:
        raise ValueError(f"--upstream {name} takes no checkpoint, got --ckpt {options.ckpt}")
    if not Path(options.ckpt).is_file():
        raise ValueError(f"--ckpt {options.ckpt} does not exist")
    return Path(options.ckpt)


def _directory(options: argparse.Namespace) -> Path:
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds}: expected at least 1")
    return run_folder(options.expdir, options.upstream, options.run, options.name, options.resume)


def _print_summary(summary: dict, directory: Path) -> None:
    names = [*summary["seeds"][0]["tried"]]
    if names != [""]:
        print(f"{'seed':>6}  {'setting':<32} {'dev %':>7} {'test %':>7}")
    for row in summary["seeds"]:
        for name, dev in row["tried"].items():
            chosen = name == row["chosen"]
            test = f"{row['test_accuracy']:7.2f} <- chosen on dev" if chosen else f"{'':7}"
            print(f"{row['seed']:>6}  {name or '(as configured)':<32} {dev:7.2f} {test}".rstrip())
    spread = f" +- {summary['test_deviation']:.2f}" if summary["test_deviation"] is not None else ""
    print(
        f"{summary['task']} {summary['upstream']}: test {summary['test_mean']:.2f}{spread} %, {summary['runs']} seeds "
        f"(dev {summary['dev_mean']:.2f}); {directory}/summary.json"
    )


if __name__ == "__main__":
    run(main)
