"""The originals' probing flags, `--train_phone --run_mockingjay` and the like, as runs of this package."""

import argparse
from pathlib import Path

from downstream.config import DownstreamConfig
from downstream.experiment import KIND, Experiment, Setting
from downstream.report import describe, run_folder
from downstream.sweep import run_single
from downstream.tasks.base import Task
from downstream.tasks.table import find_task
from originals.flags import TASKS
from utility.command import DEFAULT_SEED
from utility.config import resolve
from utility.device import claim_device
from utility.runs import with_unit
from utility.training.checkpoint import load_checkpoint, load_weights

UPSTREAMS = {  # (--run_mockingjay, --run_apc, --with_head)
    (True, False, False): "transformer",
    (True, False, True): "transformer_head",
    (False, True, False): "transformer",
    (False, False, False): "baseline",
}


def run_classic(args: argparse.Namespace, ckpt: Path | None) -> None:
    """Train a probe of `ckpt` (`args.classic` is `train_<label>`), or score one on its test set (`test_<label>`)."""
    what, _, label = args.classic.partition("_")
    task, upstream = find_task(TASKS[label]), _upstream(args, ckpt)
    {"train": _train, "test": _test}[what](args, task, upstream, ckpt)


def _upstream(args: argparse.Namespace, ckpt: Path | None) -> str:
    flags = (args.run_mockingjay, args.run_apc, args.with_head)
    if flags not in UPSTREAMS:
        raise ValueError("choose one of --run_mockingjay and --run_apc; --with_head goes with --run_mockingjay")
    name = UPSTREAMS[flags]
    if name == "baseline" and ckpt is not None:
        raise ValueError(f"what is {ckpt}? add --run_mockingjay, or --run_apc with --apc_path; neither: the features")
    if name != "baseline" and ckpt is None:
        raise ValueError("--run_apc needs --apc_path FILE" if args.run_apc else "--run_mockingjay needs --ckpt FILE")
    return name


def _config(args: argparse.Namespace, source: Path | dict | None) -> DownstreamConfig:
    flags = ["upstream.fine_tune=true"] if args.fine_tune else []
    return resolve(DownstreamConfig, source, [*flags, *args.overrides])


def _train(args: argparse.Namespace, task: Task, upstream: str, ckpt: Path | None) -> None:
    seed = DEFAULT_SEED if args.seed is None else args.seed
    setting = Setting(task, upstream, ckpt, _config(args, args.config), seed, claim_device(args.cpu), args.quiet)
    resume = "" if args.resume or args.load else None
    folder = run_folder(args.expdir, upstream, task.name, args.name, resume)
    print(describe(run_single(setting, folder), folder))


def _test(args: argparse.Namespace, task: Task, upstream: str, ckpt: Path | None) -> None:
    if args.dckpt is None:
        raise ValueError(
            f"--{args.classic} needs the probe: --dckpt result/result_{upstream}_{task.name}/<run>/best.ckpt"
        )
    saved = load_checkpoint(args.dckpt, KIND)
    about = saved.get("about", {})
    if about.get("task") != task.name:
        raise ValueError(f"--dckpt {args.dckpt} is a probe for {about.get('task')!r}, not {task.name!r}")
    config = _config(args, args.config or about["config"])
    setting = Setting(task, upstream, ckpt, config, about["seed"], claim_device(args.cpu), args.quiet)
    experiment = Experiment(setting, args.dckpt.parent)
    if experiment.fingerprint != about["upstream"]:
        raise ValueError(f"--dckpt {args.dckpt} was trained on another upstream than {upstream!r} of {ckpt}")
    load_weights(experiment.probe, saved["model"], args.dckpt)
    score = experiment.test.score(experiment.probe, setting.device)
    value = with_unit(score.figures()[task.metric.key], task.metric.unit)
    print(f"{task.name} {upstream}: test {value} of {score.count} {task.item}s; {args.dckpt}")
