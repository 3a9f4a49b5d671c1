"""Recognition by CTC: units, heads, loss, greedy reading, scores, and runs from texts to sclite's files."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from downstream.config import DownstreamConfig
from downstream.decoding.greedy import greedy
from downstream.experiment import Experiment
from downstream.heads.bidirectional import BidirectionalLSTM
from downstream.heads.recognition import Emissions, RecognitionHead, stack_frames
from downstream.heads.specaug import mask_states
from downstream.labels.units import UNSEEN, Units
from downstream.probe import Probe, evaluate
from downstream.setting import Setting
from downstream.sweep import Choice, run_many, run_single, warn
from downstream.tasks.recognition import ctc_loss
from downstream.tasks.table import find_task
from mockingjay.upstreams.spec import UpstreamSpec
from tests.helpers.downstream_corpus import small_corpus, write_store
from utility.audio.feature_config import FeatureConfig
from utility.audio.features import FeatureExtractor
from utility.audio.waveform import read_audio
from utility.batches import real_frames
from utility.config import build
from utility.labels.alignment import Alignment, write_alignment
from utility.labels.texts import TextInfo, write_texts
from utility.predictions import read_predictions
from utility.training.log import read_metrics

KINDS = {
    "ctc_phone": {"probe": {"projector": 8}},
    "ctc_char": {"probe": {"projector": 8, "hidden_size": 6, "dropout": 0.2, "specaug": {}}},
    "ctc_word": {"probe": {"head": "linear", "projector": 0, "stack": 2}, "data": {"min_count": 2}},
}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Six speakers whose frames show what they say: words of `A` and `B`, and one word that train lacks."""
    corpus = small_corpus(tmp_path_factory.mktemp("spoken"))
    phones = Alignment(corpus.root / "phones")
    text = {"aa": "A", "b": "B", "sil": " "}
    said = {key: "".join(text[phones.labels[c]] for c in phones.segments(key)["label"]) for key in phones.ids}
    said = {key: " ".join(words.split()) or "A" for key, words in said.items()}
    tests = {"s0-0", "s0-1", "s0-2", "s0-3", "s0-4", "s0-5"}
    said |= {key: f"{said[key]} ZZ" for key in tests}  # one speaker alone says it
    write_texts(corpus.root / "text", said.items(), TextInfo(format="csv"))
    words = sorted({word for line in said.values() for word in line.split()})
    spelled = "".join(f"{word} {' '.join(f'{letter}1' for letter in word)} SIL\n{word}(2) X\n" for word in words)
    (corpus.root / "lexicon.txt").write_text(f";;; words\n{spelled}")
    return corpus


def setting(spoken, task: str, name: str = "baseline", **sections) -> Setting:
    data = {"text": f"{spoken.root}/text", "test_speakers": ["s0"], **sections.pop("data", {})}
    made = spoken.setting("phone_linear", name, data=data, **sections)
    return replace(made, task=find_task(task, made.config))


# Units


def test_units_are_of_train_by_code_point_and_the_rare_words_are_one():
    chars = Units.of("char", [list("BA|Z"), list("Ä")])
    assert chars.names == ("<blank>", "A", "B", "Z", "|", "Ä")
    assert chars.codes(list("AQ|")).tolist() == [1, UNSEEN, 4]
    assert chars.text([4, 1, 2, 4, 4, 5, 4]) == "AB Ä"
    words = Units.of("word", [["b", "a"], ["a"]], min_count=2)
    assert words.names == ("<blank>", "<unk>", "a")
    assert words.codes(["a", "b", "c"]).tolist() == [2, 1, 1]
    assert words.text([2, 1]) == "a <unk>"
    assert Units.of("word", [["b", "a"]]).codes(["c"]).tolist() == [UNSEEN]
    pieces = Units.of("subword", [["▁ab", "c", "▁d"]])
    assert pieces.text(pieces.codes(["▁ab", "c", "▁d"])) == "abc d"
    assert Units.of("phone", [["AH", "B"]]).text([1, 2, 2]) == "AH B B"
    with pytest.raises(ValueError, match="'<blank>' is a word of the texts"):
        Units.of("word", [["<blank>"]])


