"""The bad inputs of the page of results."""

import shutil
from pathlib import Path

from tests.helpers.bad_input_cases import Case, case

PAGE = "run_report.py reports/runs"

CASES: list[Case] = [
    case(
        "report of a folder that is not there", "run_report.py nowhere", "nowhere is no folder of results", "--expdir"
    ),
    case("report of a file", "run_report.py reports/page.html", "reports/page.html is no folder of results"),
    case(
        "report of a folder without runs",
        "run_report.py reports/empty",
        "reports/empty: no finished run below it",
        "--expdir",
    ),
    case("report of two folders", f"{PAGE} result", "'result' is no flag"),
    case("report with an override", f"{PAGE} cca.folds=3", "would not use cca.folds=3", "it takes no config"),
    case(
        "report beside an upstream that no run has",
        f"{PAGE} --format md --baseline nobody",
        "--baseline nobody: no run has an upstream of that name: there are baseline",
    ),
    case(
        "table with a title",
        f"{PAGE} --format csv --title Mine",
        "--title would change nothing",
        "--format csv prints a table",
    ),
    case("table in a file", f"{PAGE} --format md --output scores.md", "--output would change nothing"),
    case("table in another format", f"{PAGE} --format tex", "--format", "'html', 'md', 'csv'"),
    case("report with less than no sound", f"{PAGE} --sound -1", "--sound -1: expected 0 or more"),
    case("report with sound that is no number", f"{PAGE} --sound nan", "--sound nan: expected 0 or more"),
    case("report with less than no figures", f"{PAGE} --figures -2", "--figures -2: expected 0 or more"),
    case(
        "report beside losses that are not there",
        f"{PAGE} --figures 0 --sound 0 --against nowhere",
        "--against nowhere: no metrics.jsonl below it",
    ),
    case("report into a folder", f"{PAGE} --output reports", "--output reports is a folder: name a file"),
    case(
        "share of a report that is not checked",
        f"{PAGE} --share 0.5",
        "a page would not use --share: it goes with --verify",
    ),
    case("check of nothing", "run_report.py --verify nowhere.html", "nowhere.html"),
    case(
        "check of another page",
        "run_report.py --verify reports/page.html",
        "reports/page.html: no page of run_report.py, or damaged",
    ),
    case(
        "check of a page with numbers of another kind",
        "run_report.py --verify reports/kinds.html",
        "reports/kinds.html: damaged: a number of the kind 'luck'",
    ),
    case(
        "check of no share",
        "run_report.py --verify reports/page.html --share 0",
        "--share 0: expected more than 0, at most 1",
    ),
    case(
        "check of more than all",
        "run_report.py --verify reports/page.html --share 1.5",
        "--share 1.5: expected more than 0, at most 1",
    ),
    case(
        "check with a title",
        "run_report.py --verify reports/page.html --title Mine",
        "--verify would not use --title: it goes with a page",
    ),
]


def build(root: Path) -> None:
    """Pages that are none of ours, and a folder without runs."""
    folder = root / "reports"
    (folder / "empty").mkdir(parents=True)
    shutil.copytree(root / "exp/result_baseline_phone_linear/done", folder / "runs/result_baseline_phone_linear/done")
    (folder / "page.html").write_text("<!DOCTYPE html><title>Theirs</title>")
    number = '{"kind":"luck","about":"x","of":{},"value":[1]}'
    (folder / "kinds.html").write_text(
        f'<script type="application/json" id="numbers">{{"numbers":[{number}]}}</script>'
    )
