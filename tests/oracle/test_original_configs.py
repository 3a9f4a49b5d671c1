"""The originals' YAML files as --config: what converts is what their checkpoints give, and nothing is silently lost."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import run_downstream
import runner_mockingjay
from downstream.config import DownstreamConfig
from mockingjay.checkpoint import load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.foreign.configs import read_config, read_online
from mockingjay.upstream import load_upstream
from originals.probing_config import read_probing_config
from tests.helpers.downstream_corpus import Small
from tests.helpers.legacy_fixture import FIXTURES, NEW, OLD, SHORT, plain_content
from tests.helpers.speech import write_store
from utility.config import as_dict, differences, resolve
from utility.store.info import StoreInfo

S3PRL: dict[str, Any] = {  # the keys of S3PRL v0.1.0's config/upstream_fbankBase.yaml
    "transformer": {
        "input_dim": 80, "downsample_rate": 1, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 48, "hidden_act": "gelu", "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3,
        "initializer_range": 0.02, "layer_norm_eps": "1e-12", "mask_proportion": 0.2, "mask_consecutive_min": 5,
        "mask_consecutive_max": 7, "mask_allow_overlap": True, "mask_bucket_ratio": 1.2, "mask_frequency": 16,
        "noise_proportion": 0.15, "prune_headids": None, "share_layer": False, "max_input_length": 0,
        "pre_layer_norm": False,
    },
    "optimizer": {
        "type": "lamb", "learning_rate": "2e-4", "loss_scale": 0, "warmup_proportion": 0.1,
        "gradient_accumulation_steps": 3, "gradient_clipping": 3.0,
    },
    "dataloader": {
        "n_jobs": 12, "batch_size": 12, "dev_batch_size": 12, "max_timestep": 1400,
        "data_path": "data/libri_fbank_cmvn", "target_path": "", "phone_path": "data/cpc_phone",
        "train_set": ["train"], "dev_set": ["dev"], "test_set": ["test"], "train_proportion": 1.0,
    },
    "runner": {
        "apex": False, "total_steps": 200000, "log_step": 2500, "save_step": 10000, "duo_feature": False, "max_keep": 2,
    },
}  # fmt: skip
ONLINE: dict[str, Any] = {  # the keys of its config/online.yaml
    "roots": ["nowhere/LibriSpeech/train-clean-100"], "sample_rate": 16000, "max_time": 40000, "target_level": -25,
    "noise_proportion": 0.5, "noise_type": "gaussian", "snrs": [3, 6], "win_ms": 25, "hop_ms": 10, "n_freq": 201,
    "n_mels": 40, "n_mfcc": 13,
    "input": {"feat_type": "mel", "channel": 0, "log": True, "delta": 1, "cmvn": True},
    "target": {"feat_type": "linear", "channel": 1, "log": True, "delta": 0, "cmvn": True},
}  # fmt: skip
TRAINING = {"learning_rate": "4e-3", "total_steps": 29078, "log_step": 500, "dev_step": 5000, "save_step": 2000}
TRAINING |= {"evaluation": "test", "max_keep": 5}
FEED_FORWARD = {"hidden_size": 0, "drop": 0.0, "select_hidden": "upstream", "sequencial": False, "linear": True}
PROBING: dict[str, Any] = {  # the keys of its config/downstream.yaml
    "dataloader": {**S3PRL["dataloader"], "batch_size": 6, "max_timestep": 0, "train_proportion": 0.125},
    "runner": {**TRAINING, "warmup_proportion": 0.02, "gradient_clipping": 2.0, "evaluation": "dev"},
    "model": {
        "linear": {**FEED_FORWARD, "layers": 1, "concat": 1},
        "1hidden": {**FEED_FORWARD, "hidden_size": 512, "drop": 0.1, "linear": False, "layers": 2, "concat": 1},
        "concat": {**FEED_FORWARD, "layers": 1, "concat": 9},
        "utterance": {
            "mode": "classification", "select_hidden": "weighted_sum", "sample_rate": 1, "pre_linear_dims": [],
            "hidden_size": 0, "post_linear_dims": [], "drop": 0.0,
        },
    },
}  # fmt: skip


def write(folder: Path, values: dict[str, Any], name: str = "theirs.yaml") -> Path:
    (folder / name).write_text(yaml.safe_dump(values))
    return folder / name


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(values)
    *sections, key = path.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    place[key] = value
    return values


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with the data that the files name."""
    for split, seed in (("train", 0), ("dev", 1), ("test", 2)):
        lengths = {f"{split}-{i}": 40 + i for i in range(6)}
        write_store(tmp_path / "data" / "libri_fbank_cmvn" / split, lengths, seed=seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [*NEW, *OLD, *SHORT])
