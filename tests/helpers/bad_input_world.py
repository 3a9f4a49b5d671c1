"""A folder with one of everything that can be wrong: audio, corpora, stores, checkpoints, alignments, configs."""

import contextlib
import json
import lzma
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from torch import nn

import run_downstream
from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from tests.helpers.bad_analysis_world import build_analysis
from tests.helpers.bad_upstream_world import build_upstreams
from tests.helpers.speech import MEL, write_store
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build
from utility.labels.alignment import write_alignment
from utility.store.files import Row
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter
from utility.training.checkpoint import save_checkpoint

RATE = 16000
LENGTHS = {f"s{speaker}-{number}": 30 for speaker in range(4) for number in range(6)}
FBANK, LINEAR = FeatureConfig(kind="fbank", deltas=0), FeatureConfig(kind="linear", deltas=0)
MODEL = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
PROBE = ["--run", "phone_linear", "--upstream", "baseline", "--cpu", "--no-msg", "--expdir", "exp"]
CANARY = "canary"
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
1
<exists>
1
"IntervalTier"
"phones"
0
1
2
0
{first_end}
"aa"
{second_start}
1
"b"
"""


class Silent(nn.Module):
    """An upstream of one's own that does not say how wide its output is."""


class Halving(nn.Module):
    """An upstream of one's own that gives fewer frames than it got."""

    out_dim = 80

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, ::2]


class Narrow(nn.Linear):
    """An upstream of one's own for features of 40 dimensions."""

    out_dim = 8

    def __init__(self):
        super().__init__(40, 8)


class _Runs:
    """Unpickled, it would make the file `CANARY`."""

    def __reduce__(self):
        return Path.touch, (Path(CANARY),)


def build_world(root: Path) -> None:
    """Fill `root`, the working directory of every case."""
    _configs(root)
    _audio(root)
    _stores(root / "data")
    _apc(root / "apc")
    _checkpoints(root / "ckpt")
    _alignments(root)
    _results(root)
    build_upstreams(root)
    build_analysis(root)


