"""The attention of real models over a corpus: what result.json says is what plain code says of their maps."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from analysis.attention.head_metrics import utterance_metrics
from analysis.attention.intervals import measured_heads
from analysis.attention.relation_maps import RelationMaps
from analysis.attention_blocks import BlockOptions, block_boundaries, block_content
from analysis.attention_experiment import (
    AttentionOptions,
    analyse_attention,
    attention_content,
    each_utterance,
    phone_relations,
)
from analysis.frame_phones import FramePhones
from analysis.reconstruction import L1, reconstruction_loss, reconstruction_score
from analysis.utterance_inputs import UtteranceInputs
from mockingjay.checkpoint import load_pretrained
from mockingjay.upstream import load_upstream
from mockingjay.upstreams.attentive import heads_masked, spans_masked
from preprocess import preprocess_alignment, preprocess_any
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.heard_corpus import FEATURES, PHONES, heard_corpus
from utility.labels.alignment import Alignment
from utility.store.reading import Store
from utility.store.recordings import Recordings

LAYERS, HEADS = 2, 3
LONG_HEADS = 3 * 4  # of the model of Transformers: the joint of each sums to 1
MODEL = {"layers": LAYERS, "hidden_size": 24, "heads": HEADS, "ffn_size": 48, "initializer_range": 0.3}
OPTIONS = AttentionOptions(resamples=50, step=2, random_orders=1)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    return heard_corpus(tmp_path_factory.mktemp("heard"))


@pytest.fixture(scope="module")
def corpus(heard):
    return Store(heard.store)


@pytest.fixture(scope="module")
def ckpt(heard):
    return write_checkpoint(heard.root / "m.ckpt", FEATURES, model=MODEL | {"downsample_rate": 3})


def opened(corpus, ckpt, count=8):
    return UtteranceInputs.of(load_upstream("pretrained", ckpt, corpus.info), corpus, range(count))


def lower(label):
    return label.lower()


def test_the_content_is_that_of_the_maps(corpus, heard, ckpt):
    """Metrics, relation maps on the frames that are stacked, and curves; JSON as it stands, the same twice."""
    utterances, saved = opened(corpus, ckpt), load_pretrained(ckpt)
    upstream, phones = utterances.upstream, FramePhones.of(Alignment(f"{heard.root}/phones"), lower)
    score = reconstruction_score(upstream, saved, utterances)
    groups = [corpus.speakers[number] for number in utterances.numbers]
    one, again = (analyse_attention(utterances, groups, OPTIONS, phones, score, {L1: ""}) for _ in range(2))
    assert json.dumps(one, allow_nan=False) == json.dumps(again, allow_nan=False)
    maps = []
    with torch.no_grad():
        for number in utterances.numbers:
            features = torch.from_numpy(np.array(corpus[number]))[None]
            maps.append(upstream.attention_maps(features, torch.tensor([features.shape[1]]))[:, 0].double().numpy())
    metrics = [utterance_metrics([one]) for one in maps]
    heads = one["heads"]
    for name in ("globalness", "verticality", "diagonality", "max_weight", "relative_globalness"):
        wanted = np.mean([getattr(some, name) for some in metrics], axis=0)
        np.testing.assert_allclose(heads[name], wanted, rtol=1e-5)
        assert (np.array(heads["low"][name]) <= wanted).all()
        assert (np.array(heads["high"][name]) >= wanted).all()
    points = one["points"]
    assert [point["label"] for point in points] == ["T1", "T2"]
    np.testing.assert_allclose([point["score"] for point in points], np.mean(heads["relative_globalness"], axis=1))
    assert all(point["low"] < point["score"] < point["high"] for point in points)
    assert (np.array(heads["certainty"]) > 0).all()
    assert heads["band"]["longest"] <= 1.5 * heads["band"]["shortest"]
    # each stacked frame holds three raw ones: their phones, by the up-sampled map
    relations, left_out = phone_relations(utterances, phones)
    assert not left_out
    assert phones.names == tuple(sorted(PHONES))
    joint = []
    for number, own in zip(utterances.numbers, maps):
        raw = own.repeat(3, -1).repeat(3, -2)
        labels = phones.labels(corpus.ids[number], corpus.frame_times(number))[: raw.shape[-1]]
        hot = np.eye(4)[labels][:, :3]  # -1 is the last column, which is dropped
        keys = raw @ hot
        keys = keys / keys.sum(-1, keepdims=True)
        joint.append(np.einsum("qm,lhqn->lhmn", hot, keys) / hot.sum())
    np.testing.assert_allclose(relations.joint, np.mean(joint, axis=0), rtol=1e-4)
    shown = [name for name in one["maps"] if "most" in name and name.endswith("phones")]
    assert len(shown) == 3
    assert one["maps"]["concentration, phones"]["columns"] == list(phones.names)
    layer, head = (int(part) for part in shown[0].partition(",")[0].removeprefix("T").split(" head "))
    np.testing.assert_allclose(one["maps"][shown[0]]["values"], relations.relation[layer - 1, head], rtol=1e-3)
    curves = {curve["name"]: curve for curve in one["pruning"]["heads"]}
    assert list(curves) == ["globalness", "verticality", "diagonality", "weight", "random 0"]
    assert curves["weight"]["steps"] == [0, 2, 4, 6]
    whole = score(upstream)[L1]
    with heads_masked(upstream, torch.zeros(LAYERS, HEADS)):
        none = score(upstream)[L1]
    with spans_masked(upstream, 2):
        near = score(upstream)[L1]
    for curve in curves.values():
        assert (curve["figures"][L1][0], curve["figures"][L1][-1]) == (whole, none)
    (span,) = one["pruning"]["span"]
    assert (span["steps"][0], span["figures"][L1][0], span["figures"][L1][-1]) == (None, whole, near)
    assert len({whole, none, near}) == 3
    content = attention_content({"a": one, "b": again})
    assert set(content["heads"]) == {"a", "b"}
    assert len(content["maps"]) == 2 * len(one["maps"])


def test_the_reconstruction_is_that_of_the_model(corpus, ckpt):
    utterances, saved = opened(corpus, ckpt, 3), load_pretrained(ckpt)
    total, count = 0.0, 0
    with torch.no_grad():
        for number in utterances.numbers:
            features = torch.from_numpy(np.array(corpus[number]))[None]
            frames = features.shape[1] // 3 * 3
            error = (
                saved.model(features, torch.tensor([features.shape[1]])).prediction.reshape(-1, 80)
                - features[0, :frames]
            )
            total, count = total + float(error.abs().sum()), count + error.numel()
            alone = reconstruction_loss(utterances.upstream, saved)(features, torch.tensor([features.shape[1]]))
            assert float(alone) == pytest.approx(float(error.abs().mean()), rel=1e-5)
    score = reconstruction_score(utterances.upstream, saved, utterances)(utterances.upstream)
    assert score == {L1: pytest.approx(total / count, rel=1e-5)}
    other = dataclasses.replace(saved, target=dataclasses.replace(FEATURES, kind="fbank"))
    with pytest.raises(ValueError, match="predicts other features than it takes"):
        reconstruction_loss(utterances.upstream, other)


def test_segments_that_are_encoded_alone_have_maps_of_their_own(corpus, heard, tmp_path):
    """As those of a model without segments on the parts; the labels are those of the parts."""
    limit = int(np.median(corpus.lengths[:8]))
    pieces = write_checkpoint(tmp_path / "p.ckpt", FEATURES, model=MODEL | {"max_input_length": limit})
    free = write_checkpoint(tmp_path / "f.ckpt", FEATURES, model=MODEL)
    utterances, whole = opened(corpus, pieces), opened(corpus, free)
    assert utterances.numbers == tuple(range(8))
    cut = [number for number in range(8) if corpus.lengths[number] > limit]
    assert 0 < len(cut) < 8
    alignment = Alignment(f"{heard.root}/phones")
    for number, metrics, uncut in zip(range(8), each_utterance(utterances), each_utterance(whole)):
        if number in cut:
            parts = utterances.parts(number)
            features = torch.from_numpy(np.array(corpus[number]))[None]
            assert [start for start, _ in parts] == [0, parts[0][1]]
            maps = [
                whole.upstream.attention_maps(features[:, a:b], torch.tensor([b - a]))[:, 0].detach().numpy()
                for a, b in parts
            ]
            wanted = np.mean([utterance_metrics([one]).diagonality for one in maps], axis=0)
            np.testing.assert_allclose(metrics.diagonality, wanted, rtol=1e-6)
        else:
            np.testing.assert_allclose(metrics.diagonality, uncut.diagonality, rtol=1e-6)
    phones = FramePhones.of(alignment, lower)
    joint = phone_relations(utterances.take([cut[0]]), phones)[0].joint
    labels = phones.labels(corpus.ids[cut[0]], corpus.frame_times(cut[0]))
    running = RelationMaps(len(phones.names))
    parts = utterances.parts(cut[0])
    features = torch.from_numpy(np.array(corpus[cut[0]]))[None]
    for a, b in parts:
        running.add(
            [whole.upstream.attention_maps(features[:, a:b], torch.tensor([b - a]))[:, 0].detach().numpy()], labels[a:b]
        )
    np.testing.assert_allclose(joint, running.result().joint, rtol=1e-5)
    blocks = block_boundaries(
        utterances.take(range(3)),
        utterances.take(range(3, 8)),
        corpus.ids[3:8],
        alignment,
        BlockOptions(heads=((1, 1),), resamples=0),
        np.random.default_rng(0),
    )
    assert math.isfinite(blocks["heads"][0]["score"])


def test_metrics_of_several_samples_are_means_of_theirs(corpus, ckpt):
    utterances = opened(corpus, ckpt, 6)
    groups, samples = utterances.ids, [[0, 1, 2, 3], [2, 3, 4, 5]]
    first, second, both = (
        analyse_attention(utterances, groups, OPTIONS, samples=some) for some in ([samples[0]], [samples[1]], samples)
    )
    for name in ("globalness", "verticality", "diagonality"):
        means = (np.array(first["heads"][name]) + np.array(second["heads"][name])) / 2
        np.testing.assert_allclose(both["heads"][name], means, rtol=1e-9)
        assert (np.array(both["heads"]["low"][name]) < means).all()
    for one, other, point in zip(first["points"], second["points"], both["points"]):
        assert point["per_sample"] == [one["score"], other["score"]]
        assert point["score"] == pytest.approx((one["score"] + other["score"]) / 2)
        assert point["low"] < point["score"] < point["high"]
        assert "per_sample" not in one


def test_of_a_long_waveform_the_first_piece_is_looked_at(heard, tmp_path):
    """As if it ended there: metrics, times and labels are those of the recording that is cut to it."""
    pytest.importorskip("transformers")
    import soundfile

    from tests.helpers import huggingface_models as models

    folder = models.write_model(tmp_path / "m", "hubert_stable", normalise=True)
    corpus = Recordings([heard.recordings], None, sample_rate=16000)
    longest = 12000
    (tmp_path / "cut").mkdir()
    for number in range(3):
        sound, rate = soundfile.read(corpus.audio_paths[number], dtype="float32")
        assert len(sound) > longest
        soundfile.write(tmp_path / "cut" / f"{corpus.ids[number]}.wav", sound[:longest], rate)
    whole = load_upstream(f"hf:{folder}")
    short = UtteranceInputs.of(whole, Recordings([f"{tmp_path}/cut"], None, sample_rate=16000), range(3))
    upstream = load_upstream(f"hf:{folder}")
    upstream.longest, upstream.overlap = longest, 1000
    long = UtteranceInputs.of(upstream, corpus, range(3))
    assert long.cut == corpus.ids[:3]
    assert not short.cut
    assert not long.left_out
    assert [long.frames(n) for n in range(3)] == [short.frames(n) for n in range(3)]
    for one, other in zip(each_utterance(long), each_utterance(short)):
        np.testing.assert_allclose(one.diagonality, other.diagonality, rtol=1e-3)  # files of 16 bits
    phones = FramePhones.of(Alignment(f"{heard.root}/phones"), lower)
    content = analyse_attention(long, corpus.ids[:3], OPTIONS, phones)
    assert content["data"]["cut"] == corpus.ids[:3]
    assert phone_relations(long, phones)[0].joint.sum() == pytest.approx(LONG_HEADS)
    options = BlockOptions(heads=((0, 0),), resamples=0)
    generator = np.random.default_rng(0)
    blocks = block_boundaries(long.take([0]), long.take([1, 2]), ["a", "b"], phones.alignment, options, generator)
    inside = 0
    for name in corpus.ids[1:3]:
        edges = {edge for a, b, _ in phones.alignment.segments(name).tolist() if b < 0.75 for edge in (a, b)}
        inside += len(edges)
    assert abs(blocks["data"]["boundaries"] - inside) <= 2


def test_what_is_left_out_is_named(corpus, heard, tmp_path):
    lengths = np.array(corpus.lengths[:8])
    rate = int(np.median(lengths)) // 2 + 1  # so that some have two stacked frames
    ckpt = write_checkpoint(tmp_path / "s.ckpt", FEATURES, model=MODEL | {"downsample_rate": rate})
    utterances = opened(corpus, ckpt)
    short = {corpus.ids[i] for i in np.flatnonzero(lengths < 2 * rate)}
    assert 0 < len(short) < 8
    assert utterances.left_out == dict.fromkeys(short, "fewer than 2 frames for attention")
    with pytest.raises(ValueError, match=r"no utterance is left: .* for one: fewer than 2 frames"):
        UtteranceInputs.of(utterances.upstream, corpus, np.flatnonzero(lengths < 2 * rate))
    with pytest.raises(ValueError, match="none was asked for"):
        UtteranceInputs.of(utterances.upstream, corpus, [])
    gru = write_checkpoint(
        tmp_path / "g.ckpt", FEATURES, objective="apc", encoder="gru", gru={"layers": 1, "hidden_size": 8}
    )
    recurrent = load_upstream("pretrained", gru, corpus.info)
    tune, test = (UtteranceInputs.of(recurrent, corpus, some) for some in (range(2), range(2, 4)))
    blocks = block_boundaries(
        tune, test, ["a", "b"], Alignment(f"{heard.root}/phones"), BlockOptions(resamples=0), np.random.default_rng(0)
    )
    assert [point["label"] for point in blocks["points"]] == ["F", "T0", "T1"]
    assert blocks["heads"] == []
    read = []
    utterances.inputs.read = read.append
    with pytest.raises(ValueError, match="a step of pruning is 7 heads: expected 1 to 6"):
        analyse_attention(utterances, utterances.ids, dataclasses.replace(OPTIONS, step=7), score=dict)
    assert not read  # before any work
    for upstream in (recurrent, load_upstream("baseline", info=corpus.info)):
        with pytest.raises(ValueError, match=r"no attention|not of this upstream"):
            analyse_attention(UtteranceInputs.of(upstream, corpus, range(3)), ["a", "b", "c"], OPTIONS)


def test_intervals_draw_groups_not_utterances():
    """Utterances of one group alike: the interval is as wide as that of single ones, not narrower."""
    rng = np.random.default_rng(0)

    def metrics(sharpness):
        logits = sharpness * rng.normal(size=(1, 2, 12, 12))
        return utterance_metrics([np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)])

    single = [metrics(sharpness) for sharpness in np.linspace(0.5, 3, 12)]
    names = [str(i) for i in range(12)]
    one = measured_heads(single, names, np.random.default_rng(1), 300)
    repeated = measured_heads(single * 5, names * 5, np.random.default_rng(1), 300)
    np.testing.assert_allclose(one.low.globalness, repeated.low.globalness)
    np.testing.assert_allclose(one.high.globalness, repeated.high.globalness)
    np.testing.assert_allclose(one.mean.globalness, repeated.mean.globalness)
    free = measured_heads(single * 5, [str(i) for i in range(60)], np.random.default_rng(1), 300)
    assert (free.high.globalness - free.low.globalness < 0.6 * (one.high.globalness - one.low.globalness)).all()
    alone = measured_heads(single, ["a"] * 12, np.random.default_rng(1), 300)
    assert alone.low is alone.certainty is alone.layers is None
    with pytest.raises(ValueError, match="no utterance was measured"):
        measured_heads([], [], np.random.default_rng(0), 10)


def test_blocks_of_tones_are_found_in_features(corpus, heard, ckpt):
    """Made-up phones are steady tones: blocks of features find them far better than evenly spaced boundaries."""
    tune, test = opened(corpus, ckpt, 3), UtteranceInputs.of(load_upstream("pretrained", ckpt), corpus, range(3, 13))
    alignment, groups = Alignment(f"{heard.root}/phones"), [corpus.ids[n] for n in test.numbers]
    options = BlockOptions(heads=((0, 1), (1, 2)), resamples=50)
    content = block_boundaries(tune, test, groups, alignment, options, np.random.default_rng(0))
    points = {point["label"]: point for point in content["points"]}
    assert list(points) == ["F", "T0", "T1", "T2"]
    assert [point["label"] for point in content["heads"]] == ["T1 head 1", "T2 head 2"]
    best = points["F"]
    assert best["score"] > content["chance"] + 0.2
    assert best["low"] <= best["score"] <= best["high"]
    assert math.isfinite(content["heads"][0]["score"])
    assert content["data"]["utterances"] == 10
    assert block_content({"m": content})["upstreams"]["m"] == content["points"]
    metrics = list(each_utterance(tune))
    tables = (
        np.mean([getattr(one, name) for one in metrics], 0) for name in ("globalness", "verticality", "diagonality")
    )
    extreme = dict.fromkeys(np.unravel_index(table.argmax(), table.shape) for table in tables)
    chosen = block_boundaries(tune, test, groups, alignment, BlockOptions(resamples=0), np.random.default_rng(0))
    assert [point["label"] for point in chosen["heads"]] == [f"T{layer + 1} head {head}" for layer, head in extreme]
    assert chosen["points"][0]["score"] == best["score"]
    assert chosen["points"][0]["low"] is None
    with pytest.raises(ValueError, match="is scored, but the settings are chosen on it"):
        block_boundaries(tune, tune, groups, alignment, options, np.random.default_rng(0))


def test_a_model_of_transformers_hears_the_recordings(heard, tmp_path):
    pytest.importorskip("transformers")
    from tests.helpers import huggingface_models as models

    upstream = load_upstream(f"hf:{models.write_model(tmp_path / 'm', 'wavlm')}")
    corpus = Recordings([heard.recordings], None, sample_rate=16000)
    utterances = UtteranceInputs.of(upstream, corpus, range(4))
    phones = FramePhones.of(Alignment(f"{heard.root}/phones"), lower)

    def score(masked):
        with torch.no_grad():
            return {"energy": float(masked(utterances.read(0), torch.tensor([utterances.read(0).shape[1]]))[-1].norm())}

    content = analyse_attention(utterances, corpus.ids[:4], OPTIONS, phones, score)
    json.dumps(content, allow_nan=False)
    assert np.array(content["heads"]["globalness"]).shape == (3, 4)
    frames = len(list(each_utterance(utterances)))
    assert frames == content["data"]["utterances"] == 4
    (span,) = content["pruning"]["span"]
    assert len(set(span["figures"]["energy"])) > 3
    blocks = block_boundaries(
        utterances.take([0]), utterances.take([1, 2]), ["a", "b"], phones.alignment,
        BlockOptions(heads=((0, 0),), resamples=20), np.random.default_rng(0),
    )  # fmt: skip
    assert [point["label"] for point in blocks["points"]] == ["T0", "T1", "T2", "T3"]


def test_real_speech(corpora, tmp_path):
    """A small random model on parts of real recordings: every figure is there, and phones are where they are said.

    Blocks of features find the boundaries of real phones better than as many at equal distances."""
    mini = corpora / "libri_mini"
    listed = [line.split("\t") for line in (mini / "utterances.tsv").read_text().splitlines()]
    columns = {name: place for place, name in enumerate(listed[0])}
    rows = [row for row in listed[1:] if row[columns["speaker"]] == "4088"][:10]
    table = [f"{mini / row[columns['path']]},{row[columns['utt_id']]},4088" for row in rows]
    (tmp_path / "parts.csv").write_text("\n".join(["path,id,speaker", *table]) + "\n")
    paths = ["--output_path", str(tmp_path)]
    store = ["--data_path", str(tmp_path / "parts.csv"), "--name", "mel", "--feature_type", "mel", "--n_jobs", "1"]
    assert preprocess_any.main([*paths, *store]) == 0
    phones = ["--data_path", str(mini / "alignments/mfa"), "--phone_set", "arpabet39", "--name", "phones"]
    assert preprocess_alignment.main([*paths, *phones]) == 0
    corpus, alignment = Store(f"{tmp_path}/mel/all"), Alignment(tmp_path / "phones")
    ckpt = write_checkpoint(tmp_path / "m.ckpt", corpus.info.features, model=MODEL | {"downsample_rate": 3})
    utterances, saved = opened(corpus, ckpt, 10), load_pretrained(ckpt)
    names = FramePhones.of(alignment, lambda label: None if label == "sil" else label)
    scored = reconstruction_score(utterances.upstream, saved, utterances.take([0, 1]))
    content = analyse_attention(utterances, utterances.ids, OPTIONS, names, scored)
    json.dumps(content, allow_nan=False)
    assert content["data"] == {"utterances": 10, "groups": 10, "left_out": {}, "cut": [], "phones": 39, "unaligned": []}
    concentration = np.array(content["maps"]["concentration, phones"]["values"], dtype=float)
    assert concentration.shape == (LAYERS * HEADS, 39)
    assert np.nanmin(concentration) >= -1
    assert 0 < np.nanmax(np.abs(concentration)) < 5
    tune, test = utterances.take(range(3)), utterances.take(range(3, 10))
    blocks = block_boundaries(tune, test, test.ids, alignment, BlockOptions(resamples=50), np.random.default_rng(0))
    (features,) = (point for point in blocks["points"] if point["label"] == "F")
    assert features["low"] > blocks["chance"]
