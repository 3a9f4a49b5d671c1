"""run_analysis.py on real speech: LibriSpeech readers with phones and words of an aligner; skipped without corpora."""

import json
from pathlib import Path

import pandas as pd
import pytest

import run_analysis
from preprocess import preprocess_alignment, preprocess_any

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
