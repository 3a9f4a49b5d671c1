"""The bad inputs of clusters and codes."""
# ruff: noqa: E501

import contextlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import runner_mockingjay
from tests.helpers.bad_input_cases import NEW, Case, case
from tests.helpers.speech import write_store
from utility.audio.feature_config import FeatureConfig
from utility.store.reading import Store

CLUSTER = "runner_mockingjay.py --cluster --cpu --no-msg --output coded/new"
NINE = f"{CLUSTER} --clusters 9 --input"
APPLY = f"{CLUSTER} --apply coded/mel --input data/mel/dev"
TRAIN = f"{NEW} --config good.yaml objective=codes"
UNITS = "runner_mockingjay.py --extract --no-msg --codes coded/mel --input"

CASES: list[Case] = [
    case("clusters without a number", f"{CLUSTER} --input data/mel/train", "--cluster needs --clusters", "--apply"),
    case("clusters of nothing", f"{CLUSTER} --clusters 9", "add --input"),
    case("one cluster", f"{CLUSTER} --clusters 1 --input data/mel/train", "1 clusters, expected 2 or more"),
    case("more clusters than frames", f"{CLUSTER} --clusters 9999 --input data/mel/train", "9999 clusters for 720 frames", "ask for fewer"),
    case("clusters by no restart", f"{NINE} data/mel/train --restarts 0", "0 restarts", "1 or more"),
    case("clusters by less than no pass", f"{NINE} data/mel/train --passes=-1", "-1 passes"),
    case("stacks of no frames", f"{NINE} data/mel/train --stack 0", "--stack 0", "1 or more"),
    case("clusters of a store that is not there", f"{NINE} data/nowhere/train", "data/nowhere/train"),
    case("clusters of codes", f"{NINE} coded/mel/train", "coded/mel/train holds codes, expected frames"),
    case("clusters of audio without its features", f"{NINE} flat", "which features?", "--online_config"),
    case("clusters of several layers", f"{NINE} data/mel/train --layer 0,0", "--layer names several", "choose one layer"),
    case("clusters of all layers", f"{NINE} data/mel/train --upstream random:good.yaml --layer all", "--layer names several", "choose one layer"),
    case("clusters of a layer that there is not", f"{NINE} data/mel/train --layer 7", "layer 7 does not exist"),
    case("clusters of an upstream without a checkpoint", f"{NINE} data/mel/train --upstream pretrained", "--upstream pretrained names no checkpoint"),
    case("clusters in a folder of frames", f"{NINE} data/mel/train --output data/fbank", "data/fbank", "another store", "--output"),
    case("clusters in the folder of their frames", f"{NINE} data/mel/train --output data/mel", "--output data/mel is the store of the input"),
    case("clusters over others", f"{NINE} data/mel/train --output coded/mel", "coded/mel/centroids.safetensors is there already", "clusters is 4 there, 9 here"),
    case("clusters of frames that are not finite", f"{NINE} coded/infinite/train", "utterance 'b'", "not finite"),
    case("clusters and centroids that are there", f"{APPLY} --clusters 3", "--cluster --apply would not use --clusters"),
    case("centroids that are not there", f"{CLUSTER} --apply nowhere --input data/mel/dev", "nowhere", "no such file of centroids"),
    case("centroids that are text", f"{CLUSTER} --apply notes.txt --input data/mel/dev", "notes.txt", "damaged, or no safetensors"),
    case("centroids of another program", f"{CLUSTER} --apply coded/theirs.safetensors --input data/mel/dev", "coded/theirs.safetensors", "no centroids of"),
    case("centroids cut off", f"{CLUSTER} --apply coded/cut.safetensors --input data/mel/dev", "coded/cut.safetensors", "damaged"),
    case("centroids with a changed byte", f"{CLUSTER} --apply coded/changed.safetensors --input data/mel/dev", "coded/changed.safetensors", "not those that were written"),
    case("centroids of other features", f"{CLUSTER} --apply coded/mel --input data/fbank/dev", "centroids of frames of mel", "features.kind 'mel' there, 'fbank' here"),
    case("centroids of another width", f"{CLUSTER} --apply coded/mel --input coded/wide/train", "centroids of frames of mel", "width 80 there, 160 here"),
    case("centroids of another upstream", f"{APPLY} --upstream random:good.yaml", "centroids of frames of mel", "data/mel/dev does not fit"),
    case("codes in a folder of other codes", f"{CLUSTER} --apply coded/mel --input data/mel/dev --output coded/five", "coded/five holds", "codes of other centroids"),
    case("codes of another input of that name", f"{CLUSTER} --apply coded/mel --input coded/other/train --output coded/mel", "coded/mel/train holds codes that were made of another input"),
    case("units without an input", "runner_mockingjay.py --extract --codes coded/mel", "add --input"),
    case("units of codes by other centroids", f"{UNITS} coded/five/train", "coded/five/train", "other centroids than coded/mel"),
    case("units of codes and an upstream", f"{UNITS} coded/mel/train --upstream baseline", "holds codes already", "--upstream baseline"),
    case("units by a checkpoint", f"{UNITS} data/mel/dev --ckpt ckpt/good.ckpt", "--extract --codes would not use --ckpt"),
    case("units of several shards", f"{UNITS} data/mel/dev --shard 1/2", "--extract --codes would not use --shard"),
    case("codes that are not named", f"{TRAIN} codes.source=store", "codes.source is store", "--cluster", "data.target="),
    case("frames as codes to predict", f"{TRAIN} codes.source=store data.target=[data/mel/train]", "holds frames, expected codes"),
    case("codes of another number", f"{TRAIN} codes.source=store codes.size=9 data.target=[coded/mel/train]", "1 codebooks of 4 codes", "codes.size=4"),
    case("codes of another rate", f"{TRAIN} codes.source=store codes.size=4 model.downsample_rate=2 data.target=[coded/mel/train]", "a code every 12.5 ms, the model a frame every 25 ms", "--stack 2"),
    case("codes of other utterances", f"{TRAIN} codes.source=store codes.size=4 data.target=[coded/mel/train] data.train=[data/mel/dev]", "data.target has no codes for"),
    case("too many codebooks", f"{TRAIN} codes.codebooks=9", "codes", "less than or equal to 8"),
    case("projection of stored codes", f"{TRAIN} codes.source=store codes.dim=8 data.target=[coded/mel/train]", "dim 8 would change nothing"),
    case("codes without masks", f"{TRAIN} masking.proportion=0", "predicts masked frames", "above 0"),
    case("codes of a GRU", f"{TRAIN} encoder=gru", "encoder 'gru' only looks back"),
    case("shift of codes", f"{TRAIN} apc.time_shift=2", "with objective codes the section apc is not used"),
    case("codes of a masked model", f"{NEW} --config good.yaml codes.size=9", "with objective masked the section codes is not used"),
    case("spans drawn in two ways", f"{TRAIN} masking.start_probability=0.1", "both draw spans", "set one of them to 0"),
    case("spans that begin anywhere, apart", f"{TRAIN} masking.start_probability=0.1 masking.proportion=0 masking.allow_overlap=False", "allow_overlap false goes with proportion"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    folder = root / "coded"
    words = ["--cluster", "--cpu", "--no-msg", "--restarts", "1", "--passes", "0", "--input", "data/mel/train"]
    with contextlib.chdir(root):
        for name, clusters in (("mel", "4"), ("five", "5")):
            runner_mockingjay.main([*words, "--clusters", clusters, "--output", f"coded/{name}"])
    whole = (folder / "mel/centroids.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-50])
    (folder / "changed.safetensors").write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    save_file({"centroids": np.zeros((4, 80), np.float32)}, folder / "theirs.safetensors")
    write_store(folder / "other/train", {"a": 30})
    write_store(folder / "wide/train", {"a": 30}, FeatureConfig(kind="mel", deltas=1))
    write_store(folder / "infinite/train", {"a": 50, "b": 60})
    array = np.lib.format.open_memmap(folder / "infinite/train.npy", "r+")
    array[70] = np.inf
    array.flush()
    Store([folder / "infinite/train"]).fingerprint()  # its digest is kept beside it
