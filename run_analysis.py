"""Look inside the layers of upstreams: what each holds of phones, words, speakers and the input, without training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import utility.openmp  # noqa: F401, before PyTorch is loaded
from analysis.experiment_names import ALL, EXPERIMENTS, NEEDS, parse_names, without_upstream
from commands.chosen import check_resume, named_upstream
from commands.settings import Analyse
from mockingjay.foreign.assumptions import ABOUT, parse_assumptions
from mockingjay.runs import CKPDIR, RUN_AND_STEPS, chosen_checkpoint, find_checkpoint
from mockingjay.upstreams.spec import GRAMMAR, UpstreamSpec
from utility.command import run
from utility.flags import DEFAULT_SEED, Mode, Parser, folder_name, seed

MODES = (Mode("--run"), Mode("--plot", overrides=()), Mode("--list", overrides=()))
RUN = ("--run",)
WRITES = ("--run", "--plot")
# What experiments that need no upstream would not use, where they are run alone.
OF_UPSTREAM = ("upstream", "ckpt", "ckpdir", "assume", "layer", "controls", "online_config")
UNUSED_ALONE = (*OF_UPSTREAM, "samples", "original_files")
EXAMPLES = """
experiments (--list says what each needs):
{experiments}

examples:
  python run_analysis.py --run cca_phone,mi_phone --upstream base=pretrained:demo --controls \\
      data.store=[data/demo_mel160/dev] data.alignment=data/demo_phones
  python run_analysis.py --run all --upstream base=pretrained:demo --upstream w2v=hf:models/wav2vec2-base \\
      --config my.yaml --samples 3 --bootstrap 200
  python run_analysis.py --run cca_phone --upstream pretrained:demo@400,800,1200 --config my.yaml
  python run_analysis.py --run units_phone units.store=[data/demo_codes/dev] data.alignment=data/demo_phones

  python run_analysis.py --plot result/result_analysis/a result/result_analysis/b