def _configs(root: Path) -> None:
    good = {"data": {"train": ["data/mel/train"]}, "model": MODEL, "trainer": {"steps": 1, "precision": "fp32"}}
    (root / "good.yaml").write_text(yaml.safe_dump(good))
    (root / "online.yaml").write_text("data: {train: [twins/a], dev: [], test: []}\nonline: {}\n")
    (root / "broken.yaml").write_text("model: {layers: 3\n")
    (root / "list.yaml").write_text("- layers\n- 3\n")
    (root / "section.yaml").write_text("modle:\n  layers: 3\n")
    (root / "key.yaml").write_text("model:\n  hiden_size: 256\n")
    (root / "type.yaml").write_text("model:\n  layers: three\n")
    (root / "scalar.yaml").write_text("model: 3\n")
    (root / "range.yaml").write_text("masking:\n  proportion: 1.5\n")
    (root / "null.yaml").write_text("model:\n")
    theirs: dict[str, Any] = {
        "transformer": {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8},
        "optimizer": {"learning_rate": "4e-4"},
        "dataloader": {"data_path": "data/mel", "train_set": ["train"], "dev_set": ["dev"]},
        "runner": {"total_steps": 1},
    }
    elsewhere = {"dataloader": {"data_path": "data/libri_mel160_subword5000", "train_set": ["train-clean-360"]}}
    mistyped = {"transformer": {**theirs["transformer"], "mask_propotion": 0.15}}
    dual = {"transformer": {**theirs["transformer"], "dual_transformer": True}}
    wide = {"transformer": {**theirs["transformer"], "input_dim": 160}}
    for name, more in {"": {}, "_elsewhere": elsewhere, "_key": mistyped, "_dual": dual, "_wide": wide}.items():
        (root / f"theirs{name}.yaml").write_text(yaml.safe_dump(theirs | more))
    (root / "theirs_online.yaml").write_text("input: {feat_type: phase}\n")
    (root / "theirs_probe.yaml").write_text("runner: {learning_rate: 4e-3, lerning_step: 3}\n")
    (root / "latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    (root / "notes.txt").write_text("not a folder\n")


def _audio(root: Path) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    for split in ("dev-clean", "test-clean"):
        place = root / "LibriSpeech" / split / "84" / "121123"
        place.mkdir(parents=True)
        soundfile.write(place / f"84-121123-000{len(split) % 2}.flac", wave, RATE)
    for name in ("empty", "twins/a", "twins/b", "mixed", "flat", "wordy", "timit/TRAIN/DR1"):
        (root / name).mkdir(parents=True)
    for name in ("twins/a/x.wav", "twins/b/x.wav", "mixed/good.wav", "flat/good.flac"):
        soundfile.write(root / name, wave, RATE)
    (root / "wordy/readme.md").write_text("no recordings\n")
    (root / "mixed/corrupt.flac").write_bytes(b"fLaC" + bytes(range(256)))
    (root / "mixed/cut.flac").write_bytes((root / "flat/good.flac").read_bytes()[:9000])
    (root / "mixed/empty.wav").write_bytes(b"")
    (root / "mixed/text.wav").write_text("this is not sound\n")
    soundfile.write(root / "mixed/short.wav", wave[:100], RATE)
    soundfile.write(root / "mixed/none.wav", wave[:0], RATE)
    (root / "mixed/header.sph").write_bytes(b"NIST_1A\n   xxxx\nend_head\n")
    table = "id,path,speaker,rate,num_samples\n"
    (root / "nothing.csv").write_text(table)
    (root / "lengths.csv").write_text(f"{table}x,twins/a/x.wav,a,{RATE},{len(wave)}\n")
    (root / "rates.csv").write_text(f"{table}x,twins/a/x.wav,a,0,{len(wave)}\n")
    (root / "no_path.csv").write_text("id,name\na,x.wav\n")
    (root / "ragged.csv").write_text("path,speaker\nflat/good.flac,s0\nflat/good.flac\n")
    (root / "split.csv").write_text("path,split\nflat/good.flac,../up\n")


def _apc(folder: Path) -> None:
    (folder / "runs").mkdir(parents=True)
    (folder / "runs/lengths.pkl").write_bytes(pickle.dumps(_Runs()))
    (folder / "lost").mkdir()
    (folder / "lost/lengths.pkl").write_bytes(pickle.dumps({"a.pt": 3}))
    (folder / "cut.blogmel.xz").write_bytes(lzma.compress(b"a\n1 2\n.\n")[:20])
    texts = {
        "narrow": "a\n1 2\n1\n.\n",
        "unended": "a\n1 2\n",
        "twice": "a\n1 2\n.\na\n1 2\n.\n",
        "kaldi": "a [\n1 2 ]\n",
    }
    texts |= {"wide": "a\n1 2 3\n.\n", "partly": "a\n1 2\n.\nb\n.\nc\n1 x\n.\n"}
    for name, text in texts.items():
        (folder / f"{name}.blogmel").write_text(text)


def _stores(data: Path) -> None:
    for split, first in (("train", "s"), ("dev", "d"), ("test", "t")):
        write_store(data / "mel" / split, {key.replace("s", first): n for key, n in LENGTHS.items()})
    write_store(data / "fbank/train", LENGTHS, FBANK)
    write_store(data / "fbank/dev", {key.replace("s", "d"): n for key, n in LENGTHS.items()}, FBANK)
    write_store(data / "linear/train", dict(list(LENGTHS.items())[:-2]), LINEAR)
    write_store(data / "longer/train", {key: n + 1 for key, n in LENGTHS.items()}, LINEAR)
    for name in ("again", "cut", "table", "info", "text"):
        shutil.copytree(data / "mel", data / name)
    array = data / "cut/train.npy"
    array.write_bytes(array.read_bytes()[:5000])
    (data / "text/train.npy").write_text("not an array\n")
    (data / "table/train.csv").write_text("id,offset\na,0\n")
    (data / "table/dev.csv").write_text("id,offset,length,num_samples,speaker,path\na,0,many,5,s,a.wav\n")
    (data / "table/test.csv").write_text("id,offset,length,num_samples,speaker,path\na,-4,5,5,s,a.wav\n")
    (data / "info/features.yaml").write_text("format: 2\nrow_shape: [80]\nframe_shift: 0.0125\n")
    rows = [Row("a", 5, 1000, "s", "a.wav")]
    info = StoreInfo(row_shape=[80], frame_shift=MEL.frame_shift, features=MEL)
    StoreWriter.open(data / "unfinished", "train", rows, info)
    nameless = StoreWriter.open(data / "nameless", "train", [Row(key, 5, 0, "", key) for key in "abc"], info)
    for row in nameless.pending():
        nameless.write(row, np.zeros((5, 80), np.float32))
    nameless.finish()
    for name in ("legacy", "partial"):
        (data / name / "train").mkdir(parents=True)
        (data / name / "train.csv").write_text("file_path,length\ntrain/1-2-3.npy,5\ntrain/1-2-4.npy,5\n")
    np.save(data / "partial/train/1-2-3.npy", np.zeros((5, 80), np.float32))


def _checkpoints(folder: Path) -> None:
    config = build(PretrainConfig, {"model": MODEL, "data": {"train": ["data/mel/train"], "test": ["data/mel/test"]}})
    weights = new_model(config, 80, 80, 1).state_dict()
    first = next(iter(weights))
    about = {"config": as_dict(config), "seed": 1337, "input_dim": 80, "target_dim": 80, "frame_shift": 0.0125}
    about |= {"features": as_dict(MEL), "target": as_dict(MEL), "optimizer": {}, "state": {"step": 1}}
    good = {"model": weights, **about}
    newer = {**about["config"], "model": {**about["config"]["model"], "rotary": True}}
    made = {
        "good": good,
        "lacking": {**good, "model": {name: value for name, value in weights.items() if name != first}},
        "extra": {**good, "model": {**weights, "encoder.more": torch.zeros(1)}},
        "shape": {**good, "model": {**weights, first: torch.zeros(3)}},
        "newer": {**good, "config": newer},
        "keyless": {"model": weights},
        "listed": {**good, "model": [1, 2]},
        "silent": {**good, "features": None},
        "untested": {**good, "config": {**about["config"], "data": {}}},
    }
    for name, content in made.items():
        save_checkpoint(folder / f"{name}.ckpt", "pretrain", content)
    save_checkpoint(folder / "probe.ckpt", "probe", {"model": weights})
    whole = (folder / "good.ckpt").read_bytes()
    (folder / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.ckpt").write_bytes(b"")
    (folder / "text.ckpt").write_text("weights\n")
    torch.save({"Transformer": weights, "Settings": {}}, folder / "foreign.ckpt")
    torch.save(torch.zeros(3), folder / "tensor.ckpt")
    (folder / "runs.ckpt").write_bytes(pickle.dumps(_Runs()))
    torch.save({"format": "mockingjay-1", "kind": "pretrain", "model": _Runs()}, folder / "runs_zip.ckpt")
    for run, source in {"old": "good.ckpt", "killed": "cut.ckpt"}.items():
        (folder / run).mkdir()
        (folder / run / "mockingjay-1.ckpt").write_bytes((folder / source).read_bytes())


def _alignments(root: Path) -> None:
    whole = [(0.0, 0.1, "aa"), (0.1, 0.3, "b")]
    keys = [key.replace("s", first) for first in "sdt" for key in LENGTHS]
    write_alignment(root / "phones", [(key, whole) for key in keys])
    write_alignment(root / "foreign", [("elsewhere", whole)])
    write_alignment(root / "partly", [("s0-0", whole)])
    write_alignment(root / "phones_of_two", [(key, whole) for key in ("d0-0", "d0-1")])
    write_alignment(root / "longer", [(key, [(0.0, 0.1, "aa"), (0.1, 9.0, "b")]) for key in keys])
    write_alignment(root / "unnamed", [(key, [*whole, (0.3, 0.35, "c")]) for key in keys])
    for name in ("damaged", "misfit", "counts"):
        shutil.copytree(root / "phones", root / name)
    (root / "damaged/segments.npy").write_bytes(b"nothing")
    (root / "misfit/utterances.csv").write_text("id,offset,count\ns0-0,0,2\n")
    (root / "counts/utterances.csv").write_text("id,offset,count\ns0-0,0,two\n")
    (root / "unnamed/labels.txt").write_text("aa\nb\n")
    grids = {
        "broken": 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n',
        "overlap": TEXTGRID.format(first_end=0.6, second_start=0.5),
        "sound": TEXTGRID.format(first_end=0.5, second_start=0.5),
    }
    for folder, names in {
        "grids_bad": ("broken",),
        "grids_overlap": ("overlap",),
        "grids_sound": ("sound",),
        "grids": grids,
    }.items():
        (root / folder).mkdir()
        for name in names:
            (root / folder / f"{name}.TextGrid").write_text(grids[name])
    (root / "wrong.ctm").write_text("utt 1 0.0 0.5\n")
    (root / "times.ctm").write_text("utt 1 zero 0.5 aa\n")
    (root / "overlap.ctm").write_text("utt 1 0 0.6 aa\nutt 1 0.5 0.5 b\n")
    (root / "twice.ctm").write_text("u 1 0 0.5 aa\nv 1 0 0.5 aa\nu 1 0.5 0.5 b\n")
    (root / "labels.json").write_text('{"aa": 3}\n')


def _results(root: Path) -> None:
    (root / "exp").mkdir()
    for name, content in {"unweighted": {"layer_weights": None}, "three": {"layer_weights": [0.2, 0.3, 0.5]}}.items():
        (root / "exp" / f"{name}.json").write_text(json.dumps(content))
    (root / "exp/words.json").write_text('{"layer_weights": ["a", "b"]}')
    taken = root / "exp/result_baseline_phone_linear/taken"
    taken.mkdir(parents=True)
    (taken / "config.yaml").write_text("{}\n")
    (taken / "probe-10.ckpt").write_bytes((root / "ckpt/cut.ckpt").read_bytes())
    data = ["data.train=[data/mel/train]", "data.alignment=phones", "data.cache=cache", "trainer.steps=1"]
    with contextlib.chdir(root):
        run_downstream.main([*PROBE, "--name", "done", *data])
    shutil.copytree(taken.parent / "done", taken.parent / "marred")
    (taken.parent / "marred/result.json").write_text('{"task": ')
    (root / "demo").mkdir()
    (root / "demo/notes.txt").write_text("mine\n")
    (root / "demo_other").mkdir()
    (root / "demo_other/demo.yaml").write_text("minutes: 1.0\nspeakers: 3\n")
    (root / "demo_broken").mkdir()
    (root / "demo_broken/demo.yaml").write_text("minutes: [1\n")
