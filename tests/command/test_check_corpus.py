"""check_corpus.py: what it says of a corpus, that it finds what is broken, and that it writes nothing unasked."""

import json
import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess import preprocess_text
from preprocess.check_corpus import main
from tests.helpers.files import contents
from tests.helpers.shared import PROJECT
from utility.labels.alignment import write_alignment
from utility.labels.texts import TextInfo, write_texts

RATE = 16000
LENGTHS = {"train/s1/a": 1.0, "train/s1/b": 2.0, "train/s2/c": 4.0, "test/s2/d": 0.5, "test/s3/e": 1.5}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Two splits, three speakers, one of them in both; one stereo file, one of another rate."""
    root = tmp_path_factory.mktemp("look") / "corpus"
    rng = np.random.default_rng(0)
    for name, seconds in LENGTHS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        rate, channels = (8000 if name.endswith("d") else RATE), (2 if name.endswith("c") else 1)
        wave = 0.1 * rng.standard_normal((int(seconds * rate), channels)).clip(-3, 3)
        soundfile.write(root / f"{name}.wav", wave, rate)
    return root


def seen(tmp_path: Path, *words: object, code: int = 0) -> dict:
    """What the command writes as JSON."""
    assert main([*map(str, words), "--output", str(tmp_path / "look.json"), "--n_jobs", "2"]) == code
    return json.loads((tmp_path / "look.json").read_text(encoding="utf-8"))


def test_sizes_of_splits(corpus, tmp_path, capsys):
    before = contents(corpus)
    about = seen(tmp_path, "--data_path", corpus)
    train, test = about["splits"]["train"], about["splits"]["test"]
    assert train["hours"] == pytest.approx(7 / 3600)
    assert (train["utterances"], train["speakers"], train["broken"]) == (3, 2, 0)
    assert train["shortest"] == {"id": "a", "seconds": 1.0}
    assert train["longest"] == {"id": "c", "seconds": 4.0}
    assert (train["median_seconds"], test["median_seconds"]) == (2.0, 1.0)
    assert train["channels"] == {"1": 2, "2": 1}
    assert test["sample_rates"] == {"8000": 1, "16000": 1}
    assert (about["all"]["utterances"], about["all"]["speakers"]) == (5, 3)
    assert about["speakers_in_several_splits"] == {"test, train": 1}
    assert "clipped" not in about
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(corpus)
    assert lines[1].split() == "split utterances broken hours speakers shortest median longest Hz channels".split()  # noqa: SIM905
    assert [line.split()[0] for line in lines[2:5]] == ["test", "train", "(all)"]
    assert lines[3].split()[5:] == ["1.00", "s", "2.00", "s", "4.00", "s", "16000", "1", "2"]
    assert contents(corpus) == before
    assert [path.name for path in tmp_path.iterdir()] == ["look.json"]


def test_broken_silent_and_clipped_recordings(corpus, tmp_path, capsys):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    (root / "train/s1/a.wav").write_bytes((root / "train/s1/a.wav").read_bytes()[:20000])
    (root / "train/s1/b.wav").write_text("no sound")
    soundfile.write(root / "train/s2/quiet.wav", np.full(40000, 5e-5), RATE, subtype="FLOAT")
    loud = 0.9 * np.sin(np.arange(3 << 19) / 20)
    loud[(1 << 20) - 1 : (1 << 20) + 2] = 1.0  # across two pieces of what is decoded at once
    soundfile.write(root / "train/s2/loud.wav", loud, RATE)
    loud[(1 << 20) + 1] = 0.5  # two in a row are none
    soundfile.write(root / "train/s2/nearly.wav", loud, RATE)
    assert main(["--data_path", str(root)]) == 1
    assert "broken: train/s1/b.wav: not an audio file" in capsys.readouterr().out
    about = seen(tmp_path, "--data_path", root, "--read", code=1)
    assert [item["id"] for item in about["broken"]] == ["a", "b"]
    assert "truncated" in about["broken"][0]["reason"]
    assert about["silent"] == ["quiet"]
    assert about["clipped"] == ["loud"]
    assert about["splits"]["train"]["broken"] == 2


def test_damage_that_only_decoding_finds(corpus, tmp_path):
    root = tmp_path / "flac"
    root.mkdir()
    wave, rate = soundfile.read(corpus / "train/s2/c.wav")
    soundfile.write(root / "x.flac", wave, rate)
    data = bytearray((root / "x.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    (root / "x.flac").write_bytes(data)
    assert seen(tmp_path, "--data_path", root)["broken"] == []
    assert [item["id"] for item in seen(tmp_path, "--data_path", root, "--read", code=1)["broken"]] == ["x"]


@pytest.mark.slow
def test_labels_texts_and_alignments_that_fit(corpus, tmp_path, capsys):
    table = tmp_path / "labels.csv"
    table.write_text("id,mood\na,glad\nb,sad\nc,glad\nd,\nnobody,sad\n")
    write_texts(tmp_path / "texts", [("a", "ONE"), ("b", "TWO"), ("z", "NONE")], TextInfo(format="kaldi"))
    write_alignment(tmp_path / "phones", [(key, [(0.0, 0.1, "x")]) for key in "abcde"])
    about = seen(
        tmp_path, "--data_path", corpus, "--labels", table, "--label_column", "mood", "--text", tmp_path / "texts",
        "--alignment", tmp_path / "phones", "--figure", tmp_path / "look.svg",
    )  # fmt: skip
    labels = about["labels"]
    assert labels["classes"] == {"glad": 2, "sad": 1}
    assert labels["splits"] == {"test": {}, "train": {"glad": 2, "sad": 1}}
    assert labels["utterances_without_label"] == ["d", "e"]
    assert labels["rows_without_utterance"] == 1
    assert about["text"]["audio_without"] == ["c", "d", "e"]
    assert about["text"]["without_audio"] == ["z"]
    assert (about["alignment"]["both"], about["alignment"]["audio_without"]) == (5, [])
    out = capsys.readouterr().out
    assert "3 utterances without text, 'c' for one" in out
    assert "1 texts without audio, 'z' for one" in out
    assert "2 different: 'glad' 2  'sad' 1" in out
    drawn = (tmp_path / "look.svg").read_text()
    words = ("--data_path", corpus, "--figure", tmp_path / "again.svg", "--labels", table, "--label_column", "mood")
    assert main([str(word) for word in words]) == 0
    assert (tmp_path / "again.svg").read_text() == drawn, "the same corpus gives the same bytes"


def test_parts_of_recordings_and_layouts(corpus, tmp_path):
    table = tmp_path / "parts.csv"
    rows = ["id,path,start,end", f"x,{corpus}/train/s2/c.wav,0.5,1.5", f"y,{corpus}/train/s2/c.wav,3,9"]
    table.write_text("\n".join(rows) + "\n")
    about = seen(tmp_path, "--data_path", table, "--read", code=1)
    assert about["all"]["shortest"] == {"id": "x", "seconds": 1.0}
    assert "ends at 9.0 s beyond" in about["broken"][0]["reason"]
    assert about["broken"][0]["path"].endswith("c.wav from 3.0 s to 9.0 s")
    for name in ("TRAIN/DR1/FVMH0/SA1.WAV", "TRAIN/DR1/FVMH0/SI836.WAV"):
        (tmp_path / "TIMIT" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus / "train/s1/a.wav", tmp_path / "TIMIT" / name)
    about = seen(
        tmp_path, "--data_path", tmp_path / "TIMIT", "--layout", "timit", "--drop_sa", "--dev_speakers", "FVMH0"
    )
    assert about["splits"]["dev"]["shortest"]["id"] == "FVMH0_SI836"
    shutil.copytree(corpus / "train/s1", tmp_path / "L/dev-x/s1/7")
    about = seen(tmp_path, "--data_path", tmp_path / "L", "--layout", "libri")
    assert about["splits"]["dev-x"]["longest"]["id"] == "s1-7-b"


def test_data_directories_of_kaldi(corpus, tmp_path):
    lists = {
        "wav.scp": f"one {corpus}/train/s1/b.wav\ntwo cat {corpus}/train/s2/c.wav |\n",
        "segments": "a one 0 0.5\nb one 0.5 2\nc two 0 4\n",
        "utt2spk": "a x\nb x\nc y\n",
    }
    for name, text in lists.items():
        (tmp_path / "dev_clean").mkdir(exist_ok=True)
        (tmp_path / "dev_clean" / name).write_text(text)
    about = seen(tmp_path, "--data_dir", tmp_path / "dev_clean", "--read")
    sizes = about["splits"]["dev-clean"]
    assert (sizes["utterances"], sizes["speakers"], sizes["hours"]) == (3, 2, pytest.approx(6 / 3600))
    assert (sizes["shortest"]["seconds"], sizes["longest"]["seconds"]) == (0.5, 4.0)
    assert {path.name for path in tmp_path.iterdir()} == {"dev_clean", "look.json"}


@pytest.fixture
def page_corpora(corpus, tmp_path, monkeypatch) -> Path:
    """What the commands of the page read, in the working directory."""
    monkeypatch.chdir(tmp_path)
    wave = corpus / "train/s1/a.wav"
    names = [f"LibriSpeech/dev-clean/7/3/7-3-000{i}.wav" for i in range(2)] + ["TIMIT/TRAIN/DR1/FVMH0/SA1.WAV", "a.wav"]
    for name in names:
        (tmp_path / "corpora" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(wave, tmp_path / "corpora" / name)
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), 4)) for _ in range(300)]
    rows = [f"u{i},a.wav,{'train' if i else 'test'},glad,{' '.join(rng.choice(words, 9))}\n" for i in range(150)]
    files = {
        "table.csv": "id,path,split,mood,text\n" + "".join(rows),
        "lexicon.txt": "".join(f"{word} {' '.join(word)}\n" for word in words),
        "LibriSpeech/dev-clean/7/3/7-3.trans.txt": "7-3-0000 ONE\n7-3-0001 TWO\n",
        "TIMIT/TRAIN/DR1/FVMH0/SA1.TXT": "0 16000 She had.\n",
        "kaldi/train/text": "u one\n",
        "kaldi/train/wav.scp": f"u {wave}\n",
        "kaldi/train/utt2spk": "u u\n",
        "hyp.trn": "one (u)\n",
    }
    for name, text in files.items():
        (tmp_path / "corpora" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpora" / name).write_text(text)
    write_alignment(tmp_path / "data/table_phones_alignment", [("u0", [(0.0, 0.1, "x")])])
    return tmp_path


@pytest.mark.parametrize(("heading", "count"), [("Texts", 11), ("A look at a corpus before use", 8)])
def test_commands_of_the_page_run(heading, count, page_corpora):
    page = (PROJECT / "docs/corpora.md").read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    commands = re.findall(r"\| `python preprocess/(\w+)\.py ([^`]*)` \|", section)
    assert len(commands) == count
    if heading != "Texts":
        assert preprocess_text.main(["--data_path", "corpora/table.csv", "--name", "table_text"]) == 0
    for script, words in commands:
        if "subword" in words and find_spec("sentencepiece") is None:
            continue
        assert {"preprocess_text": preprocess_text.main, "check_corpus": main}[script](shlex.split(words)) == 0, words
    made = {path.relative_to(page_corpora / "data").as_posix() for path in (page_corpora / "data").rglob("*.*")}
    assert made >= ({"3gram.arpa", "table_words/encoded.tsv"} if heading == "Texts" else {"look.json", "look.png"})