# The reading, and the loss


def test_a_letter_behind_a_blank_is_a_second_one_as_in_all():  # R38
    """The legacy solver dropped blanks before it joined equal neighbours, and read `AL` for `ALL`."""
    path = torch.tensor([[1, 1, 0, 1, 2, 2, 0, 0], [0, 2, 2, 0, 2, 1, 1, 1]])
    scores = nn.functional.one_hot(path, 3).float()
    assert greedy(scores, torch.tensor([8, 8])) == [[1, 1, 2], [2, 2, 1]]
    assert greedy(scores, torch.tensor([3, 0])) == [[1], []]
    assert greedy(torch.zeros(1, 4, 3), torch.tensor([4])) == [[]]  # of equal scores the lowest code
    tied = torch.tensor([[[0.0, 1.0, 1.0]]])
    assert greedy(tied, torch.tensor([1])) == [[1]]


@pytest.mark.parametrize("target", [[], [1], [2, 2], [1, 3, 1], [3, 3, 3]])
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_loss_is_that_of_all_paths(target, steps):
    logits = 2 * torch.randn(1, steps, 4, generator=torch.Generator().manual_seed(steps))
    table = logits[0].double().log_softmax(-1)
    total = 0.0
    for path in itertools.product(range(4), repeat=steps):
        if [code for code, _ in itertools.groupby(path) if code] == target:
            total += float(table[torch.arange(steps), torch.tensor(path)].sum().exp())
    codes, output = torch.tensor([target], dtype=torch.int64).view(1, -1), Emissions(logits, torch.tensor([steps]))
    loss, units = ctc_loss(output, codes, torch.tensor([len(target)]))
    assert float(loss) == pytest.approx(-np.log(total) if total else 0.0, abs=1e-4)
    assert int(units) == len(target)


def test_loss_does_not_depend_on_how_batches_are_put_together():  # R47
    """The original's mean over utterances of loss by length did."""
    generator = torch.Generator().manual_seed(0)
    lengths, counts = torch.tensor([9, 5, 7]), torch.tensor([3, 1, 2])
    logits, target = torch.randn(3, 9, 4, generator=generator), torch.randint(1, 4, (3, 3), generator=generator)
    task, whole = find_task("ctc_phone"), Emissions(logits, lengths)
    together, units = ctc_loss(whole, target, counts)
    pairs = [
        ctc_loss(Emissions(logits[i : i + 1], lengths[i : i + 1]), target[i : i + 1], counts[i : i + 1])[0]
        for i in range(3)
    ]
    assert float(together) == pytest.approx(float(sum(pairs)), rel=1e-5)
    assert int(units) == 6
    seen = torch.tensor([[1, UNSEEN, 2]]), torch.tensor([3])
    passed = ctc_loss(Emissions(logits[:1], lengths[:1]), *seen)
    assert passed[0] == ctc_loss(Emissions(logits[:1], lengths[:1]), torch.tensor([[1, 2]]), torch.tensor([2]))[0]
    assert int(passed[1]) == 2
    assert task.metric.key == "per"


# Heads


