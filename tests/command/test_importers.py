"""Importers of particular corpora: a store and labels.csv of tiny corpora in their layouts, and of real tables."""

import csv
import shutil
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocess import preprocess_any, preprocess_mosei
from preprocess.parts import mosei as planning
from preprocess.parts.speech_commands import hash_part, hash_percent
from tests.command.test_preprocess import command
from tests.helpers.files import contents
from tests.helpers.importer_corpora import csd, fluent_commands, iemocap, mosei, speech_commands, voxceleb
from tests.helpers.speech import wav
from utility.store.reading import Store, splits_in

FLAGS = ("--feature_type=fbank", "--delta=False", "--n_jobs=1")


def labels(store: Path) -> list[dict[str, str]]:
    with (store / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Recordings of three of the four videos, and the labels as a table, as S3PRL's and as a .csd."""
    root = tmp_path_factory.mktemp("mosei")
    mosei(root, "abc")
    return root


def imported(world: Path, name: str, out: Path, capsys, *flags: str, expected: int = 1) -> tuple[Path, str]:
    """The store that the importer makes of labels, and what it says on stderr."""
    words = [f"--data_path={world}/wavs", f"--labels={world}/{name}", f"--output_path={out}", "--name=m"]
    code, errors = command(preprocess_mosei.main, capsys, *words, *FLAGS, *flags)
    assert code == expected, errors
    return out / "m", errors


def test_segments_of_videos_and_their_labels(world, tmp_path, capsys):
    store, errors = imported(world, "labels.csv", tmp_path, capsys)
    assert errors.count("\n") == 1
    assert "1 not used" in errors
    assert (store / "errors.csv").read_text().splitlines()[1:] == ["all,d.wav from 0 s to 2.0 s,no such audio file"]
    read = Store([store / "all"])
    assert read.ids == ["a[2]", "b[0]", "b[1]", "c[0]"]
    assert read.spans == [(1.0, 2.25), (0.5, 2.0), (0.0, 1.2), (1.0, 3.02)]
    assert read.num_samples.tolist() == [20000, 24000, 19200, 32000]
    assert list(read.speakers) == ["a", "b", "b", "c"]
    table = labels(store)
    assert [row["id"] for row in table] == [*read.ids, "d[0]"]
    assert table[0] == {"id": "a[2]", "split": "all", "path": "a.wav", "start": "1.0", "end": "2.25", "video": "a",
                        "sentiment": "-0.6666667", "happy": "0", "sad": "0", "anger": "2", "surprise": "0",
                        "disgust": "0", "fear": "0"}  # fmt: skip


def test_what_is_left_out_is_counted(world, tmp_path, capsys):
    flags = ("--dry_run", "--min_seconds=1.4", "--max_seconds=2.1", "--min_abs=0.5")
    words = [f"--data_path={world}/wavs", f"--labels={world}/labels.csv", f"--output_path={tmp_path}", *FLAGS, *flags]
    assert preprocess_mosei.main(words) == 0
    out = capsys.readouterr().out
    assert [line.partition("labels.csv: ")[2] for line in out.splitlines() if "/labels.csv: " in line] == [
        "7 segments, 2 taken",
        "3 left out: shorter than 1.4 s",
        "2 left out: a sentiment nearer to 0 than 0.5",
        "no column split: all are one split, all",
        "2 rows of id, split, path, start, end, video, sentiment, happy, sad, anger, surprise, disgust, fear",
    ]
    assert "all: 1 utterances, 0.00 hours, 1 not usable" in out
    assert not list(tmp_path.iterdir())


def test_both_ways_of_labels_give_the_same_store(world, tmp_path, capsys):
    csd(world / "labels.csd")
    table, _ = imported(world, "labels.csv", tmp_path / "table", capsys)
    sequence, _ = imported(world, "labels.csd", tmp_path / "sequence", capsys)
    assert contents(table) == contents(sequence)
    assert {"labels.csv", "all.npy", "all.csv", "features.yaml", "errors.csv"} <= contents(table).keys()
    again, _ = imported(world, "labels.csd", tmp_path / "sequence", capsys)
    assert contents(again) == contents(table)


def test_s3prl_labels_divide_by_their_column(world, tmp_path, capsys):
    store, _ = imported(world, "s3prl.csv", tmp_path, capsys, expected=0)
    assert Store([store / "train"]).ids == ["a_0", "a_2"]
    rows = labels(store)
    assert Counter(row["split"] for row in rows) == {"train": 2, "dev": 2, "test": 1}
    assert list(rows[0])[5:] == ["video", "index", "label2a", "label2b", "label6", "label7"]
    assert [row["label2a"] for row in rows] == ["1", "0", "1", "0", "1"]
    words = [f"--data_path={world}/wavs", f"--labels={world}/s3prl.csv", "--dry_run", *FLAGS]
    assert preprocess_mosei.main([*words, f"--output_path={tmp_path}", "--splits", "dev"]) == 0
    out = capsys.readouterr().out
    assert "2 left out: of no part" not in out
    assert "1 left out: of no part" in out
    assert "no column sentiment" in out
    assert "  dev: 2 utterances" in out
    assert "  test: " not in out


def test_a_table_of_videos_divides_labels_without_a_split(world, tmp_path, capsys):
    (tmp_path / "videos.tsv").write_text("video\tsplit\na\ttest\nb\tvalid\nc\t3\n")
    store, _ = imported(world, "labels.csv", tmp_path, capsys, f"--parts={tmp_path}/videos.tsv", expected=0)
    assert [(row["id"], row["split"]) for row in labels(store)] == [("a[2]", "test"), ("b[0]", "dev"), ("b[1]", "dev")]
    assert splits_in(store) == ["dev", "test"]


def test_segments_that_are_recordings_of_their_own(world, tmp_path, capsys):
    csd(world / "mosi.csd", "float64")
    for name, samples in (("b_1", 16000), ("b_2", 8000), ("c_1", 4000)):
        wav(tmp_path / f"segmented/{name}.wav", samples)
    words = [f"--data_path={tmp_path}/segmented", f"--labels={world}/mosi.csd", f"--output_path={tmp_path}"]
    code, _ = command(preprocess_mosei.main, capsys, *words, *FLAGS, "--name=m", "--segmented", "--corpus=mosi")
    assert code == 1
    read = Store([tmp_path / "m/all"])
    assert read.ids == ["b[0]", "b[1]", "c[0]"]
    assert read.num_samples.tolist() == [16000, 8000, 4000]
    assert len(labels(tmp_path / "m")) == 7
    assert "start" not in labels(tmp_path / "m")[0]
    assert len((tmp_path / "m/errors.csv").read_text().splitlines()) == 5


def segments(count: int) -> list[planning.Segment]:
    one = {"speaker": "", "stem": "", "start": None, "stop": None, "early": False, "seconds": None, "sentiment": None}
    return [planning.Segment(f"{i}", f"v{i % 40:02d}", split="", values=(), **one) for i in range(count)]


def test_legacy_divisions_are_those_of_the_original():
    """The original's own lines: of MOSEI numpy's permutation of the sorted videos, of MOSI pandas' sample of rows."""
    table = pd.DataFrame({"filename": [segment.video for segment in segments(333)]})
    names = table.filename.value_counts().index.values.copy()
    names.sort()
    np.random.seed(29)  # noqa: NPY002
    train = names[np.random.permutation(len(names))[: int(0.9 * len(names))]]  # noqa: NPY002
    ours = planning._legacy_mosei(segments(333))
    assert {segment.video for segment in ours if segment.split == "train"} == set(train)
    assert {segment.video for segment in ours if segment.split == "test"} == set(names) - set(train)
    sampled = table.sample(frac=0.9, random_state=1122).index
    ours = planning._legacy_mosi(segments(333))
    assert {int(segment.id) for segment in ours if segment.split == "train"} == set(sampled)
    assert Counter(segment.split for segment in ours) == {"train": 300, "test": 33}


def test_legacy_division_of_a_corpus(world, tmp_path, capsys):
    words = [f"--data_path={world}/wavs", f"--labels={world}/s3prl.csv", f"--output_path={tmp_path}", *FLAGS]
    assert preprocess_mosei.main([*words, "--dry_run", "--split", "legacy"]) == 0
    assert "6 taken" in capsys.readouterr().out
    tested = {}
    for corpus in ("mosei", "mosi"):
        assert preprocess_mosei.main([*words, f"--name={corpus}", f"--corpus={corpus}", "--split", "legacy"]) == 1
        tested[corpus] = [row["id"] for row in labels(tmp_path / corpus) if row["split"] == "test"]
    assert tested == {"mosei": ["b_0", "b_1"], "mosi": ["c_0"]}  # the sixth of seven rows
    assert {row["split"] for row in labels(tmp_path / "mosi")} == {"train", "test"}


CHECKED = {  # SHA-1 of the speaker as a number, modulo 2^27, and its percent: made apart from this code
    "00000000": (12825483, 9.555729549793375),
    "00000002": (22031018, 16.41438764642468),
    "0000000f": (677254, 0.50459355491842),
    "0a7c2a8d": (76284507, 56.83638719347408),
}


def test_the_hash_of_speech_commands_gives_its_check_values():
    for speaker, (number, percent) in CHECKED.items():
        for name in (f"{speaker}_nohash_0.wav", f"{speaker}_nohash_12.wav"):
            assert hash_percent(name) == pytest.approx(percent, rel=1e-12)
            assert hash_percent(name) == number * (100.0 / 134217727)
    assert [hash_part(f"{speaker}_nohash_0.wav") for speaker in CHECKED] == ["dev", "test", "dev", "train"]


def test_speech_commands_are_divided_by_hash(tmp_path, capsys):
    speech_commands(tmp_path / "sc", tmp_path / "test")
    flags = [f"--data_path={tmp_path}/sc", "--layout=speech_commands", f"--output_path={tmp_path}", *FLAGS]
    assert command(preprocess_any.main, capsys, *flags, f"--test={tmp_path}/test", "--name=m") == (0, "")
    rows = labels(tmp_path / "m")
    words = [row for row in rows if row["word"] != "_background_noise_"]
    assert Counter(row["split"] for row in words) == {"train": 21, "dev": 7, "test": 3}
    dev = {0x00, 0x07, 0x0B, 0x0F, 0x19, 0x1A, 0x1B}
    assert {int(row["speaker"], 16) for row in words if row["split"] == "dev"} == dev
    assert not {"00000002", "00000018"} & {row["speaker"] for row in words}
    assert {(row["word"], row["class"]) for row in words} == {
        ("yes", "yes"), ("stop", "stop"), ("tree", "_unknown_"), ("_unknown_", "_unknown_"), ("_silence_", "_silence_"),
    }  # fmt: skip
    silence = [row for row in rows if row["word"] == "_background_noise_"]
    assert [(row["start"], row["end"], row["split"]) for row in silence] == [
        (f"{second}.0", f"{second + 1}.0", "train" if second < 4 else "dev") for second in range(6)
    ]
    assert {row["class"] for row in silence} == {"_silence_"}
    read = Store([tmp_path / "m/dev"])
    assert set(read.ids) == {row["id"] for row in rows if row["split"] == "dev"}
    assert read.num_samples[read.index[silence[-1]["id"]]] == 16000
    assert preprocess_any.main([*flags, "--hash_test", "--dry_run"]) == 0
    assert "test: 2 utterances" in capsys.readouterr().out
    assert preprocess_any.main([*flags, "--dry_run"]) == 0
    out = capsys.readouterr().out
    assert "2 recordings left out" in out
    assert "cut into 6 seconds of _silence_" in out


def test_emotions_of_iemocap(tmp_path, capsys):
    turns = [("Ses01F_impro01_F000", "neu"), ("Ses01F_impro01_M001", "exc"), ("Ses01F_impro01_M002", "xxx"),
             ("Ses02M_script01_1b_F003", "hap"), ("Ses02M_script01_1b_M004", "ang")]  # fmt: skip
    file = iemocap(tmp_path, turns)
    (file.parent / "._hidden.txt").write_bytes(b"\xff")
    flags = [f"--data_path={tmp_path}", "--layout=iemocap", f"--output_path={tmp_path}/out", *FLAGS]
    assert command(preprocess_any.main, capsys, *flags) == (0, "")
    assert Store([tmp_path / "out/iemocap_fbank80/all"]).ids == [turns[i][0] for i in (0, 1, 3, 4)]
    rows = labels(tmp_path / "out/iemocap_fbank80")
    assert [row["emotion"] for row in rows] == ["neu", "hap", "hap", "ang"]
    assert [row["annotated"] for row in rows] == ["neu", "exc", "hap", "ang"]
    assert [row["session"] for row in rows] == ["Session1", "Session1", "Session2", "Session2"]
    assert [row["speaker"] for row in rows] == ["Ses01F", "Ses01M", "Ses02F", "Ses02M"]
    assert rows[0]["valence"] == "2.5000"
    assert preprocess_any.main([*flags, "--dry_run"]) == 0
    assert "1 turns with other emotions left out: 1 xxx" in capsys.readouterr().out


def test_list_of_voxceleb(tmp_path, capsys):
    voxceleb(tmp_path, count=3)
    flags = [f"--data_path={tmp_path}", "--layout=voxceleb", f"--output_path={tmp_path}/out", "--name=m", *FLAGS]
    code, errors = command(preprocess_any.main, capsys, *flags)
    assert code == 1
    assert "id2/w/00001.wav: no such audio file" in errors
    rows = labels(tmp_path / "out/m")
    assert [(row["id"], row["split"], row["speaker"]) for row in rows] == [
        ("id1_v_00001", "train", "id1"),
        ("id1_v_00002", "dev", "id1"),
        ("id2_v_00001", "test", "id2"),
        ("id2_w_00001", "train", "id2"),
    ]
    assert rows[1]["path"] == "dev/wav/id1/v/00002.wav"
    assert list(Store([tmp_path / "out/m/train"]).speakers) == ["id1"]


def test_intents_of_fluent_speech_commands(tmp_path, capsys):
    fluent_commands(tmp_path)
    flags = [f"--data_path={tmp_path}", "--layout=fsc", f"--output_path={tmp_path}/out", "--name=m", *FLAGS]
    assert command(preprocess_any.main, capsys, *flags) == (0, "")
    rows = labels(tmp_path / "out/m")
    assert [(row["id"], row["split"]) for row in rows] == [("0a-b", "train"), ("1a-b", "dev"), ("2a-b", "test")]
    assert rows[0] | {"id": "", "split": "", "path": ""} == {
        "id": "", "split": "", "path": "", "speaker": "s0", "action": "activate", "object": "lights",
        "location": "none", "transcription": "Lights, on",
    }  # fmt: skip


def test_labels_are_of_all_splits_and_come_with_the_last_features(tmp_path, capsys):
    for part, name in ((1, "a/b/1.wav"), (2, "a/b/2.wav")):
        wav(tmp_path / name)
        with (tmp_path / "list.txt").open("a") as stream:
            stream.write(f"{part} {name}\n")
    flags = [f"--data_path={tmp_path}", "--layout=voxceleb", f"--list={tmp_path}/list.txt", "--name=m"]
    flags += [f"--output_path={tmp_path}/out", *FLAGS]
    assert command(preprocess_any.main, capsys, *flags, "--splits", "dev") == (0, "")
    assert not (tmp_path / "out/m/train.csv").exists()
    before = (tmp_path / "out/m/labels.csv").read_bytes()
    assert [row["split"] for row in labels(tmp_path / "out/m")] == ["train", "dev"]
    assert command(preprocess_any.main, capsys, *flags) == (0, "")
    assert (tmp_path / "out/m/labels.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("corpus", "rate", "kept", "counts"),
    [
        ("fsdd", 8000, slice(1, 13), {"dev": 200, "test": 200, "train": 400}),
        ("nemo_pl", 24000, slice(1, 4), {"all": 300}),
    ],
)
def test_corpora_with_tables_of_their_own(corpus, rate, kept, counts, corpora, tmp_path, capsys):
    """A corpus' table as it is: its splits, its ids, its speakers; audio of another rate comes to 16 kHz."""
    table = corpora / corpus / "utterances.tsv"
    flags = [f"--output_path={tmp_path}/out", "--name=m", *FLAGS]
    assert preprocess_any.main([f"--data_path={table}", *flags, "--dry_run"]) == 0
    out = capsys.readouterr().out
    assert [line.partition(" utt")[0] for line in out.splitlines() if " utterances," in line] == [
        f"  {split}: {count}" for split, count in counts.items()
    ]
    assert ", 0 not usable" in out
    assert ", 1 not usable" not in out
    lines = table.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader([lines[0], *lines[kept]], dialect="excel-tab", quoting=csv.QUOTE_NONE))
    for row in rows:
        copy = tmp_path / "zażółć" / row["path"]
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpora / corpus / row["path"], copy)
    (tmp_path / "zażółć/gęślą.tsv").write_text("\n".join([lines[0], *lines[kept]]) + "\n", encoding="utf-8")
    assert command(preprocess_any.main, capsys, f"--data_path={tmp_path}/zażółć/gęślą.tsv", *flags) == (0, "")
    read = Store([tmp_path / "out/m" / split for split in splits_in(tmp_path / "out/m")])
    speakers = dict(zip(read.ids, read.speakers))
    assert speakers == {row["utterance"]: row["speaker"] for row in rows}
    for row in rows:
        native = soundfile.info(tmp_path / "zażółć" / row["path"])
        assert native.samplerate == rate
        assert read.num_samples[read.index[row["utterance"]]] == pytest.approx(native.frames * 16000 / rate, abs=0.5)


