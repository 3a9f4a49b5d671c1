"""The originals' probing flags, and S3PRL's command lines in our words; it loads nothing heavy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from downstream.tasks.table import TASKS as OURS
from utility.flags import Mode, Parser

# The paper's probes; the original's own "linear" had two hidden layers: `run_downstream.py --run phone_1hidden`.
TASKS = {"phone": "phone_linear", "speaker": "speaker_utterance", "sentiment": "sentiment"}
ALIASES = {  # SUPERB's and S3PRL's names of tasks -> ours
    "pr": "ctc_phone",
    "ctc": "ctc_phone",
    "asr": "ctc_char",
    "ks": "keyword_spotting",
    "speech_commands": "keyword_spotting",
    "ic": "intent",
    "fluent_commands": "intent",
    "er": "emotion",
    "sid": "speaker_utterance",
    "voxceleb1": "speaker_utterance",
    "asv": "asv_xvector",
    "sv_voxceleb1": "asv_xvector",
    "mosei": "sentiment",
    "mos_prediction": "mos",
}
TRAIN, TEST = (tuple(f"--{what}_{label}" for label in TASKS) for what in ("train", "test"))
UPSTREAMS = {  # (--run_mockingjay, --run_apc, --with_head)
    (True, False, False): "transformer",
    (True, False, True): "transformer_head",
    (False, True, False): "transformer",
    (False, False, False): "baseline",
}
SCORED_BY = (  # what the score of a trained probe depends on
    *("data.train", "data.dev", "data.test", "data.alignment", "data.unaligned", "data.split", "data.split_seed"),
    *("data.dev_share", "data.test_share", "data.dev_speakers", "data.test_speakers", "data.min_utterances"),
    *("data.cache", "data.cache_dtype", "data.batch_frames", "data.batch_utterances", "data.fine_tune_frames"),
    *("data.labels", "data.label_column", "data.label_kind", "data.label_mode", "data.label_map", "data.classes"),
    *("data.split_column", "data.group_column"),
)
MODES = (
    *(Mode(name, shown=name == TRAIN[0]) for name in TRAIN),
    *(Mode(name, SCORED_BY, shown=name == TEST[0]) for name in TEST),
)
PROBING_ANSWERS = {
    "dckpt": "a run goes on with --resume DIR; its test set again: runner_mockingjay.py --test_phone --dckpt FILE",
}
S3PRL_FLAGS = {"-m": "", "-u": "--upstream", "-d": "--run", "-n": "--name", "-k": "--ckpt", "-c": "--config", "-o": ""}
S3PRL_FLAGS |= {"-p": "--expdir", "-e": "--resume", "-l": "--layer"}
FEATURES = ("fbank", "mel", "mfcc", "linear", "spectrogram", "baseline")  # S3PRL's upstreams without a model


def add_classic_flags(parser: Parser) -> None:
    """Add `--train_<label>` and `--test_<label>`, and the flags that go with them alone."""
    flags = parser.add_argument_group("--train_phone and the like (with a YAML config of run_downstream.py)")
    for label, task in TASKS.items():
        helps = {
            "train": f"probe {label}: {task} of run_downstream.py",
            "test": "score the probe --dckpt on its test set",
        }
        for what, text in helps.items():
            parser.add_boolean(f"--{what}_{label}", group=flags, help=text)
    both: dict[str, Any] = {"group": flags, "modes": (*TRAIN, *TEST)}
    parser.add_boolean("--run_mockingjay", help="probe --ckpt; without it or --run_apc, the features", **both)
    parser.add_boolean("--run_apc", help="probe --apc_path", **both)
    parser.add("--apc_path", type=Path, help="an APC checkpoint, named as --ckpt is", **both)
    parser.add_boolean("--fine_tune", help="train the upstream too", **both)
    parser.add("--dckpt", group=flags, modes=TEST, type=Path, help="checkpoint of a probe, or its run's folder")
    parser.add("--expdir", group=flags, modes=TRAIN, type=Path, default=Path("result"), help="folder of the results")


def classic_upstream(values: Mapping[str, Any]) -> tuple[str, Path | None, str]:
    """What the flags probe: the upstream in our words, its checkpoint as it was typed, and the flag of that."""
    flags = (values["run_mockingjay"], values["run_apc"], values["with_head"])
    if flags not in UPSTREAMS:
        raise ValueError("choose one of --run_mockingjay and --run_apc; --with_head goes with --run_mockingjay")
    flag, other = ("--apc_path", "--ckpt") if values["run_apc"] else ("--ckpt", "--apc_path")
    ckpt, unused = (values[name.removeprefix("--")] for name in (flag, other))
    if unused is not None or (ckpt is not None and UPSTREAMS[flags] == "baseline"):
        named = ckpt if unused is None else unused
        raise ValueError(f"what is {named}? add --run_mockingjay, or --run_apc with --apc_path; neither: the features")
    if UPSTREAMS[flags] != "baseline" and ckpt is None:
        raise ValueError(
            "--run_apc needs --apc_path FILE" if values["run_apc"] else "--run_mockingjay needs --ckpt FILE"
        )
    return UPSTREAMS[flags], ckpt, flag


def in_our_words(argv: Sequence[str]) -> str | None:
    """What to type instead of S3PRL's `-m train -u U -d TASK -n NAME -o a.b=c`; None for another command line."""
    if not any(word in ("-m", "-u", "-d") for word in argv):
        return None
    if "-g" in argv:
        return "these are S3PRL's flags; type runner_mockingjay.py --train --config YAML --name NAME"
    ours, rest = ["run_downstream.py"], list(argv)
    while rest:
        word = rest.pop(0)
        value = rest.pop(0) if rest and not rest[0].startswith("-") else ""
        if word == "-o":
            ours += [part.strip().removeprefix("config.") for part in value.split(",,")]
        elif word == "-d":
            task = ALIASES.get(value, value)
            ours += ["--run", task if task in OURS else f"TASK ({', '.join(OURS)})"]
        elif word == "-u":
            ours += ["--upstream", "baseline" if value in FEATURES else value if ":" in value else "pretrained"]
            ours += ["--ckpt", "FILE"] if ours[-1] == "pretrained" and "-k" not in argv else []
        elif word == "-f":
            ours.append("--fine_tune")
        elif word != "-m":
            ours += [S3PRL_FLAGS.get(word, word), *([value] if value else [])]
    return f"these are S3PRL's flags; type {' '.join(ours)}"
