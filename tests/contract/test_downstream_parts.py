"""The parts of a probe: padding, splits, pieces, and refused input."""

from collections import Counter
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.config import DataConfig, DownstreamConfig, ProbeConfig
from downstream.examples import Frames, Means, Pieces, Use, Wholes
from downstream.experiment import Experiment
from downstream.figures import confusion_figure
from downstream.heads.linear import Linears, join_context
from downstream.heads.pooling import mean_pool
from downstream.labels.aligned import PhoneLabels
from downstream.labels.speakers import NameLabels
from downstream.layers import ProbedLayers
from downstream.metrics.base import selection_error
from downstream.metrics.classes import accuracy, class_score
from downstream.probe import Probe, evaluate
from downstream.splits import PARTS, Division, Parts, Utterances, divide
from downstream.tasks.classification import ByFrame
from downstream.tasks.table import find_task
from downstream.utterances import FramedUtterances
from mockingjay.upstreams.selection import LayerSelection
from tests.helpers.downstream_corpus import TABLELESS, WIDTH
from utility.batches import Batch
from utility.labels.alignment import IGNORE, Alignment
from utility.loader import Loader, LoaderConfig
from utility.store.reading import Store

CPU = torch.device("cpu")


def head_of(task: str, width: int = WIDTH, classes: int = 5, hidden_size: int = 7) -> Linears:
    config = ProbeConfig(hidden_size=hidden_size)
    labels = SimpleNamespace(classes=range(classes))
    return find_task(task).head(width, labels, config, torch.Generator().manual_seed(0))


def test_context_is_future_first_and_repeats_the_edges_of_each_utterance():
    features = torch.arange(12.0).view(2, 6, 1)
    joined = join_context(features, torch.tensor([6, 3]), 5)
    assert joined[0, 0].tolist() == [2, 1, 0, 0, 0]
    assert joined[0, 3].tolist() == [5, 4, 3, 2, 1]
    assert joined[0, 5].tolist() == [5, 5, 5, 4, 3]
    assert joined[1, 2].tolist() == [8, 8, 8, 7, 6]  # not the padding behind it