def test_a_manifest_of_polish_names(tmp_path, capsys):
    wav(tmp_path / "głośność/źdźbło.wav", 8000, rate=8000)
    (tmp_path / "lista.tsv").write_text(
        'key\tpath\tspeaker\ttext\ndźwięk-1\tgłośność/źdźbło.wav\tŁucja\t"cudzysłów i „drugi”\n', encoding="utf-8"
    )
    flags = [f"--data_path={tmp_path}/lista.tsv", f"--output_path={tmp_path}", "--name=m", *FLAGS]
    assert command(preprocess_any.main, capsys, *flags) == (0, "")
    read = Store([tmp_path / "m/all"])
    assert (read.ids, list(read.speakers), read.num_samples.tolist()) == (["dźwięk-1"], ["Łucja"], [16000])


@pytest.mark.slow
def test_planning_takes_little_time_and_memory_for_many_rows(tmp_path):
    """10,000 rows, whose recordings are not opened."""
    count = 10000
    wav(tmp_path / "v00.wav")
    with (tmp_path / "labels.csv").open("w") as stream:
        stream.write("file,index,start,end,sentiment,happy,text,split\n")
        for i in range(count):
            stream.write(f"v{i % 40:02d},{i},{i}.25,{i + 3}.5,{i % 7 - 3},0.5,words of the segment {i},{i % 4}\n")
    choice = planning.Choice(
        corpus="mosei",
        rule=None,
        parts=None,
        segmented=False,
        min_seconds=1,
        max_seconds=20,
        min_abs=0.1,
        typed_abs=False,
    )
    tracemalloc.start()
    start = time.process_time()
    corpus, table = planning.mosei(tmp_path, tmp_path / "labels.csv", choice)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(corpus.utterances) == len(table.rows) == sum(i % 4 != 3 and i % 7 != 3 for i in range(count))
    assert seconds < 6  # tracemalloc makes it four times as slow
    assert peak < 30e6
