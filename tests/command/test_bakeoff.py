"""examples/bakeoff.sh with an interpreter that only notes what it is asked for, and the tables of what it leaves."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

import run_analysis
import run_downstream
import run_report
import runner_mockingjay
from examples.table_of_bakeoff import report, scores_of
from tests.conftest import PROJECT
from tests.helpers.downstream_corpus import small_corpus
from tests.helpers.files import LINKED
from utility.runs import read_json

STUB = r"""#!/usr/bin/env bash
printf '%q ' "$@" >> "$NOTES"; echo >> "$NOTES"
name="" where="" output="" steps="" script="$1"
for word in "$@"; do
    case "$before" in --name) name="$word" ;; --ckpdir | --expdir) where="$word" ;; --output) output="$word" ;; esac
    case "$before" in --input) input="${word##*/}" ;; esac
    case "$word" in trainer.steps=*) steps="${word#*=}" ;; esac
    before="$word"
done
[ "$name" = "${FAILS:-}" ] && [ -n "$name" ] && exit 1
case "$script $*" in
*--train*) mkdir -p "$where/$name" && touch "$where/$name/mockingjay-$steps.ckpt" ;;
*--cluster*) mkdir -p "$output" && touch "$output/$input.csv" ;;
run_analysis.py*) mkdir -p "$where/result_analysis/$name" && touch "$where/result_analysis/$name/result.json" ;;
examples/table_of_bakeoff.py*) echo "Best three by the phones of dev: codes_it1 APC codes_it2" ;;
esac
"""
PARSERS = {
    "runner_mockingjay.py": runner_mockingjay.parser,
    "run_downstream.py": run_downstream.make_parser,
    "run_analysis.py": run_analysis.make_parser,
    "run_report.py": run_report.make_parser,
}


class Race:
    """A folder with the project's scripts and no data, and what was asked for in it."""

    def __init__(self, root: Path):
        self.root, self.notes = root, root / "notes"
        for name in LINKED:
            (root / name).symlink_to(PROJECT / name)
        (root / "config").unlink()
        (root / "config").mkdir()
        for iteration in ("it1", "it2"):
            (root / f"config/melhubert_real_{iteration}.yaml").write_text("codes:\n  source: store\n  size: 50\n")
        (root / "stub").write_text(STUB)
        (root / "stub").chmod(0o755)
        (root / "corpora").mkdir()

    def run(self, **settings: str) -> tuple[int, str, list[list[str]]]:
        """Exit code, what was printed, and the commands."""
        self.notes.write_text("")
        words = {"PYTHON": str(self.root / "stub"), "NOTES": str(self.notes), "JOBS": "1", "BUDGET": "24999"}
        done = subprocess.run(
            ["bash", "examples/bakeoff.sh", "corpora"],
            cwd=self.root,
            env={"PATH": os.environ["PATH"], **words, **settings},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr, list(map(shlex.split, self.notes.read_text().splitlines()))


@pytest.fixture(scope="module")
def race(tmp_path_factory) -> Race:
    return Race(tmp_path_factory.mktemp("race"))


@pytest.fixture(scope="module")
def first(race) -> list[list[str]]:
    code, text, commands = race.run()
    assert code == 0, text
    assert text.startswith("About ")
    assert "8 updates of 3000 frames a model" in text
    return commands


def of(commands: list[list[str]], *words: str) -> list[list[str]]:
    return [command for command in commands if set(words) <= set(command)]


@pytest.mark.slow
def test_every_command_is_one_that_its_program_takes(first):
    checked = 0
    for script, *words in first:
        if script in PARSERS:
            parser = PARSERS[script]()
            if "--cluster" in words and parser.option("--cluster") is None:
                continue  # of a version that makes no codes
            parser.read(words)
            checked += 1
    assert checked > 40


@pytest.mark.slow
def test_every_model_has_one_budget_and_is_kept_at_its_half(first):
    trained = of(first, "--train")
    names = [command[command.index("--name") + 1] for command in trained]
    assert sorted(names) == sorted(
        f"{name}_s1"
        for name in ("codes_it1", "codes_it2", "Mockingjay", "TERA", "AALBERT", "APC", "Transformer-APC", "BEST-RQ")
    )
    for command in trained:
        budget = ["trainer.steps=8", "trainer.save_every=2", "trainer.max_keep=4", "loader.batch_frames=3000"]
        assert set(budget) <= set(command)
    halves = [command for command in first if any(word.startswith("libri_half-") for word in command)]
    assert len(halves) == 8
    assert all(any(word.endswith("/mockingjay-4.ckpt") for word in command) for command in halves)


@pytest.mark.slow
def test_codes_of_the_second_iteration_are_of_the_first_one_s_model(first):
    steps = [command for command in first if {"--train", "--cluster"} & set(command)]
    places = {command[command.index("--name") + 1]: n for n, command in enumerate(steps) if "--name" in command}
    made = [n for n, command in enumerate(steps) if "--upstream" in command]
    assert [steps[n][steps[n].index("--layer") + 1] for n in made] == ["2"]
    assert "codes_it1_s1/mockingjay-8.ckpt" in " ".join(steps[made[0]])
    assert places["codes_it1_s1"] < made[0] < places["codes_it2_s1"]
    targets = next(word for word in steps[places["codes_it2_s1"]] if word.startswith("data.target="))
    outputs = {f"{c[c.index('--output') + 1]}/{Path(c[c.index('--input') + 1]).name}" for c in of(first, "--cluster")}
    assert set(targets.removeprefix("data.target=[").rstrip("]").split(",")) < outputs


@pytest.mark.slow
def test_a_finished_race_only_reads_its_probes_again(race, first):
    marks = [file.read_text() for file in sorted(race.root.glob("result/bakeoff/8/times/*"))]
    code, text, commands = race.run()
    assert code == 0, text
    assert not of(commands, "--train") + of(commands, "--cluster")
    assert marks == [file.read_text() for file in sorted(race.root.glob("result/bakeoff/8/times/*"))]
    assert {command[0] for command in commands if command[0].startswith("run_")} == {
        "run_downstream.py",
        "run_report.py",
    }
    assert len(of(commands, "--resume=auto")) == 8 * 4 + 2 * 3 + 1


@pytest.mark.slow
def test_the_best_three_get_the_other_seeds(race, first):
    code, text, commands = race.run(SEEDS="3")
    assert code == 0, text
    names = [command[command.index("--name") + 1] for command in of(commands, "--train")]
    # The first iteration of codes is no job of its own beside the second: two would write the same files.
    assert names == [f"{name}_s{seed}" for seed in (2, 3) for name in ("APC", "codes_it1", "codes_it2")]
    assert all(command[command.index("--seed") + 1] in ("2", "3") for command in of(commands, "--train"))
    _, _, chosen = race.run(SEEDS="2", BEST="TERA")
    assert [command[command.index("--name") + 1] for command in of(chosen, "--train")] == ["TERA_s2"]


def test_a_job_that_fails_ends_the_race_and_a_new_start_goes_on(tmp_path):
    race = Race(tmp_path)
    code, _, commands = race.run(MODELS="TERA", FAILS="TERA_s1")
    assert code != 0
    assert not [command for command in commands if command[0] == "run_downstream.py"]
    code, text, commands = race.run(MODELS="TERA")
    assert code == 0, text
    assert [command[command.index("--name") + 1] for command in of(commands, "--train")] == ["TERA_s1"]
    marks = (tmp_path / "result/bakeoff/8/times/TERA_s1.txt").read_text().split()[::2]
    assert marks == ["start", "start", "end"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"BUDGET": "0"}, "BUDGET, SEEDS and JOBS are whole numbers above 0, got 0"),
        ({"BUDGET": "11999"}, "at least 12000 frames are needed"),
        ({"SEEDS": "x"}, "got x"),
        ({"MODELS": "TERA BERT"}, "no model is called BERT"),
        ({"BEST": "random"}, "BEST: no model is called random"),
    ],
)
def test_settings_that_make_no_race_are_refused(race, settings, line):
    code, text, commands = race.run(**settings)
    assert (code, commands) == (2, [])
    assert line in text
    assert text.count("\n") == 1


