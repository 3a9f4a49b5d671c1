"""One page of all results that opens from disk: scores with intervals, layers, curves, errors and their sound."""

from collections.abc import Sequence
from pathlib import Path

import utility.openmp  # noqa: F401, before PyTorch is loaded
from commands.settings import Report, Verify
from utility.command import run
from utility.flags import Mode, Parser

PAGE, CHECK = Mode("", overrides=(), label="a page"), Mode("--verify", overrides=())
WRITES = ("",)
EXAMPLES = """
examples:
  python run_report.py result/
  python run_report.py result/ --output report.html --title "Thesis, chapter 3" --baseline filterbank
  python run_report.py result/ --against docs/curves
  python run_report.py result/ --format md > scores.md

  python run_report.py --verify result/report.html --share 0.2 --seed 0

A page holds all it shows, and fetches nothing. A damaged file is named on it, and gives the exit code 1. --verify
computes numbers again from checkpoints, stores and predictions; its exit code is 1 where one differs, and where
nothing could be checked.
"""


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(
        (PAGE, CHECK),
        bare="--results",
        prog="run_report.py",
        description=__doc__,
        epilog=EXAMPLES,
        usage="%(prog)s RESULTS [options] | --verify PAGE [options]",
    )
    what = parser.add_argument_group("what is shown")
    about = "folder of results, where the first word is none"
    parser.add("--results", group=what, type=Path, default=Path("result"), metavar="RESULTS", help=about)
    parser.add("--title", group=what, default="Results", modes=WRITES, help="over the page")
    about = "upstream that the others are compared with (default: baseline, where there is one)"
    parser.add("--baseline", group=what, metavar="NAME", modes=WRITES, help=about)
    about = "metrics of others' pre-training, NAME/metrics.jsonl below it: their losses beside yours"
    parser.add("--against", group=what, type=Path, metavar="DIR", modes=WRITES, help=about)
    about = "runs whose figures and errors are shown, those of the table first"
    parser.add("--figures", group=what, type=int, default=40, metavar="N", modes=WRITES, help=about)
    about = "megabytes of sound in the page, 0 for none"
    parser.add("--sound", group=what, type=float, default=20.0, metavar="MB", modes=WRITES, help=about)
    about = "a date to stand on the page; without it the same results give the same bytes"
    parser.add("--date", group=what, metavar="TEXT", modes=WRITES, help=about)
    where = parser.add_argument_group("where")
    about = "html: a page; md, csv: the table of scores, printed"
    parser.add("--format", group=where, choices=("html", "md", "csv"), default="html", modes=WRITES, help=about)
    about = "the page (default: report.html in RESULTS)"
    parser.add("--output", group=where, type=Path, metavar="FILE", modes=WRITES, help=about)
    about = "logs of pre-training, in folders of the runs' names"
    logs = Path("log/log_mockingjay")
    parser.add("--logdir", group=where, type=Path, default=logs, metavar="DIR", help=about)
    check = parser.add_argument_group("checking a page")
    about = "compute numbers of a page again; its results, checkpoints and stores must be where they were"
    parser.add("--verify", group=check, type=Path, metavar="PAGE", help=about)
    about = "of the numbers that are computed again; fingerprints of predictions are all compared"
    parser.add("--share", group=check, type=float, default=0.2, modes=("--verify",), help=about)
    parser.add("--seed", group=check, type=int, default=0, modes=("--verify",), help="of the draw")
    return parser


def main(argv: Sequence[str]) -> int:
    """Do what the command line says."""
    command = make_parser().read(argv)
    values = dict(command.values)
    if command.mode == "--verify":
        if not 0 < values["share"] <= 1:
            raise ValueError(f"--share {values['share']:g}: expected more than 0, at most 1")
        from commands.verify import verify  # heavy, and wanted only now

        return verify(command.fill(Verify))
    for name, lowest in (("figures", 0), ("sound", 0)):
        if not values[name] >= lowest:
            raise ValueError(f"--{name} {values[name]:g}: expected {lowest} or more")
    if values["format"] != "html":
        for name in ("title", "against", "figures", "sound", "date", "output"):
            if name in command.typed:
                raise ValueError(
                    f"{command.typed[name]} would change nothing: --format {values['format']} prints a table"
                )
    from commands.report import report  # heavy, and wanted only now

    return report(command.fill(Report, output=values["output"] or values["results"] / "report.html"))


if __name__ == "__main__":
    run(main)
