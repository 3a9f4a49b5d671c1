"""An analysis run again on what changed in between: nothing of the run before it is taken for what it is not.

The original files what it keeps by name or by count; here it is kept by content."""

import json
import shutil

import numpy as np
import pytest

import run_analysis
from analysis.moment_files import load_moments
from tests.helpers.analysis_corpus import Analysed, analysed_corpus
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.downstream_corpus import WIDTH
from utility.labels.alignment import Alignment, write_alignment


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Analysed:
    return analysed_corpus(tmp_path_factory.mktemp("analysed"))


def scores(result: dict, name: str, curve: str = "baseline") -> list[float]:
    return [row["score"] for row in result["experiments"][name]["upstreams"][curve]]


@pytest.fixture
def kept(corpus, tmp_path) -> str:
    """A cache that all runs of a test share."""
    return f"data.cache={tmp_path}/cache"


@pytest.mark.slow
def test_other_features_in_the_same_place_are_scored_anew(corpus, kept):
    """A24: as many files as before passed for the same split, and matrices of another run for those of this one."""
    shutil.copytree(corpus.root / "store", corpus.root / "changed")
    store, names = f"data.store=[{corpus.root}/changed/all]", "cca_phone,cca_mel"
    before = corpus.run(names, "before", kept, store)
    frames = np.load(corpus.root / "changed/all.npy", mmap_mode="r+")
    frames[:] = np.random.default_rng(5).normal(size=frames.shape)  # as many, of the same utterances
    frames.flush()
    after = corpus.run(names, "after", kept, store)
    alone = corpus.run(names, "after_alone", store)
    assert scores(after, "cca_phone") == scores(alone, "cca_phone")
    assert scores(before, "cca_phone")[0] > scores(after, "cca_phone")[0] + 0.3


@pytest.mark.slow
def test_a_sample_has_a_division_and_views_of_its_own(corpus, kept):
    """A25: the files of a split served all layers, and stayed for the next sample."""
    names = "cca_phone,cca_mel"
    file = write_checkpoint(corpus.root / "fixed.ckpt", None, WIDTH, model={"layers": 2, "hidden_size": 16, "heads": 2})
    tiny = ("--upstream", f"tiny=pretrained:{file}")  # random weights would be of the seed, too
    both = corpus.run(names, "both", *tiny, kept, "--samples", "2", "--seed", "7", "sampling.utterances=30")
    for number in range(2):
        one = corpus.run(names, f"one{number}", *tiny, "--seed", str(7 + number), "sampling.utterances=30")
        for name in names.split(","):
            rows = both["experiments"][name]["upstreams"]["tiny"]
            assert [row["per_sample"][number] for row in rows] == scores(one, name, "tiny"), (name, number)


@pytest.mark.slow
def test_layer_0_alone_has_its_own_lengths(corpus, kept):
    """A26: the lengths of all layers were those of layer 1, and there were none without it."""
    names = "cca_mel,cca_phone,segmentation"
    every = corpus.run(names, "every", upstream=corpus.tiny)
    alone = corpus.run(names, "layer0", "--layer", "0", upstream=corpus.tiny)
    for name in names.split(","):
        assert scores(alone, name, "tiny") == pytest.approx(scores(every, name, "tiny")[:1], abs=1e-9), name


@pytest.mark.slow
def test_other_labels_of_the_same_tokens_are_scored_anew(corpus, kept):
    """A27: lists of labels were copied where there were none yet, so old ones stayed after a new draw."""
    alignment = Alignment(corpus.root / "words")
    renamed = dict(zip(alignment.labels, [*alignment.labels[1:], alignment.labels[0]]))
    write_alignment(
        corpus.root / "other_words",
        [
            (key, [(row["start"], row["end"], renamed[alignment.labels[row["label"]]]) for row in rows])
            for key, rows in ((key, alignment.segments(key)) for key in alignment.ids)
        ],
    )
    names, other = "cca_semantic,wordsim", f"data.words={corpus.root}/other_words"
    before, after = corpus.run(names, "said", kept), corpus.run(names, "said_otherwise", kept, other)
    alone = corpus.run(names, "said_otherwise_alone", other)
    for name in names.split(","):
        assert scores(after, name) == scores(alone, name) != scores(before, name), name
    samples = [
        json.loads((corpus.folder(run) / "samples/all_words_sample0.json").read_text())
        for run in ("said", "said_otherwise")
    ]
    spans = [[[row[:2] for row in tokens[1:]] for tokens in sample.values()] for sample in samples]
    assert spans[0] == spans[1]
    assert samples[0] != samples[1]


@pytest.mark.slow
def test_batches_change_no_sum(corpus, tmp_path):
    """Of utterances padded to one length, and of each alone."""
    sums = []
    for seconds in (40, 0.1):
        cache = tmp_path / str(seconds)
        kept = (f"data.cache={cache}", f"data.batch_seconds={seconds}", "--bootstrap", "0")
        corpus.run("cca_intra", f"batches{seconds}", *kept, upstream=corpus.tiny)
        (file,) = cache.glob("frames_*/0.npz")
        sums.append(load_moments(file))
    assert (sums[0].counts == sums[1].counts).all()
    for label in ("T1", "T2"):
        one, other = (each.pair("T0", label, range(each.layout.sets)) for each in sums)
        for name in ("xx", "yy", "xy", "mean_x", "mean_y"):
            values = getattr(one, name)
            np.testing.assert_allclose(getattr(other, name), values, rtol=1e-6, atol=1e-6 * np.abs(values).max())


@pytest.mark.slow
def test_files_of_the_original_are_written_whole_each_time(corpus):
    """A29: scores were appended to the lists of every run before."""
    corpus.run("mi_phone,cca_phone", "listed", "--samples", "2", "--original_files")
    folder = corpus.folder("listed") / "original/baseline"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    corpus.run("mi_phone,cca_phone", "listed", "--samples", "2", "--original_files", "--resume")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len((folder / "mi_phone_all_train.lst").read_text().splitlines()) == 2  # a layer, two samples, one seed


@pytest.mark.slow
def test_samples_are_those_that_are_asked_for(corpus):
    """A31: they were counted by files of a name that nothing writes, so there were none."""
    two = corpus.run("cca_phone", "two", "--samples", "2")
    folder = corpus.folder("two") / "samples"
    assert sorted(path.name for path in folder.iterdir()) == ["phones_sample0.json", "phones_sample1.json"]
    assert len(two["experiments"]["cca_phone"]["upstreams"]["baseline"][0]["per_sample"]) == 2
    words = ["--run", "cca_phone", "--upstream", "baseline", "--samples", "3", f"sampling.given={folder}"]
    with pytest.raises(ValueError, match=r"it has no phones_sample2\.json"):
        run_analysis.main([*words, *corpus.words()])
