"""What the runs of a sweep share, and what they do not."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from downstream.config import DownstreamConfig
from downstream.experiment import Experiment
from downstream.labels.aligned import PhoneLabels
from downstream.sweep import Choice, run_many, run_single
from mockingjay import states
from tests.helpers.downstream_corpus import SPEAKERS, write_store
from utility.config import as_dict, resolve
from utility.store import reading


@pytest.mark.slow
def test_sweep_goes_on_from_results_without_a_header(small):
    setting = small.setting("phone_linear")
    choices = [Choice(f"lr={lr}", replace_lr(setting.config, lr)) for lr in (1e-6, 0.02)]
    folder = small.root / "old_sweep"
    before = run_many(setting, choices, [1], folder)
    kept = ("task", "upstream", "best_step", "steps", "test_accuracy", "dev_accuracy", "layer_weights")
    for file in folder.glob("seed_1/*/result.json"):
        content = json.loads(file.read_text())
        old = {key: content[key] for key in kept}
        file.write_text(json.dumps({**old, "metric": "frame accuracy (%)", "criterion": content["selection_error"]}))
    assert run_many(setting, choices, [1], folder) == before


def replace_lr(config: DownstreamConfig, lr: float) -> DownstreamConfig:
    return resolve(DownstreamConfig, as_dict(config), [f"optimizer.lr={lr}"])


@pytest.fixture
def counts(monkeypatch) -> Counter:
    """How often each split was opened, each utterance labelled, and each corpus divided."""
    seen: Counter = Counter()
    open_split, read_labels = reading._opened, PhoneLabels.__init__

    def opening(path, features):
        seen[f"open {path.parent.name}/{path.name}"] += 1
        return open_split(path, features)

    def labelling(self, store, alignment, chosen, rule):
        seen.update(f"label {store.ids[i]}" for i in chosen)
        read_labels(self, store, alignment, chosen, rule)

    monkeypatch.setattr(reading, "_opened", opening)
    monkeypatch.setattr(PhoneLabels, "__init__", labelling)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("upstream", ["baseline", "random"])
def test_sweep_opens_stores_and_labels_once(small, counts, upstream, monkeypatch):
    store = reading.Store(f"{small.root}/store/all")
    for split, speakers in (("train", range(SPEAKERS - 2)), ("dev", [SPEAKERS - 2]), ("test", [SPEAKERS - 1])):
        if not (small.root / "divided" / f"{split}.csv").exists():
            rows = {key: store[i] for i, key in enumerate(store.ids) if int(key[1]) in speakers}
            write_store(small.root / "divided", split, rows)
    counts.clear()
    lists = {part: [f"{small.root}/divided/{part}"] for part in ("train", "dev", "test")}
    file = small.root / "tiny_of_tasks.yaml"
    file.write_text("model: {layers: 1, hidden_size: 8, heads: 2, ffn_size: 8}\n")
    spec, data = (
        f"random:{file}" if upstream == "random" else upstream,
        {"cache": str(small.root / f"cache_{upstream}")},
    )
    setting = small.setting("phone_linear", spec, data={**lists, **data})
    choices = [Choice(f"lr={lr}", replace_lr(setting.config, lr)) for lr in (1e-3, 0.02)]
    made = []
    represent = states.represent
    monkeypatch.setattr(states, "represent", lambda *args: made.append(args[3]) or represent(*args))
    run_many(setting, choices, [1, 2, 3], small.root / f"shared_{upstream}")
    labels = {name: count for name, count in counts.items() if name.startswith("label ")}
    assert labels == {f"label {key}": 1 for key in store.ids}
    opened = {name: count for name, count in counts.items() if name.startswith("open divided/")}
    assert opened == {f"open divided/{split}": 1 for split in ("train", "dev", "test")}
    stored = {name: count for name, count in counts.items() if name.startswith("open layer_")}
    weights = 3 if upstream == "random" else 0  # each seed has other weights, and so states of its own, of each split
    assert list(stored.values()) == [1] * 3 * weights
    assert len(made) == 3 * weights


@pytest.mark.slow
def test_sweep_over_the_division_divides_anew_what_is_opened_once(small, counts):
    setting = small.setting("phone_linear")
    words = ["data.split_seed=0", "data.split_seed=2", "data.label_fraction=0.5"]
    choices = [Choice(word, resolve(DownstreamConfig, as_dict(setting.config), [word])) for word in words]
    folder = small.root / "divisions"
    run_many(setting, choices, [1], folder)
    assert counts["open store/all"] == 1
    for choice in choices:
        alone = Experiment(replace(setting, config=choice.config), small.root / "alone").corpus.describe()
        assert json.loads((folder / "seed_1" / choice.name / "result.json").read_text())["division"] == alone
    plain, other, half = (
        json.loads((folder / "seed_1" / word / "result.json").read_text())["division"] for word in words
    )
    assert plain["test"] != other["test"]
    assert half["train"]["utterances"] == -(-plain["train"]["utterances"] // 2)


@pytest.mark.slow
def test_tuned_upstream_is_not_shared(small):
    setting = small.setting("phone_linear", "tests.helpers.downstream_corpus:Doubling", upstream={"fine_tune": True})
    choices = [Choice(f"lr={lr}", replace_lr(setting.config, lr)) for lr in (1e-3, 0.02)]
    summary = run_many(setting, choices, [1], small.root / "tuned_together")
    alone = run_single(replace(setting, config=choices[1].config), small.root / "tuned_alone")
    assert summary["seeds"][0]["tried"]["lr=0.02"] == alone["dev_value"]
    found = json.loads((small.root / "tuned_together/seed_1/lr=0.02/result.json").read_text())
    assert found["figures"]["dev"] == alone["figures"]["dev"]


@pytest.mark.slow
def test_layers_of_a_sweep_come_from_one_pass(small, tmp_path, monkeypatch):
    file = tmp_path / "tiny.yaml"
    file.write_text("model: {layers: 3, hidden_size: 8, heads: 2, ffn_size: 8}\n")
    made, represent = [], states.represent
    monkeypatch.setattr(states, "represent", lambda *args: made.append(args[4].layers.which) or represent(*args))

    def setting(cache, **upstream):
        return small.setting("phone_linear", f"random:{file}", data={"cache": str(tmp_path / cache)}, upstream=upstream)

    words = ["upstream.layer=1", "upstream.layer=T3", "upstream.layer=last", "optimizer.lr=1e-3"]
    plain = setting("together", layer=0)
    choices = [Choice(word, resolve(DownstreamConfig, as_dict(plain.config), [word])) for word in words]
    run_many(plain, choices, [1], tmp_path / "swept")
    assert made == [(0, 1, 3)]
    made.clear()
    run_single(setting("all", weighted_sum=True), tmp_path / "weighted")
    alone = run_single(setting("all", layer=1), tmp_path / "alone")
    assert made == ["all"]
    made.clear()
    again = run_single(setting("apart", layer=1), tmp_path / "apart")
    assert made == [1]
    swept = json.loads((tmp_path / "swept/seed_1/upstream.layer=1/result.json").read_text())
    assert alone["value"] is not None
    assert swept["dev_value"] == alone["dev_value"] == again["dev_value"]
    assert alone["layer"] == swept["layer"] == again["layer"] == 1