@pytest.mark.parametrize("padding", [float("nan"), 1e9])
@pytest.mark.parametrize(("layers", "stack", "projector"), [(0, 1, 5), (0, 3, 0), (2, 1, 0), (1, 3, 5)])
def test_a_batch_is_read_as_its_utterances_alone_whatever_stands_on_padding(layers, stack, projector, padding):
    generator = torch.Generator().manual_seed(3)
    sizes = {"stack": stack, "projector": projector, "hidden": 4, "layers": layers, "dropout": 0.0}
    head = RecognitionHead(6, 5, **sizes, generator=generator)
    lengths = torch.tensor([11, 1, 6])
    features = torch.randn(3, 14, 6, generator=generator)
    for row, length in enumerate(lengths.tolist()):
        features[row, length:] = padding
    target, counts = torch.tensor([[1, 2, 2], [0, 0, 0], [4, 0, 0]]), torch.tensor([3, 0, 1])
    output = head(features, lengths)
    loss = ctc_loss(output, target, counts)[0]
    loss.backward()
    together = {name: p.grad.clone() for name, p in head.named_parameters()}
    head.zero_grad()
    alone, texts = 0.0, []
    for row, length in enumerate(lengths.tolist()):
        one = head(features[row : row + 1, :length], lengths[row : row + 1])
        steps = -(-length // stack)
        assert int(one.lengths) == int(output.lengths[row]) == steps
        assert torch.allclose(one.logits[0], output.logits[row, :steps], atol=1e-5)
        part = ctc_loss(one, target[row : row + 1, : counts[row]], counts[row : row + 1])[0]
        part.backward()
        alone += part.item()
        texts += greedy(one.logits, one.lengths)
    assert alone == pytest.approx(loss.item(), rel=1e-5)
    assert texts == greedy(output.logits, output.lengths)
    for name, parameter in head.named_parameters():
        assert torch.allclose(parameter.grad, together[name], atol=1e-5), name


def test_two_directions_are_those_of_torch_on_packed_sequences():
    generator = torch.Generator().manual_seed(4)
    ours, theirs = BidirectionalLSTM(6, 4, 2, 0.0, generator), nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True)
    for layer in range(2):
        for name, part in ("", ours.ahead[layer]), ("_reverse", ours.back[layer]):
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(theirs, f"{kind}_l{layer}{name}").data.copy_(getattr(part, f"{kind}_l0"))
    states, lengths = torch.randn(3, 9, 6, generator=generator), torch.tensor([9, 1, 5])
    packed, _ = theirs(pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    real = real_frames(lengths, 9)
    assert torch.allclose(ours(states, lengths)[real], expected[real], atol=1e-6)


def test_stacked_steps_end_with_the_last_real_frame():
    features = torch.arange(1.0, 6).view(1, 5, 1)
    stacked, steps = stack_frames(features, torch.tensor([4]), 3)
    assert stacked.tolist() == [[[1, 2, 3], [4, 4, 4]]]
    assert steps.tolist() == [2]
    assert stack_frames(features, torch.tensor([2]), 1)[0].flatten().tolist() == [1, 2, 0, 0, 0]


def test_masks_of_training_lie_on_real_frames_and_come_from_the_generator():
    states, lengths = torch.ones(1000, 30, 20), torch.tensor([30, 4] * 500)
    sizes = {"time": 2, "time_width": 5, "dims": 1, "dims_width": 6}
    masked = mask_states(states, lengths, torch.Generator().manual_seed(1), **sizes)
    assert torch.equal(masked, mask_states(states, lengths, torch.Generator().manual_seed(1), **sizes))
    assert not torch.equal(masked, mask_states(states, lengths, torch.Generator().manual_seed(2), **sizes))
    frames, bands = (masked == 0).all(2), (masked == 0).all(1)
    assert not frames[1::2, 4:].any()
    assert {int(count) for count in frames[::2].sum(1)} == set(range(11))
    assert {int(count) for count in bands[::2].sum(1)} == set(range(7))
    assert frames[::2, 0].any()
    assert frames[::2, 29].any()
    assert (masked[~frames.unsqueeze(2).expand_as(masked) & ~bands.unsqueeze(1).expand_as(masked)] == 1).all()


# Runs


@pytest.fixture(scope="module")
def runs(spoken):
    """A short run of each kind of units: its folder and its result."""
    made = {}
    for task, sections in KINDS.items():
        folder = spoken.root / "runs" / task
        more = {"optimizer": {"lr": 0.05, "warmup": 0.0}, **sections}
        if task == "ctc_phone":
            more["data"] = {"lexicon": f"{spoken.root}/lexicon.txt", "strip_stress": True}
        made[task] = folder, run_single(setting(spoken, task, **more), folder)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_the_file_of_predictions_says_what_the_result_says(runs, task):
    folder, result = runs[task]
    for part in ("dev", "test"):
        rows = list(read_predictions(folder / f"predictions_{part}.tsv"))
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        assert len(rows) == result["division"][part]["utterances"] == result["scored"][part]
        outcomes = find_task(task).outcomes(rows)
        figures = result["figures"][part]
        assert outcomes.values(np.ones((1, len(rows)))).tolist() == [figures[result_metric(task)]]
        for kind, name in zip("SDI", ("substitutions", "deletions", "insertions")):
            assert sum(int(row[kind]) for row in rows) == figures[f"{result_metric(task)}_{name}"]
        for name in ("reference", "hypothesis"):
            lines = (folder / f"{name}_{part}.trn").read_text().splitlines()
            assert lines == [f"{row[name]} ({row['id']})" for row in rows]
    assert result["value"] == result["figures"]["test"][result_metric(task)]


def result_metric(task: str) -> str:
    return "per" if task == "ctc_phone" else "wer"


@pytest.mark.slow
def test_what_is_said_and_not_seen_in_train_is_an_error_and_counted(runs, spoken):
    said = {row["id"]: row["reference"] for row in read_predictions(runs["ctc_char"][0] / "predictions_test.tsv")}
    assert all(text.endswith(" ZZ") for text in said.values())
    assert runs["ctc_char"][1]["units"] == ["<blank>", "A", "B", "|"]
    assert runs["ctc_char"][1]["unseen_units"] == {"dev": 0, "test": 2 * len(said)}
    assert runs["ctc_char"][1]["figures"]["test"]["wer_utterances"] == 100
    assert {"wer", "cer"} <= runs["ctc_char"][1]["figures"]["test"].keys()
    assert runs["ctc_phone"][1]["units"] == ["<blank>", "A", "B"]  # without stress, silence, and second pronunciations
    assert runs["ctc_phone"][1]["unseen_units"] == {"dev": 0, "test": 2 * len(said)}
    assert "<unk>" in runs["ctc_word"][1]["units"]
    assert runs["ctc_word"][1]["unseen_units"]["test"] >= len(said)
    content = torch.load(runs["ctc_char"][0] / "best.ckpt", weights_only=True)
    assert content["about"]["facts"]["units"] == ["<blank>", "A", "B", "|"]


def test_no_utterance_leaves_a_batch_or_a_last_batch(spoken):  # R43, R44
    """The originals kept half of a batch with a long first file, and dropped a last batch of one utterance."""
    lengths = Experiment(setting(spoken, "ctc_phone"), spoken.root / "unused").corpus.utterances.lengths
    budget = int(2 * lengths.max() + 1)
    experiment = Experiment(setting(spoken, "ctc_phone", data={"batch_frames": budget}), spoken.root / "unused")
    parts = experiment.corpus.parts
    loader = experiment._loader("train", training=True)
    batches = loader.epoch(0)
    assert min(map(len, batches)) == 1
    assert sorted(np.concatenate(batches)) == list(range(len(parts.train)))
    trained = [key for batch in batches for key in np.array(loader.source.ids)[batch]]
    assert sorted(trained) == sorted(experiment.corpus.utterances.ids[i] for i in parts.train)
    for part in ("dev", "test"):
        seen = [key for batch in experiment._loader(part).once() for key in batch.ids]
        assert sorted(seen) == sorted(experiment.corpus.utterances.ids[i] for i in getattr(parts, part))
        score = evaluate(experiment.probe, experiment._loader(part).once(), torch.device("cpu"))
        assert score.count == len(seen)
        assert score.errors["per"].reference == sum(experiment.corpus.labels.count[i] for i in getattr(parts, part))


@pytest.mark.slow
def test_too_short_utterances_are_left_out_of_training_counted_and_scored(spoken, capsys):
    words = setting(spoken, "ctc_char", probe={"stack": 10, "head": "linear"}, trainer={"steps": 2})
    folder = spoken.root / "too_short"
    result = run_single(words, folder)
    experiment = Experiment(words, folder)
    labels, train = experiment.corpus.labels, experiment.corpus.parts.train
    steps = -(-experiment.corpus.utterances.lengths // 10)
    short = [i for i in train if steps[i] < labels.needed[i]]
    assert 0 < len(short) < len(train)
    assert result["too_short"] == len(short)
    assert result["scored"]["test"] == result["division"]["test"]["utterances"]
    assert len(experiment._loader("train", training=True).source.ids) == len(train) - len(short)
    assert len(experiment._loader("train").source.ids) == len(train)
    line = f"warning: {len(short)} of {len(train)} training utterances have fewer steps than units"
    assert f"{line} and are left out of training: probe.stack=10" in capsys.readouterr().err
    warn(Experiment(setting(spoken, "ctc_char"), folder))
    assert "steps" not in capsys.readouterr().err
    equal = {i: sum(a == b for a, b in itertools.pairwise(labels.codes(i).tolist())) for i in train.tolist()}
    assert any(equal.values())
    assert all(labels.needed[i] == len(labels.codes(i)) + more for i, more in equal.items())
    with pytest.raises(ValueError, match=r"fewer steps than units \(probe.stack=64\)"):
        run_single(setting(spoken, "ctc_char", probe={"stack": 64, "head": "linear"}), spoken.root / "unused")


@pytest.mark.slow
def test_settings_of_a_sweep_have_their_own_steps(spoken):
    configs = [
        setting(spoken, "ctc_char", probe={"stack": s, "projector": 4, "hidden_size": 3}, trainer={"steps": 2})
        for s in (2, 10)
    ]
    choices = [Choice(f"stack={one.config.probe.stack}", one.config, one.task) for one in configs]
    run_many(configs[0], choices, [1], spoken.root / "sweep")
    short = [
        json.loads((spoken.root / "sweep" / "seed_1" / one.name / "result.json").read_text())["too_short"]
        for one in choices
    ]
    assert short[0] == 0 < short[1]


def test_a_silent_utterance_a_frame_and_equal_phones(spoken):
    rng = np.random.default_rng(0)
    lengths = {"a-1": 30, "a-2": 1, "b-1": 1, "b-2": 20, "c-1": 1, "c-2": 25}
    write_store(
        spoken.root / "odd", "all", {key: rng.normal(size=(n, 8)).astype(np.float32) for key, n in lengths.items()}
    )
    segments = [(0.0, 0.05, "aa"), (0.05, 0.1, "aa"), (0.1, 0.2, "SIL"), (0.2, 0.25, "b")]
    aligned = {key: [(0.0, 0.01, "h#")] if n == 1 else segments for key, n in lengths.items()}
    write_alignment(spoken.root / "odd_phones", aligned.items())
    data = {
        "train": [f"{spoken.root}/odd/all"],
        "alignment": f"{spoken.root}/odd_phones",
        "text": None,
        "test_speakers": ["c"],
    }
    found = setting(spoken, "ctc_phone", data={**data, "dev_speakers": ["b"]}, trainer={"steps": 3})
    result = run_single(found, spoken.root / "odd_run")
    assert result["units"] == ["<blank>", "aa", "b"]
    rows = {row["id"]: row for row in read_predictions(spoken.root / "odd_run" / "predictions_test.tsv")}
    assert rows["c-1"]["reference"] == ""
    assert rows["c-2"]["reference"] == "aa aa b"
    assert result["figures"]["test"]["per_reference"] == 3
    nothing = {"a-1": aligned["a-1"], **{key: [(0.0, 0.01, "sil")] for key in lengths if key != "a-1"}}
    write_alignment(spoken.root / "silent", nothing.items())
    with pytest.raises(ValueError, match="ctc_phone: the dev part has no phone to recognise"):
        run_single(
            replace(
                found, config=replace(found.config, data=replace(found.config.data, alignment=f"{spoken.root}/silent"))
            ),
            spoken.root / "unused",
        )


class Killed(Exception):
    pass


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_bits(spoken, monkeypatch):
    probe = {"projector": 8, "hidden_size": 6, "dropout": 0.3, "specaug": {"time_width": 5, "dims_width": 3}}
    trainer = {"steps": 8, "eval_every": 4, "save_every": 2}
    one = setting(spoken, "ctc_char", probe=probe, trainer=trainer, data={"batch_frames": 300})
    straight, broken = spoken.root / "straight", spoken.root / "broken"
    Experiment(one, straight).train()
    calls, step = [], Probe.step

    def dying(self, batch, generator):
        calls.append(1)
        if len(calls) in (4, 8):
            raise Killed
        return step(self, batch, generator)

    monkeypatch.setattr(Probe, "step", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            Experiment(one, broken).train()
    Experiment(one, broken).train()
    saved = [torch.load(folder / "probe-8.ckpt", weights_only=True) for folder in (straight, broken)]
    assert saved[0]["state"] == saved[1]["state"]
    assert all(torch.equal(value, saved[1]["model"][key]) for key, value in saved[0]["model"].items())
    losses = [[r["loss"] for r in read_metrics(folder) if "loss" in r] for folder in (straight, broken)]
    assert losses[0] == losses[1]
    monkeypatch.undo()
    plain = replace(one, config=replace(one.config, probe=replace(one.config.probe, specaug=None)))
    Experiment(plain, spoken.root / "unmasked").train()
    other = torch.load(spoken.root / "unmasked" / "probe-8.ckpt", weights_only=True)["model"]
    assert not all(torch.equal(value, other[key]) for key, value in saved[0]["model"].items())


def test_texts_that_changed_are_not_gone_on_with(spoken, tmp_path):
    said = dict(line.split("\t") for line in (spoken.root / "text" / "text.tsv").read_text().splitlines())
    write_texts(tmp_path / "text", said.items(), TextInfo(format="csv"))
    one = setting(spoken, "ctc_word", data={"text": f"{tmp_path}/text"}, probe={"head": "linear"}, trainer={"steps": 2})
    Experiment(one, tmp_path / "run").train()
    Experiment(one, tmp_path / "run").check_same()
    write_texts(tmp_path / "text", {**said, "s0-0": "B A B"}.items(), TextInfo(format="csv"))
    with pytest.raises(ValueError, match=r"facts\.texts was '\w+', now '\w+'"):
        Experiment(one, tmp_path / "run").check_same()


@pytest.mark.slow
@pytest.mark.parametrize("upstream", [{"fine_tune": True}, {"weighted_sum": True}, {"layer": 1}])
def test_any_upstream_frozen_weighted_or_tuned(spoken, upstream, tmp_path):
    (tmp_path / "tiny.yaml").write_text("model: {layers: 2, hidden_size: 16, heads: 2, ffn_size: 32}\n")
    probe = {"projector": 4, "stack": 2, "specaug": {}}
    found = run_single(
        setting(
            spoken, "ctc_phone", f"random:{tmp_path}/tiny.yaml", upstream=upstream, probe=probe, trainer={"steps": 4}
        ),
        tmp_path / "run",
    )
    assert found["task"] == "ctc_phone"
    assert np.isfinite(found["value"])
    assert found["steps"] == 4


def test_subwords_are_those_of_a_model(spoken, tmp_path):
    library = pytest.importorskip(
        "sentencepiece", reason="sentencepiece absent: pip install -r requirements-subword.txt"
    )
    texts = [line.split("\t")[1] for line in (spoken.root / "text" / "text.tsv").read_text().splitlines()]
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(tmp_path / "m"), vocab_size=12, model_type="bpe",
        hard_vocab_limit=False, normalization_rule_name="identity", minloglevel=2,
    )  # fmt: skip
    probe = {"head": "linear", "metric": "cer"}
    one = setting(
        spoken, "ctc_subword", data={"subword_model": f"{tmp_path}/m.model"}, probe=probe, trainer={"steps": 2}
    )
    experiment = Experiment(one, tmp_path / "run")
    labels = experiment.corpus.labels
    for index in experiment.corpus.parts.train.tolist():
        key = experiment.corpus.utterances.ids[index]
        assert labels.units.text(labels.codes(index)) == labels.reference(key)
    assert any(len(name) > 2 for name in labels.units.names[1:])
    found = run_single(one, tmp_path / "run")
    assert found["value"] == found["figures"]["test"]["cer"]
    rows = list(read_predictions(tmp_path / "run" / "predictions_test.tsv"))
    assert one.task.outcomes(rows).values(np.ones((1, len(rows)))).tolist() == [found["value"]]


def test_keys_that_would_change_nothing_are_refused(spoken):
    refused = {
        r"probe\.layers=3 would change nothing": ("ctc_phone", {"probe": {"layers": 3}}),
        r"probe\.hidden_size=9 would change nothing: ctc_phone with head linear": (
            "ctc_phone",
            {"probe": {"hidden_size": 9}},
        ),
        r"probe\.specaug=.* would change nothing: phone_linear": ("phone_linear", {"probe": {"specaug": {}}}),
        r"decode\.beam=3 would change nothing": ("ctc_char", {"decode": {"beam": 3}}),
        r"data\.min_count=2 would change nothing": ("ctc_char", {"data": {"min_count": 2}}),
    }
    for line, (task, sections) in refused.items():
        with pytest.raises(ValueError, match=line):
            Experiment(setting(spoken, task, **sections), spoken.root / "unused")


@pytest.mark.slow
def test_eight_real_utterances_are_learnt_by_heart(corpora, tmp_path):
    folder = corpora / "an4"
    rows = [line.split("\t") for line in (folder / "utterances.tsv").read_text().splitlines()[1:]]
    rows = sorted((row for row in rows if row[1] == "train"), key=lambda row: float(row[4]))[60:70]
    extract, frames = FeatureExtractor(FeatureConfig(kind="kaldi_fbank", deltas=0)), {}
    for key, *_, path in rows:
        samples = torch.from_numpy(read_audio(folder / path))
        frames[f"{key.split('-')[1]}-{key}"] = extract(samples[None], torch.tensor([len(samples)]))[0][0].numpy()
    write_store(tmp_path / "store", "all", frames)
    write_texts(tmp_path / "text", zip(frames, (row[5] for row in rows)), TextInfo(format="csv"))
    values = {
        "data": {
            "train": [f"{tmp_path}/store/all"],
            "text": f"{tmp_path}/text",
            "lexicon": f"{folder}/an4.dic",
            "cache": f"{tmp_path}/cache",
        },
        "probe": {"stack": 4},
        "optimizer": {"lr": 1e-2, "warmup": 0.0, "schedule": "constant"},
        "trainer": {"steps": 150, "eval_every": 150, "patience": None},
    }
    config = build(DownstreamConfig, values)
    one = Setting(
        find_task("ctc_phone", config), UpstreamSpec.parse("baseline"), config, 1, torch.device("cpu"), quiet=True
    )
    experiment = Experiment(one, tmp_path / "run")
    assert len(experiment.corpus.parts.train) == 8
    experiment.train()
    score = evaluate(experiment.probe, experiment._loader("train").once(), torch.device("cpu"))
    assert score.figures()["per"] == 0
