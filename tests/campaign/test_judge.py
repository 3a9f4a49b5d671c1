"""The judge of the fuzz campaign can say every kind of wrong."""

import pytest

from tests.campaign.judge import ACCEPTED, CLEAN, COLUMNS, FAILURES, HUGE, Expected, Tree, is_failure, judged, tree
from tests.campaign.zygote import GIB, Outcome

TRACEBACK = "Traceback (most recent call last):\nValueError: x\n"
LINE = "run.py: in.yaml: wrong\n"


def outcome(
    code: int = 0, stderr: str = "", peak: int = 1, timed_out: bool = False, too_large: bool = False
) -> Outcome:
    return Outcome(code, "", stderr, 0.1, peak, timed_out, too_large)


JUDGED: dict[str, tuple[Outcome, Tree, Expected, list[str]]] = {
    "clean": (outcome(2, LINE), {}, Expected(), [CLEAN]),
    "a warning before": (outcome(2, f"run.py: warning: old\n{LINE}"), {}, Expected(), [CLEAN]),
    "listed": (outcome(1, "1 not used\n"), {"data/errors.csv": (1, 1)}, Expected(), [CLEAN]),
    "accepted": (outcome(), {"out": None}, Expected(), [ACCEPTED]),
    "damaged": (outcome(), {}, Expected(lacking=True), ["damaged accepted"]),
    "two lines": (outcome(2, LINE * 2), {}, Expected(), ["extra lines"]),
    "no line": (outcome(2), {}, Expected(), ["extra lines"]),
    "a library's warning": (outcome(2, f"/x.py:3: UserWarning: y\n{LINE}"), {}, Expected(), ["extra lines"]),
    "definition": (outcome(2, f"takes features that are not computed here: {'x' * 301}\n"), {}, Expected(), [CLEAN]),
    "long": (outcome(2, "x" * 301 + "\n"), {}, Expected(), ["long line"]),
    "as long as may be": (outcome(2, "x" * 300 + "\n"), {}, Expected(), [CLEAN]),
    "traceback": (outcome(1, TRACEBACK), {}, Expected(), ["traceback"]),
    "traceback of a thread": (outcome(2, TRACEBACK + LINE), {}, Expected(), ["traceback"]),
    "failed without errors.csv": (outcome(1), {}, Expected(), ["other exit"]),
    "a signal": (outcome(-11), {}, Expected(), ["other exit"]),
    "hang": (outcome(-9, timed_out=True), {}, Expected(), ["hang > 20 s"]),
    "memory": (outcome(-9, too_large=True), {}, Expected(), ["> 2 GB"]),
    "memory in time": (outcome(peak=2 * GIB + 1), {}, Expected(), ["> 2 GB"]),
    "huge settings": (outcome(-9, timed_out=True), {}, Expected(huge=True), [HUGE]),
    "huge settings and a traceback": (outcome(1, TRACEBACK), {}, Expected(huge=True), ["traceback"]),
    "left": (outcome(2, LINE), {"out": None}, Expected(), ["left files"]),
    "stopped": (outcome(2, "run.py: loss is not finite within 1 updates\n"), {"x": None}, Expected(), [CLEAN]),
    "left, and two lines": (outcome(2, LINE * 2), {"out": None}, Expected(), ["extra lines", "left files"]),
    "a digest, which stays true": (outcome(2, LINE), {"in.digest": (0, 1)}, Expected(), [CLEAN]),
    "no finite gradient, after a start": (
        outcome(2, "x: grad_norm is not finite within 1 updates\n"), {"out": None}, Expected(), [CLEAN],
    ),
    "code": (outcome(2, LINE), {"a/canary": (0, 1)}, Expected(), ["code run", "left files"]),
    "code under huge settings": (
        outcome(-9, timed_out=True), {"canary": (0, 1)}, Expected(huge=True), ["code run", "hang > 20 s"],
    ),
}  # fmt: skip
BY_CAMPAIGN = {"other weights", "odd values", "stops the job", "campaign failed"}  # said where files are compared


@pytest.mark.parametrize("name", JUDGED)
def test_judge(name):
    result, new, expected, columns = JUDGED[name]
    assert judged(result, {"in.yaml": (3, 1)}, {"in.yaml": (3, 1), **new}, expected) == columns
    assert is_failure(columns) == (columns not in ([CLEAN], [ACCEPTED]))


def test_the_judge_says_every_column():
    said = {column for *_, columns in JUDGED.values() for column in columns}
    assert said | BY_CAMPAIGN == set(COLUMNS)
    assert set(FAILURES) >= BY_CAMPAIGN


def test_a_changed_file_is_seen(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_text("1")
    before = tree(tmp_path)
    (tmp_path / "a/x").write_text("1")  # written again as it was
    assert judged(outcome(2, LINE), before, tree(tmp_path), Expected()) == [CLEAN]
    (tmp_path / "a/x").write_text("2")
    assert judged(outcome(2, LINE), before, tree(tmp_path), Expected()) == ["left files"]