@pytest.mark.parametrize("hidden_layers", [0, 1, 2])
@pytest.mark.parametrize("context", [1, 3, 5, 9, 11])
@torch.no_grad()
def test_classifiers_of_any_context_and_two_hidden_layers_as_numpy_reads_them(hidden_layers, context):
    config = ProbeConfig(hidden_size=7, hidden_layers=hidden_layers, context=context)
    generator = torch.Generator().manual_seed(0)
    labels = SimpleNamespace(classes=range(4))
    model = find_task("phone_linear").head(WIDTH, labels, config, generator).eval()
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    assert list(weights) == [f"linears.{i}.{kind}" for i in range(hidden_layers + 1) for kind in ("weight", "bias")]
    features, lengths = torch.randn(2, 13, WIDTH, generator=generator), [13, 6]
    found = model(features, torch.tensor(lengths)).numpy()
    for row, length in enumerate(lengths):
        for t in range(length):
            places = [min(max(t + context // 2 - k, 0), length - 1) for k in range(context)]
            x = np.concatenate([features[row, place].numpy() for place in places])
            for i in range(hidden_layers + 1):
                x = weights[f"linears.{i}.weight"] @ x + weights[f"linears.{i}.bias"]
                x = np.maximum(x, 0) if i < hidden_layers else x
            np.testing.assert_allclose(found[row, t], x, atol=1e-5)


def test_pieces_reach_as_far_as_the_context_of_the_config(small):
    experiment = Experiment(small.setting("phone_linear", probe={"context": 7}), small.root / "reach")
    assert experiment._loader("train", training=True).source.reach == 3
    assert experiment._loader("dev").source.reach == 3
    usual = Experiment(small.setting("phone_concat"), small.root / "reach")
    assert usual._loader("train", training=True).source.reach == 4


@pytest.mark.parametrize(
    ("task", "probe", "message"),
    [
        ("phone_linear", {"context": 4}, "context is 4: expected an odd number of frames"),
        ("phone_linear", {"hidden_layers": 3}, r"probe\.hidden_layers"),
        ("speaker_utterance", {"context": 5}, r"probe\.context=5 would change nothing"),
    ],
)
def test_classifiers_that_do_not_exist_are_refused(small, task, probe, message):
    with pytest.raises(ValueError, match=message):
        Experiment(small.setting(task, probe=probe), small.root / "none")


def test_mean_is_over_real_frames():
    features = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [2.0], [5.0]]])
    assert mean_pool(features, torch.tensor([2, 3])).flatten().tolist() == [2, 3]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 23), min_size=1, max_size=5),
    name=st.sampled_from(sorted({*TABLELESS, "utterance"})),
    padding=st.integers(0, 4),
    seed=st.integers(0, 100),
)
def test_a_batch_scores_as_its_utterances_alone_whatever_stands_on_padding(lengths, name, padding, seed):
    by_utterance, generator = find_task(name).item == "utterance", torch.Generator().manual_seed(seed)
    probe = head_of(name)
    longest = max(lengths) + padding
    features = torch.randn(len(lengths), longest, WIDTH, generator=generator)  # padding is noise, not zeros
    labels = torch.randint(5, (len(lengths), longest), generator=generator)
    for row, length in zip(labels, lengths):
        row[length:] = IGNORE
    labels = labels[:, 0] if by_utterance else labels
    together = class_score(probe(features, torch.tensor(lengths)), labels)
    alone = [
        class_score(
            probe(features[i : i + 1, :n], torch.tensor([n])),
            labels[i : i + 1] if by_utterance else labels[i : i + 1, :n],
        )
        for i, n in enumerate(lengths)
    ]
    assert together.count == sum(s.count for s in alone)
    assert together.correct == sum(s.correct for s in alone)
    assert together.loss.item() == pytest.approx(sum(s.loss.item() for s in alone), rel=1e-5, abs=1e-5)


def test_confusions_leave_out_what_has_no_label():
    logits = torch.eye(3)[torch.tensor([[0, 1, 2, 2]])]
    score = class_score(logits, torch.tensor([[0, 1, 1, IGNORE]]))
    assert score.confusions.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert (score.count, score.correct) == (3, 2)


@pytest.mark.parametrize("task", sorted(TABLELESS))
def test_evaluation_does_not_depend_on_the_size_of_batches(small, task):
    store, declared = Store(f"{small.root}/store/all"), find_task(task)
    chosen = np.arange(len(store))
    data = DataConfig(alignment=str(small.root / "phones"))
    labels = declared.labels(FramedUtterances.of(store), data).read(Parts(chosen, chosen[:0], chosen[:0], "given", {}))
    examples = declared.source(Frames([store]), labels, chosen, Use(data, fine_tune=True))
    probe = Probe(declared, labels, DownstreamConfig(), ProbedLayers(LayerSelection(0), ("F",)), WIDTH, None, seed=0)
    loaders = [Loader(examples, LoaderConfig(batch_frames=n), 0, examples.target) for n in (1, 100, 10**6)]
    found = [evaluate(probe, loader.once(), CPU) for loader in loaders]
    for other in found[1:]:
        assert (other.confusions == found[0].confusions).all()
        assert other.figures()["accuracy"] == found[0].figures()["accuracy"]
        assert other.figures()["loss"] == pytest.approx(found[0].figures()["loss"], rel=1e-5)