L2 = {"filterbank": 1e-3, "Mockingjay": 1e-1, "TERA": 1e-6, "APC": 1.0}  # probes that answer unlike, of the same frames


@pytest.fixture(scope="module")
def raced(tmp_path_factory) -> Path:
    """Probes of four systems as the script names them, of Mockingjay with two seeds; logs, times and layers."""
    made = small_corpus(tmp_path_factory.mktemp("raced"))
    folder = made.root / "race"

    def probe(seed: int, data: str, system: str, l2: float) -> None:
        words = [word for word in made.words() if not word.startswith(("trainer.", "optimizer."))]
        words[words.index("--expdir") + 1] = str(folder / f"seed{seed}")
        words += ["probe.solver=exact", f"probe.l2=[{l2}]", "--name", f"{data}-{system}"]
        assert run_downstream.main(["--run", "phone_linear", "--upstream", f"{system}=baseline", *words]) == 0

    for system, l2 in L2.items():
        probe(1, "libri", system, l2)
    probe(2, "libri", "Mockingjay", 1e-3)
    for system, l2 in {"APC": 1e-6, "TERA": 1.0, "Mockingjay": 1e-1}.items():
        probe(1, "libri_half", system, l2)
    for name, marks in {"APC_s1": "start 100\nend 461\n", "TERA_s1": "start 100\nstart 500\nend 620\n"}.items():
        (folder / f"logs/{name}").mkdir(parents=True)
        lines: list[dict] = [{"step": 4, "frames_per_s": 100.0}, {"step": 8, "frames_per_s": 300.0}]
        lines.append({"step": 8, "dev_loss": 1})
        (folder / f"logs/{name}/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "times").mkdir(exist_ok=True)
        (folder / f"times/{name}.txt").write_text(marks)
    for seed in (1, 2):  # the table of a race that still runs leaves out what has not logged, or begins again
        (folder / f"times/AALBERT_s{seed}.txt").write_text("start 700\n")
    (folder / "logs/AALBERT_s2").mkdir()
    (folder / "logs/AALBERT_s2/metrics.jsonl").touch()
    point = {"label": "T0", "score": 0.3, "low": 0.25, "high": 0.35}
    content = {"experiments": {"cca_phone": {"measure": "CCA", "upstreams": {"APC": [point, point | {"label": "T1"}]}}}}
    (folder / "result_analysis/layers").mkdir(parents=True)
    (folder / "result_analysis/layers/result.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_tables_hold_means_over_seeds_and_paired_differences(raced, capsys):
    text = report(raced)
    found = scores_of(raced)["phone_linear", "libri"]

    def alone(seed: int, name: str) -> float:
        return read_json(raced / f"seed{seed}/result_{name}_phone_linear/libri-{name}/result.json")["value"]

    values = {one.system: one.predicted.value for one in found}
    assert values["TERA"] == pytest.approx(alone(1, "TERA"))
    assert values["Mockingjay"] == pytest.approx((alone(1, "Mockingjay") + alone(2, "Mockingjay")) / 2)
    assert list(values.values()) == sorted(values.values(), reverse=True)
    folders = [f"{raced}/seed1/result_{name}_phone_linear/libri-{name}" for name in ("filterbank", "TERA")]
    assert run_downstream.main(["--compare", *folders]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.endswith("libri-TERA"))
    low, high = (float(bound) for bound in row.split("[")[2].split("]")[0].split(","))
    table = text.partition("**phone_linear, libri**")[2]
    cells = next(line for line in table.splitlines() if line.startswith("| TERA |")).split(" | ")
    assert f"{values['TERA'] - values['filterbank']:+.1f} [{low:.1f}, {high:.1f}]" in cells[3]
    assert cells[-1] == "1 |"
    assert "| APC | 1 | 8 | 150 | 361 |" in text
    assert "| TERA | 1 | 8 | 150 | over 120 |" in text
    assert "| APC | 0.300 [0.250, 0.350] | 0.300 [0.250, 0.350] |" in text
    assert "AALBERT" not in text


@pytest.mark.slow
def test_the_order_of_half_budgets_is_compared_with_that_of_whole_ones(raced):
    text = report(raced)
    whole = [one.system for one in scores_of(raced)["phone_linear", "libri"] if one.system != "filterbank"]
    half = [one.system for one in scores_of(raced)["phone_linear", "libri_half"]]
    assert half != whole
    assert f"half of the budget: {', '.join(half)}; at the whole: {', '.join(whole)}: changed." in text
    best = text.splitlines()[-1].removeprefix("Best three by the phones of dev: ").split()
    assert sorted(best) == sorted(whole)