def test_a_file_gives_the_config_that_its_checkpoint_gives(name, tmp_path):
    """One converter: the YAML within a checkpoint, as a file."""
    content = plain_content(FIXTURES / f"{name}.ckpt")["Settings"]["Config"]
    given = read_config(write(tmp_path, content))
    ours, theirs = resolve(PretrainConfig, given.source), load_pretrained(FIXTURES / f"{name}.ckpt").config
    of_files = ("data", "loader", "trainer.log_every", "trainer.eval_every", "trainer.save_every", "trainer.max_keep")
    assert not [d for d in differences(ours, theirs, of_files) if d.key != "trainer.steps" or name not in SHORT]
    assert given.input_dim == int(content.get("transformer", {}).get("input_dim", 0))


def test_every_key_of_s3prls_file_counts_or_is_named(here, capsys):
    given = read_config(write(here, S3PRL))
    config = resolve(PretrainConfig, given.source)
    expected = {
        "data": {"train": ["data/libri_fbank_cmvn/train"], "dev": ["data/libri_fbank_cmvn/dev"]},
        "model": {"layers": 2, "hidden_size": 24, "heads": 2, "ffn_size": 48, "dropout": 0.2, "attention_dropout": 0.3},
        "masking": {"proportion": 0.2, "consecutive_min": 5, "frequency": 16, "noise": 0.15},
        "loader": {"batch_frames": 18000, "max_frames": 1400},
        "optimizer": {"name": "lamb", "lr": 2e-4, "warmup": 0.1, "clip": 3.0},
        "trainer": {"steps": 200_000, "accumulation": 3, "precision": "fp32", "log_every": 2500, "save_every": 10_000},
    }
    expected["data"]["test"] = ["data/libri_fbank_cmvn/test"]
    assert config == resolve(PretrainConfig, expected)
    assert given.note == (
        f"{here}/theirs.yaml is an original's config; without a meaning here: dataloader.dev_batch_size, "
        "dataloader.n_jobs (loader.workers=N reads ahead), dataloader.phone_path (labels are of probes), "
        "dataloader.train_proportion (labels are of probes), optimizer.loss_scale, runner.apex (trainer.precision=bf16)"
    )


def train(folder: Path, *words: str) -> None:
    places = ["--ckpdir", "ckpt", "--logdir", "log", "--cpu", "--name", "run", "--config", str(folder / "theirs.yaml")]
    runner_mockingjay.main(["--train", *places, *words])


@pytest.mark.slow
def test_a_run_is_trained_by_such_a_file_and_goes_on(here, capsys):
    write(here, S3PRL)
    train(here, "--dry_run")
    shown = capsys.readouterr()
    assert "hidden_size: 24" in shown.out
    assert "name: lamb" in shown.out
    assert [line for line in shown.err.splitlines() if "an original's config" in line] == shown.err.splitlines()
    assert len(shown.err.splitlines()) == 1
    train(here, "--no-msg", "trainer.steps=2")
    saved = load_pretrained(here / "ckpt" / "run" / "mockingjay-2.ckpt")
    assert (saved.config.optimizer.name, saved.config.masking.consecutive_min) == ("lamb", 5)
    written = resolve(PretrainConfig, here / "ckpt" / "run" / "config.yaml")
    assert written == saved.config
    train(here, "--no-msg", "--resume", "trainer.steps=3")
    assert load_pretrained(here / "ckpt" / "run" / "mockingjay-3.ckpt").step == 3


def test_data_that_are_not_here_are_named_and_what_to_type(here, capsys):
    write(here, changed(S3PRL, "dataloader.data_path", "data/elsewhere"))
    store = here / "data" / "libri_fbank_cmvn"
    with pytest.raises(ValueError, match=r"theirs.yaml: its data_path 'data/elsewhere' is not here: say data\.train="):
        train(here, "--dry_run")
    train(here, "--dry_run", f"data.train=[{store}/train]")
    said = capsys.readouterr().err
    assert "its data_path 'data/elsewhere' is not here: say data.train=[data/NAME/SPLIT] (and data.dev" in said