def test_pooled_means_score_as_whole_utterances(small):
    store = Store(f"{small.root}/store/all")
    chosen = np.arange(0, len(store), 2)
    frames = Frames([store])
    labels = NameLabels(store.speakers, store.lengths, sorted(set(store.speakers)), chosen)
    head = head_of("speaker_utterance")
    logits = []
    for kind in (Wholes, Means):
        examples = kind(frames, labels.utterance, chosen)
        whole = Loader(examples, LoaderConfig(batch_frames=10**6), 0, examples.target).once()
        batch = next(whole)
        order = np.argsort(batch.ids)
        logits.append((head(batch.features, batch.lengths)[order], batch.target[order]))
    assert torch.allclose(logits[0][0], logits[1][0], atol=1e-5)
    assert torch.equal(logits[0][1], logits[1][1])


@pytest.mark.parametrize("reach", [0, 4])
def test_pieces_give_every_labelled_frame_once_with_its_context(small, reach):
    store = Store(f"{small.root}/store/all")
    chosen = np.arange(1, len(store), 3)
    labels = PhoneLabels(FramedUtterances.of(store), Alignment(small.root / "phones"), chosen)
    frames = Frames([store])
    pieces, wholes = Pieces(frames, labels.frames, chosen, 10, reach), Pieces(frames, labels.frames, chosen)
    head = ByFrame(context=2 * reach + 1).head(WIDTH, 5, ProbeConfig(), torch.Generator().manual_seed(0))
    sums = []
    for examples in (pieces, wholes):
        loader = Loader(examples, LoaderConfig(batch_frames=60), 0, examples.target)
        found = [class_score(head(batch.features, batch.lengths), batch.target) for batch in loader.once()]
        sums.append(sum(found[1:], found[0]))
    assert len(pieces.ids) > len(wholes.ids)
    assert sums[0].count == sums[1].count == labels.labelled(chosen)
    assert sums[0].correct == sums[1].correct
    assert sums[0].loss.item() == pytest.approx(sums[1].loss.item(), rel=1e-5)


def division(task: str) -> Division:
    return find_task(task).division


def utterances(counts: list[int], part: str = "train", prefix: str = "") -> Utterances:
    speakers = [f"{prefix}s{k}" for k, count in enumerate(counts) for _ in range(count)]
    ids = [f"{speaker}-{i}" for i, speaker in enumerate(speakers)]
    return Utterances(ids, speakers, [part] * len(ids), speakers)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=4, max_size=12),
    rule=st.sampled_from(["utterance", "speaker"]),
    seed=st.integers(0, 5),
)
def test_parts_are_disjoint_complete_and_keep_the_speaker_rule(counts, rule, seed):
    given_utterances = utterances([*counts, 3])
    parts = divide(given_utterances, division("phone_linear"), DataConfig(split=rule, split_seed=seed))
    indices = [getattr(parts, part).tolist() for part in PARTS]
    assert sorted(chain(*indices)) == list(range(len(given_utterances.ids)))  # R16: nothing is lost
    speakers = [{given_utterances.speakers[i] for i in part} for part in indices]
    if rule == "speaker":
        assert not speakers[0] & speakers[1]
        assert not speakers[0] & speakers[2]
        assert not speakers[1] & speakers[2]
    else:
        assert speakers[1] | speakers[2] <= speakers[0]


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=9), minimum=st.integers(1, 6))
def test_speaker_task_has_every_speaker_in_every_part(counts, minimum):
    given_utterances = utterances([*counts, 6, 7])
    parts = divide(given_utterances, division("speaker_frame"), DataConfig(min_utterances=minimum))
    assert parts.rule == "utterance"
    indices = [getattr(parts, part).tolist() for part in PARTS]
    kept = {f"s{k}" for k, count in enumerate([*counts, 6, 7]) if count >= max(minimum, 3)}
    for part in indices[1:]:
        assert {given_utterances.speakers[i] for i in part} == kept
    left_out = sum(parts.left_out.values())
    assert sum(map(len, indices)) + left_out == len(given_utterances.ids)


