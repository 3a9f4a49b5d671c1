"""The bad inputs of classes and numbers of utterances: columns, numbers, pools, heads, draws, crops and their metrics."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import Case, case
from tests.helpers.downstream_corpus import write_store

RUN = "run_downstream.py --upstream baseline --cpu --no-msg --expdir exp data.train=[rated/store/all] --run"
UTTERANCE = f"{RUN} utterance data.labels=rated/labels.csv data.label_column="
LEVEL = f"{UTTERANCE}level data.label_kind=number"
SAID = [f"s{speaker}-{number}" for speaker in range(4) for number in range(3)]

CASES: list[Case] = [
    case("preset without a table", f"{RUN} keyword_spotting", "keyword_spotting", "data.labels", "data.label_column"),
    case("name of SUPERB without a table", f"{RUN} er", "emotion", "data.labels"),
    case("number that is a word", f"{UTTERANCE}mixed data.label_kind=number", "rated/labels.csv: line 3", "mixed", "'much'"),
    case("number that is not finite", f"{UTTERANCE}broken data.label_kind=number", "rated/labels.csv: line 4", "broken", "'nan'"),
    case("number that is empty", f"{UTTERANCE}hollow data.label_kind=number", "rated/labels.csv: line 5", "hollow is empty", "leave_out"),
    case("numbers that are all one", f"{UTTERANCE}same data.label_kind=number", "every label", "is 2", "nothing to learn"),
    case("number beyond the bounds", f"{LEVEL} probe.bounds=[0,10]", "rated/labels.csv: line 13", "'11'", "probe.bounds=[0.0, 10.0]"),
    case("bounds the wrong way round", f"{LEVEL} probe.bounds=[5,1]", "bounds are [5.0, 1.0]", "[1, 5]"),
    case("one bound", f"{LEVEL} probe.bounds=[5]", "bounds are [5.0]", "lowest and the highest"),
    case("bounds of classes", f"{UTTERANCE}mood probe.bounds=[1,5]", "probe.bounds", "utterance has no use for it"),
    case("loss of classes", f"{UTTERANCE}mood probe.loss=mae", "probe.loss='mae'", "no use for it"),
    case("numbers in two columns", f"{RUN} mos data.labels=rated/labels.csv data.label_column=[level,same]", "mos: data.label_column lists 2 columns", "a number is in one"),
    case("renamed numbers", f"{LEVEL} data.label_map={{11:\\ 12}}", "data.label_map", "numbers"),
    case("classes of numbers", f"{RUN} mos data.labels=rated/labels.csv data.label_column=level data.classes=[1,2]", "data.classes", "numbers", "data.label_kind=class"),
    case("numbers drawn equally often", f"{LEVEL} data.balance=true", "data.balance=True", "no use for it"),
    case("numbers of speakers", f"{RUN} speaker_utterance data.labels=rated/labels.csv data.label_column=level data.label_kind=number", "speaker_utterance takes classes", "--run utterance"),
    case("two columns of a speaker", f"{RUN} speaker_utterance data.labels=rated/labels.csv data.label_column=[mood,act]", "data.label_column lists 2 columns", "a speaker is in one"),
    case("metric of numbers for classes", f"{UTTERANCE}mood probe.metric=mae", "probe.metric='mae'", "accuracy, macro_f1, weighted_f1, uar"),
    case("metric of classes for numbers", f"{LEVEL} probe.metric=uar", "probe.metric='uar'", "mae, mse, pearson, spearman"),
    case("metric of several columns", f"{UTTERANCE}[mood,act] probe.metric=uar", "utterance of several columns computes accuracy"),
    case("classes listed for several columns", f"{UTTERANCE}[mood,act] data.classes=[gay,sad]", "data.classes", "several"),
    case("mode of several columns", f"{UTTERANCE}[mood,act] data.label_mode=seven", "data.label_mode seven", "several"),
    case("renamed label that no column has", f"{UTTERANCE}[mood,act] data.label_map={{exc:\\ gay}}", "data.label_map", "'exc'", "gay"),
    case("one of several labels is empty", f"{UTTERANCE}[mood,hollow]", "rated/labels.csv: line 5", "hollow is empty", "leave_out"),
    case("one of several columns has one class", f"{UTTERANCE}[mood,same]", "column same", "at least 2 classes", "1 (2)"),
    case("pool that there is not", f"{UTTERANCE}mood probe.pool=median", "probe.pool", "'median'", "statistics"),
    case("pool of frames' classes", f"{RUN} speaker_frame probe.pool=statistics", "probe.pool='statistics'", "speaker_frame"),
    case("pool of a recurrent head", f"{UTTERANCE}mood probe.head=gru probe.pool=attention", "probe.pool=attention", "probe.head=gru"),
    case("frames left out by a head that reads all", f"{UTTERANCE}mood probe.skip=5", "probe.skip=5", "probe.head=gru"),
    case("head of recognition for utterances", f"{UTTERANCE}mood probe.head=bilstm", "probe.head=bilstm", "linear and gru"),
    case("context of a recurrent head", f"{UTTERANCE}mood probe.head=gru probe.context=3", "probe.context=3", "whole"),
    case("crops of frames' classes", f"{RUN} speaker_frame data.max_frames=100", "data.max_frames=100", "speaker_frame"),
    case("sweep over metrics", f"{UTTERANCE}mood --sweep probe.metric=uar,accuracy", "metric=accuracy", "another task", "metric=uar"),
    case("sweep over numbers and classes", f"{UTTERANCE}level --sweep data.label_kind=number,class", "another task", "label_kind=number"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    folder = root / "rated"
    folder.mkdir()
    generator = np.random.default_rng(0)
    write_store(folder / "store", "all", {key: generator.normal(size=(4, 2)).astype(np.float32) for key in SAID})
    lines = ["id,mood,level,act,same,mixed,broken,hollow"]
    for number, key in enumerate(SAID):
        mood, act = ("gay", "sad")[number % 2], f"a{number % 3}"
        odd = {1: ("much", "1", "1"), 2: ("2", "nan", "2"), 3: ("3", "3", "")}.get(number, (str(number),) * 3)
        lines.append(f"{key},{mood},{number},{act},2,{','.join(odd)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