def test_frames_of_another_size_than_the_file_says_are_refused(here):
    write(here, changed(S3PRL, "transformer.input_dim", 160))
    with pytest.raises(ValueError, match=r"theirs.yaml: its input_dim is 160, data.train has frames of 80 values"):
        train(here, "--dry_run")


def test_another_target_keeps_its_place(here):
    config = changed(changed(S3PRL, "runner.duo_feature", True), "dataloader.target_path", "data/linear")
    found = resolve(PretrainConfig, read_config(write(here, config)).source)
    assert found.data.target == ["data/linear/train", "data/linear/dev", "data/linear/test"]


def test_segments_epochs_and_counts_of_batches(tmp_path):
    def trainer(values):
        return resolve(PretrainConfig, read_config(write(tmp_path, values)).source)

    segments = trainer(changed(S3PRL, "transformer.max_input_length", 1024))
    assert (segments.model.max_input_length, segments.loader.max_frames) == (1024, 1024)
    assert trainer(changed(S3PRL, "dataloader.max_timestep", 0)).loader.max_frames is None
    epochs = trainer(changed(S3PRL, "runner.n_epochs", 7)).trainer
    assert (epochs.epochs, epochs.steps) == (7, None)
    first = {"mockingjay": S3PRL["transformer"], "solver": {**S3PRL["runner"], "dev_step": 5000}}
    found = trainer({**first, "optimizer": S3PRL["optimizer"], "dataloader": S3PRL["dataloader"]}).trainer
    assert (found.steps, found.log_every, found.eval_every) == (66_666, 833, 1666)  # it counted batches, 3 a step


UNKNOWN = {
    "transformer.hiden_size": "unknown config key 'transformer.hiden_size'; did you mean 'hidden_size'",
    "optimizer.learning_rte": "'optimizer.learning_rte'; did you mean 'learning_rate'",
    "dataloader.trainset": "'dataloader.trainset'; did you mean 'train_set'",
    "runner.totl_steps": "'runner.totl_steps'; did you mean 'total_steps'",
    "optimiser": "unknown config key 'optimiser'; did you mean 'optimizer'",
    "data.train": "unknown config key 'data'; did you mean 'dataloader'",
    "online.n_mel": "'online.n_mel'; did you mean 'n_mels'",
    "online.input.deltas": "'online.input.deltas'; did you mean 'delta'",
}
WRONG = {
    "transformer.num_hidden_layers": ("many", "'transformer.num_hidden_layers' is 'many', expected a whole number"),
    "transformer.num_attention_heads": (5, "hidden_size 24"),
    "transformer.dual_transformer": (True, "'transformer.dual_transformer': there is no such model here"),
    "transformer.layer_norm_eps": ("1e-5", "only 1e-12 is known"),
    "transformer": (None, "has no section transformer"),
    "optimizer.type": ("sgd", "'optimizer.type' is 'sgd', expected one of adam, lamb, adamW"),
    "optimizer.learning_rate": ("fast", "'optimizer.learning_rate' is 'fast', expected a number"),
    "dataloader": (5, "config block 'dataloader' is 5"),
    "online.input.feat_type": (
        "phase",
        "'online.input': such features are not computed here: expected feat_type linear",
    ),
    "online.win_ms": ("long", "'online.win_ms' is 'long', expected a number"),
    "online.win_ms ": (26, "unknown config key 'online.win_ms '"),
    "online.noise_proportion": (3, "online.noise_proportion"),
}


@pytest.mark.parametrize("key", UNKNOWN)
def test_an_unknown_key_is_refused_as_ours_are(key, tmp_path):
    values = {**S3PRL, "online": ONLINE} if key.startswith("online") else S3PRL
    with pytest.raises(ValueError) as refused:
        read_config(write(tmp_path, changed(values, key, 5)))
    assert str(refused.value).startswith(f"{tmp_path}/theirs.yaml: ")
    assert UNKNOWN[key] in str(refused.value)


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_is_refused_with_its_file(key, tmp_path):
    values = {**S3PRL, "online": ONLINE} if key.startswith("online") else S3PRL
    with pytest.raises(ValueError) as refused:
        read_config(write(tmp_path, changed(values, key, WRONG[key][0])))
    assert str(refused.value).startswith(f"{tmp_path}/theirs.yaml: ")
    assert WRONG[key][1] in str(refused.value)
    assert len(str(refused.value)) < len(str(tmp_path)) + 300


