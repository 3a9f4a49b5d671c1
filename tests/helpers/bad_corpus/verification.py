"""The bad inputs of verification: lists of trials, and what makes them."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import Case, case
from tests.helpers.downstream_corpus import write_store

RUN = "run_downstream.py --upstream baseline --cpu --no-msg --expdir exp data.train=[heard/store/all] --run"
COSINE, XVECTOR = (f"{RUN} asv_{name} data.trials=heard" for name in ("cosine", "xvector"))
MAKE = "make_trials.py --output made.txt --data_path heard"
LISTS = {
    "good": "1 s0-0 s0-1\n0 s0-0 s1-0\n",
    "other": "1 s2-0 s2-1\n0 s2-0 s3-0\n",
    "known": "1 s0-1 s0-2\n0 s0-1 s2-0\n",
    "empty": "\n\n",
    "worded": "1 s0-0 s0-1\n0 s0-0 s1-0\nperhaps s0-0 s1-1\n",
    "kaldi": "s0-0 s0-1 target\ns0-0 s1-0 nontarget\n",
    "cut": "1 s0-0 s0-1\n0 s0-0\n",
    "unknown": "1 s0-0 s0-1\n0 s0-0 s9-0\n",
    "foreign": "1 a b\n0 a c\n",
    "twice": "1 s0-0 s0-1\n0 s0-0 s1-0\n\n1 s0-0 s0-1\n",
    "both": "1 s0-0 s0-1\n0 s0-0 s1-0\n0 s0-1 s0-0\n",
    "itself": "1 s0-0 s0-0\n0 s0-0 s1-0\n",
    "targets": "1 s0-0 s0-1\ntarget s0-0 s0-2\n",
    "wrong": "1 s0-0 s0-1\n0 s0-0 s1-0\n0 s1-0 s1-1\n",
    "mute": "1 -0 -1\n0 -0 -2\n",
    "held": "1 s0-5 s0-6\n0 s0-5 s8-0\n",
}
TABLES = {
    "labels": "id,mood\ns0-0,gay\n",
    "good": "id,speaker,sex\na,x,F\nb,x,F\nc,y,F\nd,z,M\n",
    "speakerless": "id,name\na,x\n",
    "nameless": "id,speaker\na,x\nb,\n",
    "twice": "id,speaker\na,x\nb,y\na,y\n",
    "spaced": "id,speaker\na,x\nb b,y\n",
    "ragged": "id,speaker\na,x,F\n",
    "sexes": "id,speaker,sex\na,x,F\nb,x,M\n",
    "single": "id,speaker\na,x\nb,x\n",
}

CASES: list[Case] = [
    case("verification without trials", f"{RUN} asv_cosine", "data.trials", "preprocess/make_trials.py"),
    case("trials that are not there", f"{COSINE}/nowhere.txt", "heard/nowhere.txt", "no such list"),
    case("a folder for trials", f"{COSINE}/store", "heard/store", "a folder"),
    case("trials that are no text", f"{COSINE}/latin.txt", "heard/latin.txt", "line 2", "not UTF-8"),
    case("list without trials", f"{COSINE}/empty.txt", "heard/empty.txt", "no trial in it"),
    case("label of a trial that is none", f"{COSINE}/worded.txt", "heard/worded.txt: line 3", "'perhaps s0-0 s1-1'", "nontarget"),
    case("trials with their label behind", f"{COSINE}/kaldi.txt", "heard/kaldi.txt: line 1", "the label comes first"),
    case("trial of one utterance", f"{COSINE}/cut.txt", "heard/cut.txt: line 2", "'0 s0-0'"),
    case("trial of an utterance that is not there", f"{COSINE}/unknown.txt", "heard/unknown.txt: line 2", "'s9-0'", "leave_out"),
    case("trials of other utterances, left out", f"{COSINE}/foreign.txt data.unaligned=leave_out", "heard/foreign.txt", "none of its 2 trials"),
    case("trial that is there twice", f"{COSINE}/twice.txt", "heard/twice.txt", "'s0-0 s0-1'", "twice", "lines 1 and 4"),
    case("trial with both labels", f"{COSINE}/both.txt", "heard/both.txt", "both labels", "lines 1 and 3"),
    case("trial of an utterance with itself", f"{COSINE}/itself.txt", "heard/itself.txt: line 1", "'s0-0'", "beside itself"),
    case("trials of one kind", f"{COSINE}/targets.txt", "heard/targets.txt", "all 2 trials are target"),
    case("trial whose label the speakers contradict", f"{COSINE}/wrong.txt", "heard/wrong.txt: line 3", "nontarget", "'s1'"),
    case("trials of a speaker of train", f"{COSINE}/held.txt data.test=[heard/held/all] data.dev_trials=heard/other.txt", "heard/held.txt: line 1", "speaker 's0'", "is in train"),
    case("trials of utterances listed for train", f"{COSINE}/good.txt data.test=[heard/apart/all]", "heard/good.txt: line 1", "'s0-0'", "data.train", "data.test"),
    case("trials of dev with a speaker of test", f"{COSINE}/good.txt data.dev_trials=heard/known.txt", "heard/known.txt: line 1", "'s0'", "heard/good.txt"),
    case("speaker of test listed for dev", f"{COSINE}/held.txt data.train=[heard/rest/all] data.dev=[heard/near/all] data.test=[heard/held/all]", "asv_cosine", "speaker 's0'", "both dev and test"),
    case("trials of dev alone", f"{RUN} asv_cosine data.dev_trials=heard/good.txt", "dev_trials", "data.trials"),
    case("trials for another task", f"{RUN} speaker_utterance data.trials=heard/good.txt", "data.trials", "speaker_utterance has no use"),
    case("one dev speaker", f"{COSINE}/good.txt data.dev_speakers=[s2]", "asv_cosine", "1 dev speakers", "data.dev_trials"),
    case("folds of trials", f"{COSINE}/good.txt --folds", "asv_cosine", "--folds"),
    case("table of labels beside trials", f"{COSINE}/good.txt data.labels=heard/labels.csv", "asv_cosine", "data.labels"),
    case("division of trials by utterance", f"{COSINE}/good.txt data.split=utterance", "asv_cosine", "'utterance'"),
    case("trials of nobody", f"{COSINE}/mute.txt data.train=[heard/mute/all]", "speaker of every utterance", "'-0'"),
    case("attention that is not trained", f"{COSINE}/good.txt probe.pool=attention", "'attention'", "asv_cosine", "statistics"),
    case("layers of a head that has none", f"{COSINE}/good.txt data.train=[heard/more/all] data.dev_trials=heard/other.txt probe.hidden_layers=1", "probe.hidden_layers=1", "asv_cosine"),
    case("tuning without training", f"{COSINE}/good.txt --fine_tune", "--fine_tune", "solved"),
    case("pooling of an x-vector", f"{XVECTOR}/good.txt probe.pool=mean", "probe.pool", "asv_xvector"),
    case("x-vector without a width", f"{XVECTOR}/good.txt data.train=[heard/long/all] data.dev_trials=heard/other.txt probe.projector=0", "probe.projector=0", "512"),
    case("x-vectors of short utterances", f"{XVECTOR}/good.txt data.train=[heard/more/all] data.dev_trials=heard/other.txt", "asv_xvector", "2 s"),
    case("trials made of a folder", f"{MAKE}/store", "heard/store", "a folder"),
    case("trials made of a table without speakers", f"{MAKE}/speakerless.csv", "heard/speakerless.csv", "id and speaker", "id, name"),
    case("trials made of an utterance without a speaker", f"{MAKE}/nameless.csv", "heard/nameless.csv: line 3", "'b'", "no speaker"),
    case("trials made of an utterance that is there twice", f"{MAKE}/twice.csv", "heard/twice.csv: line 4", "'a'", "line 2"),
    case("trials made of an id with a blank", f"{MAKE}/spaced.csv", "heard/spaced.csv: line 3", "'b b'"),
    case("trials made of a row that is too long", f"{MAKE}/ragged.csv", "heard/ragged.csv: line 2", "2 columns"),
    case("trials made of a speaker of two sexes", f"{MAKE}/sexes.csv", "heard/sexes.csv: line 3", "'x'", "'M'", "'F'"),
    case("trials made of one speaker", f"{MAKE}/single.csv", "1 speakers", "0 nontarget"),
    case("trials made of a speaker who is not there", f"{MAKE}/good.csv --speakers heard/some.txt", "heard/some.txt: line 2", "'w'", "x, y, z"),
    case("trials made of more speakers than there are", f"{MAKE}/good.csv --first 2", "--first 2", "1 speakers", "'M'"),
    case("trials by a column that is not there", f"{MAKE}/good.csv --sex_column gender", "heard/good.csv", "'gender'"),
    case("trials of speakers said twice", f"{MAKE}/good.csv --first 1 --speakers heard/some.txt", "--first", "--speakers"),
    case("trials over a file that is there", "make_trials.py --output heard/good.txt --data_path heard/good.csv", "heard/good.txt", "exists"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    folder = root / "heard"
    folder.mkdir()
    generator = np.random.default_rng(0)

    def store(name: str, speakers: str, frames: int = 4) -> None:
        keys = [f"s{speaker}-{number}" for speaker in speakers for number in range(3)]
        write_store(folder / name, "all", {key: generator.normal(size=(frames, 2)).astype(np.float32) for key in keys})

    store("store", "0123")
    store("long", "012345", frames=210)
    store("more", "012345")
    store("rest", "23")
    write_store(folder / "mute", "all", {f"-{number}": np.zeros((4, 2), np.float32) for number in range(3)})
    held = {"held": ("s0-5", "s0-6", "s8-0"), "apart": ("s8-1", "s8-2", "s9-0"), "near": ("s0-7", "s0-8", "s1-7")}
    for name, keys in held.items():
        write_store(folder / name, "all", {key: np.zeros((4, 2), np.float32) for key in keys})
    for name, text in LISTS.items():
        (folder / f"{name}.txt").write_text(text)
    (folder / "latin.txt").write_bytes(b"1 s0-0 s0-1\n0 s0-0 \xe9\n")
    (folder / "some.txt").write_text("x\nw\n")
    for name, text in TABLES.items():
        (folder / f"{name}.csv").write_text(text)
