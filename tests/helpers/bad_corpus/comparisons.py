"""The bad inputs of comparisons of finished runs."""
# ruff: noqa: E501

import json
from pathlib import Path

from tests.helpers.bad_input_cases import Case, case

COMPARE = "run_downstream.py --compare"
GOOD = f"{COMPARE} runs/good"

CASES: list[Case] = [
    case("comparison of one run", GOOD, "--compare runs/good", "two runs or more"),
    case("comparison of a run with itself", f"{GOOD} runs/good/result.json", "runs/good/result.json", "twice"),
    case("comparison with a run that is not there", f"{GOOD} runs/nowhere", "runs/nowhere", "no such run"),
    case("comparison with a folder that is no run", f"{GOOD} runs", "--compare runs:", "result.json or summary.json"),
    case("comparison with another file of a run", f"{GOOD} runs/good/config.yaml", "runs/good/config.yaml", "name a folder"),
    case("comparison with a damaged result", f"{GOOD} runs/broken", "runs/broken/result.json", "damaged, no JSON"),
    case("comparison with a damaged interval", f"{GOOD} runs/interval", "runs/interval/result.json", "damaged, its interval"),
    case("comparison with a damaged summary", f"{GOOD} runs/summary", "runs/summary/summary.json", "no summary"),
    case("comparison with a summary of runs that are gone", f"{GOOD} runs/gone", "runs/gone/summary.json names runs/gone/seed_1", "no result.json"),
    case("comparison with a run whose test part is unread", f"{GOOD} runs/unread", "runs/unread", "unread", "name the whole sweep"),
    case("comparison without predictions", f"{GOOD} runs/silent", "runs/silent/predictions_test.tsv", "run it again"),
    case("comparison with a result without a config", f"{GOOD} runs/old", "runs/old", "no config"),
    case("comparison with a run of a task that there is not", f"{COMPARE} runs/mine runs/good", "runs/mine", "'level'", "phone_linear"),
    case("comparison of two tasks", f"{GOOD} runs/phones", "task 'utterance'", "runs/phones 'phone_linear'"),
    case("comparison of two metrics", f"{GOOD} runs/recall", "metric utterance accuracy", "runs/recall utterance recall"),
    case("comparison of two test parts", f"{GOOD} runs/fewer", "runs/fewer", "'s1-1'", "share 3 of 4 and 3"),
    case("comparison of two test parts of which one has more", f"{COMPARE} runs/fewer runs/good", "runs/fewer was not scored on 's1-1'"),
    case("predictions with a short row", f"{GOOD} runs/short", "runs/short/predictions_test.tsv:3", "2 cells of 4 columns"),
    case("predictions in another encoding", f"{GOOD} runs/latin", "runs/latin/predictions_test.tsv:2", "not UTF-8"),
    case("predictions of an utterance twice", f"{GOOD} runs/twice", "runs/twice/predictions_test.tsv:3", "'s0-0' is there twice"),
    case("predictions of another task", f"{GOOD} runs/foreign", "runs/foreign/predictions_test.tsv:1", "no column 'predicted'"),
    case("predictions without columns", f"{GOOD} runs/bare", "runs/bare/predictions_test.tsv:1", "columns from id on"),
    case("predictions of nothing", f"{GOOD} runs/none", "runs/none/predictions_test.tsv", "no prediction in it"),
    case("predictions with fewer frames than answers", f"{COMPARE} runs/phones runs/frames", "runs/frames/predictions_test.tsv:2", "damaged", "2 answers, 1 predicted"),
    case("seeds with other test parts", f"{GOOD} runs/seeds", "runs/seeds", "'s1-1'", "name one seed"),
    case("folds with the same test part", f"{GOOD} runs/folds", "runs/folds/fold_b/predictions_test.tsv:2", "'s0-0'", "another fold"),
    case("flag beside a comparison", f"{GOOD} runs/phones --seeds 3", "--compare", "--seeds", "--run"),
    case("override beside a comparison", f"{GOOD} runs/phones optimizer.lr=1", "--compare", "optimizer.lr=1"),
]  # fmt: skip

RESULT = {
    "task": "utterance", "upstream": "baseline", "metric": {"name": "utterance accuracy", "unit": "%", "better": "higher"},
    "value": 75.0, "dev_value": 75.0, "selection_error": 25.0, "best_step": 1, "steps": 1, "layer_weights": None,
    "config": {}, "seed": 1, "fingerprints": {"upstream": {"spec": "baseline"}},
}  # fmt: skip
PHONES = {"task": "phone_linear", "metric": {"name": "frame accuracy", "unit": "%", "better": "higher"}}
HEAD = "id\ttrue\tpredicted\tspeaker"
ROWS = [HEAD, "s0-0\ta\ta\ts0", "s0-1\ta\tb\ts0", "s1-0\tb\tb\ts1", "s1-1\tb\tb\ts1"]
RUNS: dict[str, tuple[dict, list[str]]] = {  # what differs in the result, and the predictions
    "good": ({}, ROWS),
    "interval": ({"interval": {"low": "x"}}, ROWS),
    "unread": ({"value": None}, []),
    "silent": ({}, []),
    "old": ({"config": None}, ROWS),
    "mine": ({"task": "level"}, ROWS),
    "phones": (PHONES, [HEAD, "s0-0\ta b\ta b\ts0"]),
    "frames": (PHONES, [HEAD, "s0-0\ta b\ta\ts0", "s0-1\ta\ta\ts0"]),
    "recall": ({"metric": {"name": "utterance recall", "unit": "%", "better": "higher"}}, ROWS),
    "fewer": ({}, ROWS[:-1]),
    "short": ({}, [*ROWS[:2], "s0-1\ta"]),
    "twice": ({}, [*ROWS[:2], *ROWS[1:]]),
    "foreign": ({}, ["id\ttrue\tscore\tspeaker", "s0-0\ta\t1\ts0"]),
    "bare": ({}, ROWS[1:]),
    "none": ({}, [HEAD]),
    "seeds/seed_1": ({}, ROWS),
    "seeds/seed_2": ({}, ROWS[:-1]),
    "folds/fold_a": ({}, ROWS[:3]),
    "folds/fold_b": ({}, ROWS),
}


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    for name, (changed, rows) in RUNS.items():
        folder = root / "runs" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(RESULT | changed))
        if rows:
            (folder / "predictions_test.tsv").write_text("\n".join(rows) + "\n")
    (root / "runs/good/config.yaml").write_text("{}\n")
    for name in ("broken", "latin", "summary", "gone"):
        (root / "runs" / name).mkdir()
    (root / "runs/broken/result.json").write_text('{"task": ')
    (root / "runs/latin/result.json").write_text(json.dumps(RESULT))
    (root / "runs/latin/predictions_test.tsv").write_bytes(f"{HEAD}\ns0-0\tfür\ta\ts0\n".encode("latin-1"))
    seeds = [{"folder": f"runs/seeds/seed_{seed}"} for seed in (1, 2)]
    summaries = {
        "summary": {"runs": 3},
        "gone": {"seeds": [{"folder": "runs/gone/seed_1"}]},
        "seeds": {"seeds": seeds},
        "folds": {"folds": [{"seeds": [{"folder": f"runs/folds/fold_{name}"}]} for name in "ab"]},
    }
    for name, content in summaries.items():
        (root / "runs" / name / "summary.json").write_text(json.dumps(content))