def test_online_features_of_s3prl_are_kinds_here(tmp_path):
    """Alone as --online_config, and within a config."""
    (tmp_path / "speech").mkdir()
    block = changed(ONLINE, "roots", [str(tmp_path / "speech")])
    alone = read_online(write(tmp_path, block))
    whole = read_config(write(tmp_path, {**S3PRL, "online": block}))
    below, within = resolve(PretrainConfig, None, [], alone.source), resolve(PretrainConfig, whole.source)
    assert below.online == within.online
    online = below.online
    assert online.input.kind == "s3prl_mel"
    assert (online.input.dim, online.input.deltas, online.input.s3prl.n_mels, online.input.cmvn) == (
        80,
        1,
        40,
        "utterance",
    )
    assert (online.target.kind, online.target.dim) == ("s3prl_linear", 201)
    assert (online.noise_proportion, online.snrs, online.target_level) == (0.5, [3.0, 6.0], None)
    assert below.data.train == within.data.train == [str(tmp_path / "speech")]
    assert below.loader.max_frames == within.loader.max_frames == 4000
    assert whole.input_dim == 80
    assert alone.note == ""
    gone = read_online(ONLINE)
    assert "say data.train=[FOLDER" in gone.missing
    assert gone.missing in gone.note
    assert "data" not in gone.source or not gone.source["data"]
    same = read_online(changed(ONLINE, "target", {**ONLINE["input"], "channel": 1})).source
    assert same["online"]["target"] is None
    short = {"input": {"feat_type": "mfcc", "cmvn": True}}  # what is absent is as S3PRL's preprocessor has it
    assert read_online(short).source["online"]["input"]["s3prl"]["n_mfcc"] == 13
    ours = {"online": {"input": {"kind": "fbank"}}}
    assert read_online(ours).source is ours


def probing(folder: Path, values: dict[str, Any], task: str) -> tuple[DownstreamConfig, str]:
    given = read_probing_config(write(folder, values), task)
    return resolve(DownstreamConfig, given.source), given.note


def test_a_probing_file_of_s3prl_converts_by_task(here):
    config, note = probing(here, PROBING, "phone_1hidden")
    assert as_dict(config)["data"] | {"train": 0} == as_dict(DownstreamConfig())["data"] | {
        "train": 0, "dev": ["data/libri_fbank_cmvn/dev"], "test": ["data/libri_fbank_cmvn/test"],
        "label_fraction": 0.125, "batch_frames": 9000, "fine_tune_frames": 9000, "batch_utterances": 6,
    }  # fmt: skip
    assert (config.probe.hidden_layers, config.probe.hidden_size, config.probe.dropout, config.probe.context) == (
        1, 512, 0.1, 1,
    )  # fmt: skip
    assert (config.optimizer.lr, config.optimizer.warmup, config.optimizer.clip) == (4e-3, 0.02, 2.0)
    trainer = config.trainer
    assert (trainer.steps, trainer.log_every, trainer.eval_every, trainer.save_every) == (29078, 500, 5000, 2000)
    assert (trainer.max_keep, trainer.patience) == (5, None)
    for word in (
        "dataloader.phone_path (data.alignment=data/NAME",
        "runner.evaluation (dev chooses",
        "dataloader.n_jobs",
    ):
        assert word in note
    assert probing(here, PROBING, "phone_linear")[0].probe.hidden_layers == 0
    assert probing(here, PROBING, "phone_concat")[0].probe.context == 9
    assert probing(here, PROBING, "speaker_utterance")[0].upstream.weighted_sum
    assert not config.upstream.weighted_sum


