"""Probe or fine-tune an upstream: phones, speakers, classes and numbers of your own, from frames or utterances."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import utility.openmp  # noqa: F401, before PyTorch is loaded
from commands.chosen import check_resume, named_upstream
from commands.curve_flags import with_curve
from commands.settings import Probe
from downstream.tasks.table import TASKS, find_task
from mockingjay.foreign.assumptions import ABOUT, parse_assumptions
from mockingjay.runs import CKPDIR, PROBING_LOGDIR, chosen_checkpoint
from mockingjay.upstreams.spec import GRAMMAR, UpstreamSpec
from originals.flags import ALIASES, PROBING_ANSWERS, in_our_words
from utility.command import run
from utility.flags import DEFAULT_SEED, Command, Mode, Parser, folder_name, seed

LAYERS = (
    "hidden state that is probed: a number (0: embedding), a label (T3, C7), last or average (default: last); all, or "
    "A,B,... with probe.solver=exact: one after the other, and dev chooses"
)
MODES = (
    Mode("--run"),
    Mode("--compare", overrides=()),
    Mode("--score", overrides=()),
    Mode("--lowest_wer", overrides=()),
)
RUN = ("--run",)
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
  python run_downstream.py --run phone_linear --upstream a=pretrained:run_a --upstream baseline --config my.yaml \\
      --each data.label_fraction=1,0.1,0.01 --seeds 3
  python run_downstream.py --compare result/result_baseline_phone_linear/a result/result_pretrained_phone_linear/b
  python run_downstream.py --score reference.trn hypothesis.trn

A run leaves result.json, config.yaml, confusion.png, curves.png, metrics.jsonl and checkpoints in
EXPDIR/result_UPSTREAM_TASK/NAME; with --sweep, --seeds or --folds in folders below it, and summary.json beside them.
Its curves for TensorBoard are in LOGDIR/result_UPSTREAM_TASK/NAME: tensorboard --logdir log/ shows all runs.
--each leaves a folder for each value, and curve.json, curve.png and curve.svg beside them.
--fine_tune leaves the tuned upstream too. --compare, --score and --lowest_wer leave nothing.
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
    names = f"one of the tasks below, or SUPERB's or S3PRL's name of one ({', '.join(ALIASES)})"
    parser.add("--run", group=what, metavar="TASK", help=names)
    parser.add(
        "--upstream",
        group=what,
        modes=RUN,
        action="append",
        default=[],
        metavar="[NAME=]SPEC",
        help=f"{GRAMMAR}. The default is pretrained: of --ckpt, or of the run of runner_mockingjay.py --train. "
        "pretrained_head:... has its head's state as the last layer, random:... fresh weights, baseline is the "
        "features themselves. NAME is what results call it; the old word transformer means pretrained. "
        "Repeated with --each: a curve of each",
    )
    about = "of the upstream, if it does not name one: a file, a path below --ckpdir, or a run's folder"
    parser.add("--ckpt", group=what, modes=RUN, type=Path, help=about)
    parser.add("--assume", group=what, modes=RUN, type=parse_assumptions, metavar="KEY=VALUE,...", help=ABOUT)
    parser.add("--ckpdir", group=what, modes=RUN, type=Path, default=CKPDIR, help="folder of the pre-training runs")
    parser.add("--layer", group=what, modes=RUN, help=LAYERS)
    about = "probe a learnt softmax sum of all hidden states, or of those of --layer A,B,..."
    parser.add_boolean("--weighted_sum", None, group=what, modes=RUN, help=about)
    parser.add_boolean("--fine_tune", None, group=what, modes=RUN, help="train the upstream too, at probe.upstream_lr")
    _add_rest(parser)
    compared = parser.add_argument_group("comparison of finished runs")
    about = "folders of runs of one task: the others beside the first, with intervals of the paired differences"
    parser.add("--compare", group=compared, nargs="+", type=Path, metavar="DIR", help=about)
    files = parser.add_argument_group("scoring of files")
    about = "error rates of a table `reference TAB hypothesis`, or of two .trn files, that of the references first"
    parser.add("--score", group=files, nargs="+", type=Path, metavar="FILE", help=about)
    about = "the lowest rates of Kaldi's files wer_* below a folder, and their mean, as the originals' script"
    parser.add("--lowest_wer", group=files, type=Path, metavar="DIR", help=about)
    return parser


def _add_rest(parser: Parser) -> None:
    how = parser.add_argument_group("how")
    about = "keys that differ from the defaults (default: config/downstream.yaml, which shows all)"
    parser.add("--config", group=how, modes=RUN, type=Path, metavar="YAML", help=about)
    about = "features of recordings, where the upstream does not say them: YAML with a section online"
    parser.add("--online_config", group=how, modes=RUN, type=Path, metavar="YAML", help=about)
    about = "of weights and batches; the division has data.split_seed"
    parser.add("--seed", group=how, modes=RUN, type=seed, default=DEFAULT_SEED, help=about)
    about = "run seeds SEED ... SEED+N-1; report mean and spread"
    parser.add("--seeds", group=how, modes=RUN, type=int, default=1, metavar="N", help=about)
    about = "try these values of a config key, all combinations if repeated; dev chooses"
    parser.add("--sweep", group=how, modes=RUN, action="append", default=[], metavar="KEY=A,B", help=about)
    about = "a run for each group of data.group_column, or speaker, as the test part; report mean, spread, pooled score"
    parser.add_boolean("--folds", group=how, modes=RUN, help=about)
    about = "a whole run for each of these values of a config key, as data.label_fraction=1,0.1,0.01; draw the curve"
    parser.add("--each", group=how, modes=RUN, action="append", default=[], metavar="KEY=A,B", help=about)
    parser.add_boolean("--cpu", group=how, modes=RUN, help="do not use a GPU")
    about = "print the resolved config, the data and the sizes of the models, and end"
    parser.add_boolean("--dry_run", group=how, modes=RUN, help=about)
    where = parser.add_argument_group("where")
    folder: dict[str, Any] = {"group": where, "modes": RUN, "type": Path, "metavar": "DIR"}
    parser.add("--expdir", default=Path("result"), help="folder of all results", **folder)
    about = "folder of TensorBoard's files of all runs, each below its path in EXPDIR"
    parser.add("--logdir", default=PROBING_LOGDIR, help=about, **folder)
    about = "folder of this run (default: the next free exp_NNN)"
    parser.add("--name", group=where, modes=RUN, type=folder_name, help=about)
    about = "continue the run --name, or the run in DIR, exactly where it stopped; auto: begin where there is none"
    parser.add("--resume", group=where, modes=RUN, nargs="?", const="", metavar="DIR", help=about)
    parser.add_boolean("--msg", True, group=where, modes=RUN, help="progress bars; --no-msg for none")


def main(argv: Sequence[str]) -> int:
    """Run what the command line says and print the result."""
    command = make_parser().read(argv)
    if command.mode == "--compare":
        from commands.compare import compare

        return compare(command.values["compare"])
    if command.mode == "--score":
        from commands.score import score

        return score(command.values["score"])
    if command.mode == "--lowest_wer":
        from commands.score import lowest_wer

        return lowest_wer(command.values["lowest_wer"])
    settings = _settings(command)

    from commands.probe import probe  # heavy, and wanted only now

    return probe(settings)


def read(argv: Sequence[str]) -> Probe:
    """The settings of the probe that the words ask for."""
    return _settings(make_parser().read(argv))


def _settings(command: Command) -> Probe:
    named = command.values["run"]
    task = ALIASES.get(named, named)
    if task not in TASKS:
        find_task(task)  # says which there are
    check_resume(command.values, command.typed)
    if task != named and command.values["msg"]:
        print(f"task: {named} is {task} here")
    values = with_curve(command)
    upstreams = _upstreams(values, command.typed)
    return command.fill(Probe, run=task, upstreams=upstreams, each=values["each"], seeds=values["seeds"])


def _upstreams(values: Mapping[str, Any], typed: Mapping[str, str]) -> tuple[UpstreamSpec, ...]:
    """The upstreams, each with a name of its own; only a curve has several."""
    given = values["upstream"] or [None]
    if len(given) == 1:
        return (_upstream({**values, "upstream": given[0]}, typed),)
    apart = {name: flag for name, flag in typed.items() if name not in ("ckpt", "ckpdir", "assume")}  # of some of them
    specs = tuple(_upstream({**values, "upstream": text}, apart) for text in given)
    if "ckpt" in typed and not any(s.of_checkpoint and not s.source for s in map(UpstreamSpec.parse, given)):
        raise ValueError(f"--ckpt {values['ckpt']} would change nothing: every upstream names its own, or takes none")
    if "assume" in typed and not any(spec.of_checkpoint for spec in specs):
        raise ValueError(f"{typed['assume']} would change nothing: no upstream is a checkpoint")
    return specs


def _upstream(values: Mapping[str, Any], typed: Mapping[str, str]) -> UpstreamSpec:
    """An upstream, its checkpoint found as every command finds it."""
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
    return replace(UpstreamSpec.parse(values["upstream"] or "pretrained"), source=str(chosen))


if __name__ == "__main__":
    run(main)
