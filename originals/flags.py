"""The originals' probing flags on a command line; apart from what they do, so that --help needs no torch."""

import argparse
from pathlib import Path

# The paper's probes; the original's own "linear" had two hidden layers: `run_downstream.py --run phone_1hidden`.
TASKS = {"phone": "phone_linear", "speaker": "speaker_utterance", "sentiment": "sentiment"}
SUPPORTED = ("phone", "speaker")


def add_classic_flags(parser: argparse.ArgumentParser, mode: argparse._MutuallyExclusiveGroup) -> None:
    """Add `--train_<label>` and `--test_<label>` to the modes (`args.classic`), and the flags that go with them."""
    for label, task in TASKS.items():
        helps = {
            "train": f"probe {label}: {task} of run_downstream.py",
            "test": "score the probe --dckpt on its test set",
        }
        for what, text in helps.items():
            name, shown = f"{what}_{label}", text if label in SUPPORTED else argparse.SUPPRESS
            mode.add_argument(f"--{name}", action="store_const", dest="classic", const=name, help=shown)
    flags = parser.add_argument_group("--train_phone and the like (with a YAML config of run_downstream.py)")
    flags.add_argument("--run_mockingjay", action="store_true", help="probe --ckpt; without it or --run_apc, features")
    flags.add_argument("--run_apc", action="store_true", help="probe --apc_path")
    flags.add_argument("--apc_path", type=Path, help="an APC checkpoint")
    flags.add_argument("--fine_tune", action="store_true", help="train the upstream too")
    flags.add_argument("--dckpt", type=Path, help="checkpoint of a probe")
    flags.add_argument("--expdir", type=Path, default=Path("result"), help="folder of the probes' results")