A run leaves result.json, config.yaml, a table and figures for each experiment, and the samples that were drawn in
EXPDIR/result_analysis/NAME. What was collected lies in its cache/: a run that was killed goes on with --resume.
"""


def make_parser() -> Parser:
    """The command line."""
    names = "\n".join(f"  {entry.name:<16} {entry.about}" for entry in EXPERIMENTS.values())
    parser = Parser(
        MODES,
        no_mode=f"which experiments? add --run NAME,...: {', '.join(EXPERIMENTS)}, or all",
        prog="run_analysis.py",
        description=__doc__,
        epilog=EXAMPLES.format(experiments=names),
        usage="%(prog)s --run NAME,... [--upstream [NAME=]SPEC ...] [options] [section.key=value ...]",
    )
    what = parser.add_argument_group("what is run")
    parser.add("--run", group=what, metavar="NAME,...", help="experiments, or all: what cannot be run is said")
    parser.add_boolean("--list", group=what, help="the experiments, what each needs and what its score is")
    about = "folders of runs, or their result.json: one result of all their curves, and its figures"
    parser.add("--plot", group=what, nargs="+", type=Path, metavar="DIR", help=about)
    about = f"repeated for several; {GRAMMAR}. RUN@100,200,400 are the checkpoints of these steps. Default: of --ckpt"
    parser.add("--upstream", group=what, action="append", default=[], metavar="[NAME=]SPEC", modes=RUN, help=about)
    about = "of an upstream that names none: a file, a path below --ckpdir, or a run's folder"
    parser.add("--ckpt", group=what, type=Path, modes=RUN, help=about)
    parser.add("--assume", group=what, type=parse_assumptions, metavar="KEY=VALUE,...", modes=RUN, help=ABOUT)
    parser.add("--ckpdir", group=what, type=Path, default=CKPDIR, modes=RUN, help="folder of the pre-training runs")
    about = "these layers alone: numbers or labels (T4, C3) with commas, or all (default: blocks; cca_mel: all)"
    parser.add("--layer", group=what, modes=RUN, help=about)
    about = "add the features themselves, and every checkpoint's architecture with random weights"
    parser.add_boolean("--controls", group=what, modes=RUN, help=about)
    _add_rest(parser)
    return parser


def _add_rest(parser: Parser) -> None:
    how = parser.add_argument_group("how")
    about = "keys that differ from the defaults (config/analysis.yaml shows all)"
    parser.add("--config", group=how, type=Path, metavar="YAML", modes=RUN, help=about)
    about = "features of recordings, where the upstream does not say them: YAML with a section online"
    parser.add("--online_config", group=how, type=Path, metavar="YAML", modes=RUN, help=about)
    about = "of everything that is drawn, and of random weights"
    parser.add("--seed", group=how, type=seed, default=DEFAULT_SEED, modes=RUN, help=about)
    about = "draw tokens and utterances N times (seeds SEED ... SEED+N-1); report mean and deviation"
    parser.add("--samples", group=how, type=int, default=1, metavar="N", modes=RUN, help=about)
    about = "resamples of groups for 95 %% intervals; 0 for none"
    parser.add("--bootstrap", group=how, type=int, default=200, metavar="N", modes=RUN, help=about)
    parser.add_boolean("--cpu", group=how, modes=RUN, help="do not use a GPU")
    about = "print the config, the data and what would be run, and end"
    parser.add_boolean("--dry_run", group=how, modes=RUN, help=about)
    where = parser.add_argument_group("where")
    about = "folder of all results"
    parser.add("--expdir", group=where, type=Path, default=Path("result"), metavar="DIR", modes=WRITES, help=about)
    about = "folder of this run (default: the next free exp_NNN)"
    parser.add("--name", group=where, type=folder_name, modes=WRITES, help=about)
    about = "go on with the run --name, or the run in DIR; auto: begin where there is none"
    parser.add("--resume", group=where, nargs="?", const="", metavar="DIR", modes=RUN, help=about)
    about = "also write the names and forms of the original program"
    parser.add_boolean("--original_files", group=where, modes=RUN, help=about)
    parser.add_boolean("--msg", True, group=where, modes=RUN, help="progress; --no-msg for none")


def main(argv: Sequence[str]) -> int:
    """Run what the command line says and print the result."""
    command = make_parser().read(argv)
    if command.mode == "--list":
        print(listed())
        return 0
    if command.mode == "--plot":
        from commands.join_analyses import join_analyses

        return join_analyses(command.values["plot"], command.values["expdir"], command.values["name"])
    settings = _settings(command.values, command.typed, command.overrides)

    from commands.analyse import analyse  # heavy, and wanted only now

    return analyse(settings)


def listed() -> str:
    """The experiments, one after another."""
    lines = []
    for entry in EXPERIMENTS.values():
        unit = f" ({entry.unit})" if entry.unit else ""
        lines.append(f"{entry.name}: {entry.about}")
        lines += [f"    compares {entry.views}"] if entry.views else []
        lines += [f"    needs {NEEDS[need]}" for need in entry.needs]
        lines.append(f"    score: {entry.measure}{unit}, {entry.better} is better; result.json, {entry.name}.csv")
    return "\n".join(lines)


def _settings(values: Mapping[str, Any], typed: Mapping[str, str], overrides: tuple[str, ...]) -> Analyse:
    check_resume(values, typed)
    if values["samples"] < 1:
        raise ValueError(f"--samples {values['samples']}: expected at least 1")
    alone = without_upstream(parse_names(values["run"])) if values["run"] != ALL else False
    for name in UNUSED_ALONE if alone else ():
        if name in typed:
            raise ValueError(f"{typed[name]} would change nothing: {values['run']} runs no upstream, leave it out")
    if values["bootstrap"] < 0 or values["bootstrap"] == 1:
        raise ValueError(f"--bootstrap {values['bootstrap']}: expected 0 for none, or at least 2 (usual: 200)")
    given = {**values, "run": parse_names(values["run"]), "everything": values["run"] == ALL}
    given |= {"upstreams": () if alone else _upstreams(values, typed), "overrides": overrides}
    return Analyse(**{name: given[name] for name in Analyse.__dataclass_fields__})


def _upstreams(values: Mapping[str, Any], typed: Mapping[str, str]) -> tuple[UpstreamSpec, ...]:
    """The upstreams, their checkpoints found as every command finds them, each with a name of its own."""
    specs: list[UpstreamSpec] = []
    for text in values["upstream"] or ["pretrained"]:
        specs += _with_checkpoint(text, values)
    if "ckpt" in typed and not any(s.of_checkpoint and s.source == str(_found(values)) for s in specs):
        raise ValueError(f"--ckpt {values['ckpt']} would change nothing: every upstream names its own, or takes none")
    labels = [spec.label for spec in specs]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(f"two upstreams are called {twice[0]}: give each a name, --upstream NAME=SPEC")
    return tuple(specs)


def _found(values: Mapping[str, Any]) -> Path:
    return find_checkpoint(values["ckpt"], values["ckpdir"])


def _with_checkpoint(text: str, values: Mapping[str, Any]) -> list[UpstreamSpec]:
    """The upstream that a word says, or one for each step that it lists."""
    spec = UpstreamSpec.parse(text)
    steps = RUN_AND_STEPS.fullmatch(spec.source) if spec.of_checkpoint else None
    if steps is not None:
        name = spec.name or Path(steps[1]).name
        parts = [replace(spec, source=f"{steps[1]}@{step}", name=f"{name}@{step}") for step in steps[2].split(",")]
        return [part.located(values["ckpdir"]) for part in parts]
    found = named_upstream({**values, "upstream": text}, {})
    if found is not None:
        return [found]
    try:
        chosen = chosen_checkpoint(None, None, None, None, values["ckpdir"])
    except ValueError as error:
        raise ValueError(f"which upstream? {error}; --upstream baseline is the features themselves") from None
    return [replace(spec, source=str(chosen))]


if __name__ == "__main__":
    run(main)