def test_the_block_of_mockingjays_file_converts(here):
    block = {
        "linear": {"input_dim": "None", "hidden_size": 768, "drop": 0.2, "select_hidden": "first"},
        "rnn": {
            "mode": "classification", "input_dim": "None", "select_hidden": "last", "sample_rate": 5,
            "pre_linear_dims": [], "hidden_size": 32, "post_linear_dims": [32], "drop": 0.5,
        },
        "load_model_list": ["Classifier"],
    }  # fmt: skip
    values = {"mockingjay": S3PRL["transformer"], "optimizer": {}, "solver": {}, "dataloader": S3PRL["dataloader"]}
    values["downstream"] = {**block, **TRAINING}
    config, note = probing(here, values, "phone_linear")
    assert (config.probe.hidden_layers, config.probe.dropout, config.upstream.layer) == (2, 0.2, 1)
    assert config.trainer.steps == 29078
    assert "mockingjay (of pre-training: runner_mockingjay.py --train --config FILE)" in note
    config, note = probing(here, values, "speaker_utterance")
    probe = config.probe
    assert (probe.head, probe.hidden_size, probe.skip, probe.hidden_layers, probe.dropout) == ("gru", 32, 5, 1, 0.5)
    assert "downstream.rnn" not in note
    other = changed(values, "downstream.rnn.pre_linear_dims", [64])
    config, note = probing(here, other, "speaker_utterance")
    assert config.probe.head is None
    assert "downstream.rnn: here the mean of all frames and one linear layer" in note
    assert probing(here, changed(values, "downstream.linear.select_hidden", 4), "phone_linear")[0].upstream.layer == 5
    given = read_config(write(here, values))
    assert "downstream (of probes: run_downstream.py --config FILE)" in given.note


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("runner.learning_rat", 1, "'runner.learning_rat'; did you mean 'learning_rate'"),
        ("model.linear.layer", 1, "'model.linear.layer'; did you mean 'layers'"),
        ("model.utterance.drp", 1, "'model.utterance.drp'; did you mean 'drop'"),
        ("model.linaer", {}, "'model.linaer'; did you mean 'linear'"),
        ("model.utterance.mode", "regression", "'model.utterance.mode' is 'regression': probes classify"),
        ("model.linear.sequencial", True, "'model.linear.sequencial': there is no recurrent classifier here"),
        ("model.linear.select_hidden", "best", "'model.linear.select_hidden' is 'best'"),
        ("dataloader.train_proportion", 0, "data.label_fraction"),
        ("runner", None, "it is of pre-training: of a probe it would"),
    ],
)
def test_a_probing_file_is_refused_in_one_line(key, value, said, tmp_path):
    with pytest.raises(ValueError) as refused:
        probing(tmp_path, changed(PROBING, key, value), "phone_linear")
    assert str(refused.value).startswith(f"{tmp_path}/theirs.yaml: ")
    assert said in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["run_downstream", "runner_mockingjay"])
def test_a_probe_is_trained_by_such_a_file(small: Small, tmp_path, capsys, runner):
    file = write(tmp_path, changed(changed(PROBING, "runner.total_steps", 7), "model.linear.select_hidden", "average"))
    ours = ("trainer.", "optimizer.", "--expdir", "--logdir", str(small.root))
    words = [word for word in small.words() if not word.startswith(ours)]
    words += [
        "--expdir",
        str(tmp_path),
        "--logdir",
        str(tmp_path / "log"),
        "--config",
        str(file),
        "--name",
        "theirs",
        f"data.cache={tmp_path}/cache",
    ]
    words += ["data.label_fraction=1"]
    if runner == "run_downstream":
        assert run_downstream.main(["--run", "phone_linear", "--upstream", "baseline", *words]) == 0
    else:
        assert runner_mockingjay.main(["--train_phone", *words]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "select_hidden average: here the embedding counts, too" in said[0]
    written = resolve(DownstreamConfig, tmp_path / "result_baseline_phone_linear" / "theirs" / "config.yaml")
    assert (written.trainer.steps, written.optimizer.lr, written.probe.hidden_layers) == (7, 4e-3, 0)
    assert written.upstream.layer == "average"


def test_random_has_the_architecture_of_such_a_file(tmp_path):
    info = StoreInfo(row_shape=[80], frame_shift=0.01)
    upstream = load_upstream(f"random:{write(tmp_path, S3PRL)}", info=info, seed=3)
    assert (upstream.num_layers, upstream.hidden_size) == (2, 24)
