"""Tiny corpora in the layouts that their authors publish: MOSEI, MOSI, Speech Commands, IEMOCAP, VoxCeleb, Fluent."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.speech import wav

HEAD = "id,video,start,end,sentiment,happy,sad,anger,surprise,disgust,fear"
EMOTIONS = {  # of four videos of three seconds
    "b": [(0.5, 2.0, 1.5, 0, 0, 0, 0, 0, 0.3333333432674408), (-0.1, 1.2, -2, 0, 1, 0, 0, 0, 0)],
    "a": [(0, 2.5, 0.05, 0, 0, 0, 0, 0, 0), (0.25, 0.75, 1, 1, 0, 0, 0, 0, 0),
          (1.0, 2.25, -0.6666667, 0, 0, 2, 0, 0, 0)],
    "c": [(1.0, 3.02, 0.1, 3, 0, 0, 0, 0, 0)],
    "d": [(0, 2.0, 3, 0, 0, 0, 0, 0, 0)],
}  # fmt: skip
VOX_NAMES = ("id1/v/00001.wav", "id1/v/00002.wav", "id2/v/00001.wav", "id2/w/00001.wav")


def mosei(root: Path, videos: Iterable[str]) -> None:
    """Recordings of `videos` in `wavs/`, and the labels of all four as a table, `labels.csv`, and as S3PRL's."""
    for seed, video in enumerate(videos):
        wav(root / f"wavs/{video}.wav", 48000, seed=seed)
    rows = [(video, i, *row) for video, segments in EMOTIONS.items() for i, row in enumerate(segments)]
    plain = [f"{video}[{i}],{video},{','.join(map(repr, row))}" for video, i, *row in rows]
    (root / "labels.csv").write_text("\n".join([HEAD, *plain]) + "\n")
    split = {"a": 0, "b": 1, "c": 2, "d": 3}
    s3prl = [f"{n},{v},{i},{r[0]},{r[1]},{int(r[2] >= 0)},0,1,2,{split[v]}" for n, (v, i, *r) in enumerate(rows)]
    head = ",file,index,start,end,label2a,label2b,label6,label7,split"
    (root / "s3prl.csv").write_text("\n".join([head, *s3prl]) + "\n")


def csd(file: Path, dtype: str = "float32", width: int = 7) -> None:
    """The same labels in the form of CMU's SDK: of MOSEI, or of width 1, as MOSI's, the sentiment alone."""
    h5py = pytest.importorskip("h5py", reason="h5py absent: pip install -r requirements-mosei.txt")
    with h5py.File(file, "w") as tree:
        for video, segments in EMOTIONS.items():
            tree[f"All Labels/data/{video}/intervals"] = np.array(segments, dtype)[:, :2]
            tree[f"All Labels/data/{video}/features"] = np.array(segments, dtype)[:, 2 : 2 + width]
        tree["All Labels/metadata/version"] = 1


def speech_commands(corpus: Path, test: Path) -> None:
    """Thirty speakers who say three words, six seconds of noise, and the published test set."""
    for i in range(30):
        wav(corpus / f"{('yes', 'tree', 'stop')[i % 3]}/{i:08x}_nohash_0.wav", 1600, seed=i)
    wav(corpus / "_background_noise_/running tap.wav", 6 * 8000 + 999, rate=8000)
    (corpus / "LICENSE").touch()
    for word in ("yes", "_unknown_", "_silence_"):
        wav(test / f"{word}/ffffffff_nohash_0.wav", 1600)


def iemocap(root: Path, turns: Iterable[tuple[str, str]]) -> Path:
    """Recordings of `turns`, and their emotions; the last file of emotions."""
    for turn, emotion in turns:
        session = root / f"IEMOCAP_full_release/Session{turn[4]}"
        dialog = turn.rpartition("_")[0]
        wav(session / f"sentences/wav/{dialog}/{turn}.wav")
        file = session / f"dialog/EmoEvaluation/{dialog}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as stream:
            stream.write("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n")
            stream.write(f"[6.2901 - 8.2357]\t{turn}\t{emotion}\t[2.5000, 3.0000, 2.0000]\n")
            stream.write("C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n")
    return file


def voxceleb(root: Path, count: int = len(VOX_NAMES)) -> None:
    """The list of four recordings, of which the first `count` are there, in folders that the importer looks in."""
    for place, name in zip(("wav", "dev/wav", "test/wav", "wav"), VOX_NAMES[:count]):
        wav(root / place / name)
    lines = [f"{part} {name}" for part, name in zip((1, 2, 3, 1), VOX_NAMES)]
    (root / "iden_split.txt").write_text("\n".join(lines))


def fluent_commands(root: Path) -> None:
    """A recording and a table for each of three parts."""
    root /= "fluent_speech_commands_dataset"
    for i, name in enumerate(("train", "valid", "test")):
        path = f"wavs/speakers/s{i}/{i}a-b.wav"
        wav(root / path)
        (root / "data").mkdir(exist_ok=True)
        head = ",path,speakerId,transcription,action,object,location"
        (root / f"data/{name}_data.csv").write_text(f'{head}\n0,{path},s{i},"Lights, on",activate,lights,none\n')