def test_split_does_not_depend_on_the_order_of_the_store():
    one = utterances([4, 5, 6, 7, 8])
    order = np.random.default_rng(0).permutation(len(one.ids))
    other = Utterances(*([values[i] for i in order] for values in (one.ids, one.speakers, one.listed, one.strata)))
    for name in ("phone_linear", "speaker_frame"):
        for fraction in (1.0, 0.3):
            config = DataConfig(label_fraction=fraction)
            first, second = divide(one, division(name), config), divide(other, division(name), config)
            for part in PARTS:
                ids = [{u.ids[i] for i in getattr(p, part)} for u, p in ((one, first), (other, second))]
                assert ids[0] == ids[1]


def test_lists_are_kept_and_only_what_is_missing_is_cut():
    train, test = utterances([5, 5, 5, 5]), utterances([2, 2], "test", "other")
    both = Utterances(train.ids + test.ids, train.speakers + test.speakers, train.listed + test.listed)
    parts = divide(both, division("phone_linear"), DataConfig())
    assert parts.rule == "speaker"
    assert parts.test.tolist() == [20, 21, 22, 23]
    assert len(parts.dev) == 5
    chosen = divide(both, division("phone_linear"), DataConfig(dev_speakers=["s2"]))
    assert {both.speakers[i] for i in chosen.dev} == {"s2"}


def test_label_fraction_is_nested_and_keeps_every_speaker():
    corpus = utterances([10, 20, 30])
    shares = [
        set(divide(corpus, division("speaker_frame"), DataConfig(label_fraction=f)).train) for f in (0.1, 0.5, 1.0)
    ]
    assert shares[0] < shares[1] < shares[2]
    assert Counter(corpus.speakers[i] for i in shares[0]).keys() == {"s0", "s1", "s2"}
    whole, half = (Counter(corpus.speakers[i] for i in shares[index]) for index in (2, 1))
    assert half == {speaker: -(-count // 2) for speaker, count in whole.items()}  # of each its share


def test_confusion_figure_of_many_classes_has_readable_axes():
    counts = np.random.default_rng(0).integers(0, 9, (70, 70))
    counts[3] = 0
    figure = confusion_figure(counts, [f"p{i}" for i in range(70)], "title")
    axes, bar = figure.axes
    assert axes.get_xlabel() == "predicted class"
    assert axes.get_ylabel() == "true class"
    assert "%" in bar.get_ylabel()
    assert len(axes.get_xticklabels()) == 70
    shown = np.asarray(axes.images[0].get_array())
    rows = shown.sum(axis=1)
    assert np.allclose(np.delete(rows, 3), 100)


def test_confusion_figure_of_thousands_of_classes_draws_groups():
    figure = confusion_figure(np.eye(2501, dtype=np.int64), [str(i) for i in range(2501)], "title")
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.allclose(shown, 100 * np.eye(834))
    assert figure.axes[0].get_ylabel() == "true class (3 to a cell)"


def test_batch_padding_is_marked_by_the_loader(small):
    store = Store(f"{small.root}/store/all")
    labels = PhoneLabels(FramedUtterances.of(store), Alignment(small.root / "phones"), [0, 1, 2])
    examples = Pieces(Frames([store]), labels.frames, [0, 1, 2])
    batch: Batch = next(Loader(examples, LoaderConfig(batch_frames=10**6), 0, examples.target).once())
    assert not batch.mask().all()
    assert (batch.target[~batch.mask()] == IGNORE).all()
    assert (batch.target[batch.mask()] != IGNORE).any()


def test_equal_accuracies_are_decided_by_the_loss_and_others_are_not():
    right = torch.tensor([0, 1])
    sure, unsure = (torch.tensor([[size, 0.0], [0.0, size]]) for size in (5.0, 0.1))
    errors = [selection_error(accuracy("frame"), class_score(logits, right).figures()) for logits in (sure, unsure)]
    assert errors[0] < errors[1]
    wrong = torch.tensor([[0.01, 0.0], [0.01, 0.0]])  # half right, and a small loss
    assert selection_error(accuracy("frame"), class_score(wrong, right).figures()) > errors[1] + 1
