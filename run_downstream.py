"""Probe or fine-tune an upstream: phones, speakers and classes of your own, from frames or utterances."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import utility.openmp  # noqa: F401, before PyTorch is loaded
from commands.chosen import check_resume, named_upstream
from commands.settings import Probe
from downstream.tasks.table import TASKS, find_task
from mockingjay.foreign.assumptions import ABOUT, parse_assumptions
from mockingjay.runs import CKPDIR, chosen_checkpoint
from mockingjay.upstreams.spec import GRAMMAR, UpstreamSpec
from originals.flags import PROBING_ANSWERS, in_our_words
from utility.command import run
from utility.flags import DEFAULT_SEED, Mode, Parser, folder_name, seed

LAYERS = (
    "hidden state that is probed: a number (0: embedding), a label (T3, C7), last or average (default: last); all, or "
    "A,B,... with probe.solver=exact: one after the other, and dev chooses"
)
MODES = (Mode("--run"),)
EXAMPLES = """
tasks:
{tasks}

examples:
  python run_downstream.py --run phone_linear --upstream baseline data.train=[data/libri/train-clean-100] \\
      data.test=[data/libri/test-other] data.alignment=data/libri_phones
  python run_downstream.py --run phone_linear --ckpt base --weighted_sum --config my.yaml --seeds 3 --sweep lr=1e-3,4e-3
  python run_downstream.py --run phone_linear --upstream hubert=hf:models/hubert --layer T9 --config my.yaml
  python run_downstream.py --run speaker_utterance --upstream my_package.models:Encoder --config my.yaml
  python run_downstream.py --run utterance --upstream baseline --config moods.yaml data.label_column=emotion --folds

A run leaves result.json, config.yaml, confusion.png, curves.png, metrics.jsonl, TensorBoard files and checkpoints in
EXPDIR/result_UPSTREAM_TASK/NAME; with --sweep, --seeds or --folds in folders below it, and summary.json beside them.
--fine_tune leaves the tuned upstream too.
"""


def make_parser() -> Parser:
    """The command line."""
    tasks = "\n".join(f"  {name:<18} {about}" for name, about in TASKS.items())
    parser = Parser(
        MODES,
        answers=PROBING_ANSWERS,
        translate=in_our_words,
        no_mode=f"which task? add --run TASK: one of {', '.join(TASKS)}",
        prog="run_downstream.py",
        description=__doc__,
        epilog=EXAMPLES.format(tasks=tasks),
        usage="%(prog)s --run TASK [--upstream UPSTREAM] [options] [section.key=value ...]",
    )
    what = parser.add_argument_group("what is run")
    parser.add("--run", group=what, metavar="TASK", help="one of the tasks below")
    parser.add(
        "--upstream",
        group=what,
        metavar="[NAME=]SPEC",
        help=f"{GRAMMAR}. The default is pretrained: of --ckpt, or of the run of runner_mockingjay.py --train. "
        "pretrained_head:... has its head's state as the last layer, random:... fresh weights, baseline is the "
        "features themselves. NAME is what results call it; the old word transformer means pretrained",
    )
    about = "of the upstream, if it does not name one: a file, a path below --ckpdir, or a run's folder"
    parser.add("--ckpt", group=what, type=Path, help=about)
    parser.add("--assume", group=what, type=parse_assumptions, metavar="KEY=VALUE,...", help=ABOUT)
    parser.add("--ckpdir", group=what, type=Path, default=CKPDIR, help="folder of the pre-training runs")
    parser.add("--layer", group=what, help=LAYERS)
    about = "probe a learnt softmax sum of all hidden states, or of those of --layer A,B,..."
    parser.add_boolean("--weighted_sum", None, group=what, help=about)
    parser.add_boolean("--fine_tune", None, group=what, help="train the upstream too, at probe.upstream_lr")
    _add_rest(parser)
    return parser


def _add_rest(parser: Parser) -> None:
    how = parser.add_argument_group("how")
    about = "keys that differ from the defaults (default: config/downstream.yaml, which shows all)"
    parser.add("--config", group=how, type=Path, metavar="YAML", help=about)
    about = "features of recordings, where the upstream does not say them: YAML with a section online"
    parser.add("--online_config", group=how, type=Path, metavar="YAML", help=about)
    about = "of weights and batches; the division has data.split_seed"
    parser.add("--seed", group=how, type=seed, default=DEFAULT_SEED, help=about)
    about = "run seeds SEED ... SEED+N-1; report mean and spread"
    parser.add("--seeds", group=how, type=int, default=1, metavar="N", help=about)
    about = "try these values of a config key, all combinations if repeated; dev chooses"
    parser.add("--sweep", group=how, action="append", default=[], metavar="KEY=A,B", help=about)
    about = "a run for each group of data.group_column, or speaker, as the test part; report mean, spread, pooled score"
    parser.add_boolean("--folds", group=how, help=about)
    parser.add_boolean("--cpu", group=how, help="do not use a GPU")
    about = "print the resolved config, the data and the sizes of the models, and end"
    parser.add_boolean("--dry_run", group=how, help=about)
    where = parser.add_argument_group("where")
    parser.add("--expdir", group=where, type=Path, default=Path("result"), metavar="DIR", help="folder of all results")
    parser.add("--name", group=where, type=folder_name, help="folder of this run (default: the next free exp_NNN)")
    about = "continue the run --name, or the run in DIR, exactly where it stopped; auto: begin where there is none"
    parser.add("--resume", group=where, nargs="?", const="", metavar="DIR", help=about)
    parser.add_boolean("--msg", True, group=where, help="progress bars; --no-msg for none")


def main(argv: Sequence[str]) -> int:
    """Run what the command line says and print the result."""
    settings = read(argv)

    from commands.probe import probe  # heavy, and wanted only now

    return probe(settings)


def read(argv: Sequence[str]) -> Probe:
    """The settings of the probe that the words ask for."""
    command = make_parser().read(argv)
    values = command.values
    if values["run"] not in TASKS:
        find_task(values["run"])  # says which there are
    check_resume(values, command.typed)
    return command.fill(Probe, upstream=_upstream(values, command.typed))


def _upstream(values: Mapping[str, Any], typed: Mapping[str, str]) -> UpstreamSpec:
    """The upstream, its checkpoint found as every command finds it."""
    if values["upstream"] == "apc":
        raise ValueError(
            "--upstream apc: type --upstream pretrained --ckpt FILE, an APC checkpoint opens like any other"
        )
    if (spec := named_upstream(values, typed)) is not None:
        return spec
    try:
        chosen = chosen_checkpoint(None, None, None, None, values["ckpdir"])
    except ValueError as error:
        raise ValueError(f"which upstream? {error}; --upstream baseline probes the features themselves") from None
    if values["msg"]:
        print(f"checkpoint: {chosen}")
    return UpstreamSpec("pretrained", str(chosen), word="pretrained")


if __name__ == "__main__":
    run(main)
