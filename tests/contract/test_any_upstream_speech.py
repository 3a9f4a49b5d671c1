"""Each task on each kind of upstream of waveforms, on parts of real recordings with an alignment in frames of 10 ms."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from downstream.config import DownstreamConfig
from downstream.experiment import Experiment
from downstream.setting import Setting
from downstream.sweep import run_single
from downstream.tasks.table import find_task
from mockingjay.upstreams.spec import UpstreamSpec
from preprocess import preprocess_alignment, preprocess_any
from tests.helpers.any_specs import SPECS, make_spec
from tests.helpers.downstream_corpus import TABLELESS
from utility.config import build
from utility.labels.alignment import Alignment, write_alignment

SECONDS, READERS, EACH = 3.0, ("4088", "4406", "5652"), 4


@pytest.fixture(scope="module")
def speech(corpora, tmp_path_factory) -> Path:
    """A store of Kaldi's filterbanks, 10 ms apart, of the first seconds of a few utterances; their phones."""
    root = tmp_path_factory.mktemp("speech")
    mini = corpora / "libri_mini"
    listed = pd.read_csv(mini / "utterances.tsv", sep="\t", dtype=str)
    listed = listed[listed["speaker"].isin(READERS)].groupby("speaker").head(EACH)
    rows = [f"{mini / row.path},{row.utt_id},{row.speaker},0,{SECONDS}" for row in listed.itertuples()]
    (root / "parts.csv").write_text("\n".join(["path,id,speaker,start,end", *rows]) + "\n")
    store = ["--data_path", str(root / "parts.csv"), "--output_path", str(root), "--n_jobs", "1", "--name", "fbank"]
    assert preprocess_any.main([*store, "--feature_type", "kaldi_fbank", "--apply_cmvn", "False"]) == 0
    phones = ["--data_path", str(mini / "alignments/mfa"), "--output_path", str(root), "--phone_set", "arpabet39"]
    assert preprocess_alignment.main([*phones, "--name", "whole"]) == 0
    whole = Alignment(root / "whole")
    cut = {
        key: [
            (float(start), min(float(end), SECONDS), whole.labels[label])
            for start, end, label in whole.segments(key)
            if start < SECONDS
        ]
        for key in listed["utt_id"]
    }
    write_alignment(root / "phones", cut.items())
    return root


@pytest.fixture(scope="module")
def specs(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("specs")
    return {name: make_spec(name, root / name) for name in SPECS}


def setting(speech: Path, task: str, spec: str, **upstream) -> Setting:
    data = {"train": [f"{speech}/fbank/all"], "alignment": f"{speech}/phones", "cache": f"{speech}/cache"}
    data |= {"dev_share": 0.25, "test_share": 0.25}
    values = {"data": data, "trainer": {"steps": 4, "eval_every": 4}, "optimizer": {"lr": 0.02}, "upstream": upstream}
    config = build(DownstreamConfig, values)
    return Setting(find_task(task), UpstreamSpec.parse(spec), config, 1, torch.device("cpu"), quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("task", TABLELESS)
@pytest.mark.parametrize("name", SPECS)
def test_each_task_on_each_kind_of_upstream(name, task, speech, specs, monkeypatch):
    monkeypatch.setattr("downstream.report.save_figure", lambda *_: None)
    result = run_single(setting(speech, task, specs[name]), speech / "runs" / name / task)
    assert 0 <= result["value"] <= 100
    parts = [result["division"][part] for part in ("train", "dev", "test")]
    assert sum(part["utterances"] for part in parts) == len(READERS) * EACH
    assert sum(part["frames"] for part in parts) == len(READERS) * EACH * ((48000 - 400) // SPECS[name] + 1)
    assert result["cost"]["frames"] == sum(part["frames"] for part in parts)


def plain_labels(alignment: Alignment, key: str, times: list[float]) -> list[str]:
    """What a reader of the alignment sees at each of the times."""
    segments = alignment.segments(key)
    return [next(alignment.labels[s["label"]] for s in segments if s["start"] <= time < s["end"]) for time in times]


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_labels_of_ten_frames_are_those_at_their_centres(name, speech, specs):
    made = Experiment(setting(speech, "phone_linear", specs[name]), speech / "unused")
    fine = Experiment(setting(speech, "phone_linear", "baseline"), speech / "unused")
    alignment, step = Alignment(speech / "phones"), SPECS[name] // 160
    for index, key in enumerate(made.corpus.utterances.ids[:3]):
        times = [0.0125 + SPECS[name] / 16000 * frame for frame in range(30, 40)]  # into the speech
        assert made.corpus.utterances.frame_times(index)[30:40] == pytest.approx(times, abs=1e-9)
        labels = made.corpus.labels
        found = [labels.classes[code] for code in labels.frames(index, 30, 40)]
        assert found == plain_labels(alignment, key, times)
        assert len(set(found)) > 1
        every = fine.corpus.labels.frames(index, 0, int(fine.corpus.utterances.lengths[index]))  # every 10 ms
        assert np.array_equal(labels.frames(index, 30, 40), every[30 * step : 40 * step : step])
