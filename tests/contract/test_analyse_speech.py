"""run_analysis.py on real speech: LibriSpeech readers with phones and words of an aligner; skipped without corpora."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

import run_analysis
import runner_mockingjay
from preprocess import preprocess_alignment, preprocess_any, preprocess_libri

APC = {
    "objective": "apc",
    "encoder": "gru",
    "gru": {"layers": 2, "hidden_size": 128},
    "loader": {"batch_frames": 1500, "max_frames": 128},
    "optimizer": {"lr": 2e-3, "warmup": 0.03},
    "trainer": {"steps": 200, "eval_every": 100, "save_every": 200},
}
READERS, EACH, SECONDS = 6, 6, 8.0


@pytest.fixture(scope="module")
def speech(corpora, tmp_path_factory) -> Path:
    """Short utterances of a few readers: Kaldi's filterbank, phones and words."""
    root, mini = tmp_path_factory.mktemp("speech"), corpora / "libri_mini"
    listed = pd.read_csv(mini / "utterances.tsv", sep="\t", dtype=str)
    listed = listed[(listed["seconds"].astype(float) < SECONDS) & (listed["pocketsphinx_alignment"] == "1")]
    listed = listed.groupby("speaker").head(EACH)
    full = listed["speaker"].value_counts()
    listed = listed[listed["speaker"].isin(full.index[:READERS])]
    rows = [f"{mini / row.path},{row.utt_id},{row.speaker}" for row in listed.itertuples()]
    (root / "table.csv").write_text("\n".join(["path,id,speaker", *rows]) + "\n")
    store = ["--data_path", str(root / "table.csv"), "--output_path", str(root), "--n_jobs", "1", "--name", "fbank"]
    assert preprocess_any.main([*store, "--feature_type", "kaldi_fbank", "--apply_cmvn", "False"]) == 0
    for tier, more in (("phones", ["--phone_set", "arpabet39"]), ("words", [])):
        place = ["--data_path", str(mini / "alignments/pocketsphinx"), "--output_path", str(root)]
        assert preprocess_alignment.main([*place, "--tier", tier, "--name", tier, *more]) == 0
    (root / "tiny.yaml").write_text("model: {layers: 2, hidden_size: 32, heads: 2, ffn_size: 64}\n")
    return root


@pytest.mark.slow
def test_real_speech_is_above_chance_with_its_interval(speech):
    """Training-free: the filterbank, and random layers over it. Labels of an aligner are known beyond chance."""
    words = [
        "--run",
        "cca_phone,mi_phone,cca_mel,awd,segmentation,cca_speaker",
        "--cpu",
        "--no-msg",
        "--bootstrap",
        "50",
    ]
    words += ["--upstream", "baseline", "--upstream", f"random=random:{speech}/tiny.yaml", "--name", "speech"]
    words += [f"data.store=[{speech}/fbank/all]", f"data.alignment={speech}/phones", f"data.words={speech}/words"]
    options = ["mi.seeds=1", "awd.min_letters=3", "awd.min_seconds=0.15", "cca.groups=20", "--bootstrap", "50"]
    assert run_analysis.main([*words, *options, "--expdir", str(speech / "result")]) == 0
    result = json.loads((speech / "result/result_analysis/speech/result.json").read_text())
    for name in ("cca_phone", "mi_phone", "awd"):
        found = result["experiments"][name]
        row = found["upstreams"]["baseline"][0]
        assert row["low"] > found["chance"], name
        assert row["low"] <= row["score"] <= row["high"], name
    mel = [row["score"] for row in result["experiments"]["cca_mel"]["upstreams"]["random"]]
    assert all(0.3 < score < 0.9 for score in mel)  # 32 dimensions hold a part of 80 bands


@pytest.mark.slow
def test_a_small_model_of_real_speech_is_above_its_random_twin_and_its_features(speech, corpora, tmp_path):
    """A GRU that predicts frames (APC) learns in a minute what these curves show; a masked model takes an hour."""
    store, made = speech / "whole", ["--output_path", str(speech), "--n_jobs", "1", "--name", "whole"]
    assert (
        preprocess_libri.main(["--data_path", str(corpora / "libri_mini"), "--feature_type", "kaldi_fbank", *made]) == 0
    )
    (tmp_path / "apc.yaml").write_text(yaml.safe_dump(APC))
    data = [f"data.train=[{store}/train-clean-100]", f"data.dev=[{store}/test-other]"]
    places = ["--ckpdir", str(tmp_path), "--logdir", str(tmp_path / "log"), "--name", "apc", "--cpu", "--no-msg"]
    assert runner_mockingjay.main(["--train", "--config", str(tmp_path / "apc.yaml"), *places, *data]) == 0
    ckpt = tmp_path / "apc/best.ckpt"
    upstreams = [f"trained=pretrained:{ckpt}", f"twin=random:{ckpt}", "features=baseline"]
    words = ["--run", "cca_phone", *(word for one in upstreams for word in ("--upstream", one)), "--cpu", "--no-msg"]
    words += [f"data.store=[{store}/train-clean-100]", f"data.alignment={speech}/phones", "--expdir", str(tmp_path)]
    assert run_analysis.main([*words, "--bootstrap", "100", "--name", "speech"]) == 0
    found = json.loads((tmp_path / "result_analysis/speech/result.json").read_text())["experiments"]["cca_phone"]
    clear = {
        (*row["one"], *row["other"]): row["low"] for row in found["differences"] if row["one"] == ["trained", "T2"]
    }
    assert all(clear["trained", "T2", name, layer] > 0 for name, layer in (("twin", "T2"), ("features", "F"))), clear
