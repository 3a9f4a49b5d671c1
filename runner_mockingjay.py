"""Pre-train masked-frame Transformers on speech, test and plot them, extract their representations."""

import importlib
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import utility.openmp  # noqa: F401, before PyTorch is loaded
from commands import settings
from commands.chosen import clustered_upstream, draws_weights, is_spec, named_upstream
from mockingjay.foreign.assumptions import ABOUT, parse_assumptions
from mockingjay.runs import CKPDIR, DEFAULT_CONFIG, LOGDIR, PROBING_LOGDIR, chosen_checkpoint, find_checkpoint
from mockingjay.upstreams.spec import GRAMMAR, UpstreamSpec
from originals import flags as classic
from utility.command import run
from utility.flags import AUTO, DEFAULT_SEED, Command, Mode, Parser, folder_name, seed, shard
from utility.precision import Precision

if TYPE_CHECKING:
    from originals.mockingjay_api import MockingjayModel

CORPORA = ("libri", "timit", "any", "apc", "alignment")  # each with a script in preprocess/
READ = ("data.test", "model.max_input_length")  # of the config, by whatever takes representations
LOSS = (*READ, "data.target", "masking", "apc.time_shift", "online")
MODES = (
    Mode("--train"),
    Mode("--test", (*LOSS, "loader", "trainer.precision")),
    Mode("--plot", (*READ, "online")),
    Mode("--plot --with_head", LOSS),
    Mode("--plot --output_attention", (*READ, "online")),
    Mode("--plot --alterations", ("data.test", "masking", "model.downsample_rate", "online")),
    Mode("--test --load --plot", (*LOSS, "loader", "trainer.precision")),
    Mode("--test --load --plot --with_head", (*LOSS, "loader", "trainer.precision"), shown=False),  # first README
    Mode("--extract", READ),
    Mode("--cluster", ()),
    Mode("--cluster --apply", ()),
    Mode("--extract --codes", ()),
    Mode("--export", ()),
    Mode("--info", ()),
    Mode("--preprocess", ()),
    *classic.MODES,
)
TRAIN = ("--train",)
PLOT = ("--plot", "--plot --with_head", "--plot --output_attention", "--plot --alterations")
BOTH = ("--test --load --plot", "--test --load --plot --with_head")
EXTRACT = ("--test", *BOTH, "--extract")
LOOK = (*EXTRACT, *PLOT)
UNITS = "--extract --codes"
CLUSTER = ("--cluster", "--cluster --apply", UNITS)
OF_A_RUN = tuple(mode for mode in (*LOOK, "--export") if mode != "--plot --alterations")
CLASSIC = (*classic.TRAIN, *classic.TEST)
CALLS: dict[str, tuple[Any, str, str]] = {  # mode -> its settings, and the function that takes them
    "--train": (settings.Train, "commands.pretrain", "train"),
    "--test": (settings.Test, "commands.inspect", "test"),
    "--plot": (settings.PlotStates, "commands.inspect", "plot_states"),
    "--plot --with_head": (settings.PlotReconstructions, "commands.inspect", "plot_reconstructions"),
    "--plot --output_attention": (settings.Plot, "commands.inspect", "plot_attention"),
    "--plot --alterations": (settings.PlotAlterations, "commands.inspect", "plot_alterations"),
    "--test --load --plot": (settings.TestAndPlot, "commands.inspect", "test_and_plot"),
    "--test --load --plot --with_head": (settings.TestAndPlot, "commands.inspect", "test_and_plot_reconstructions"),
    "--extract": (settings.Extract, "commands.extract", "extract"),
    UNITS: (settings.Units, "commands.cluster", "units"),
    "--cluster": (settings.Cluster, "commands.cluster", "find"),
    "--cluster --apply": (settings.Apply, "commands.cluster", "apply"),
    "--export": (settings.Export, "commands.export", "export"),
    "--info": (settings.Info, "commands.inspect", "info"),
    **dict.fromkeys(classic.TRAIN, (settings.TrainClassic, "commands.classic", "train")),
    **dict.fromkeys(classic.TEST, (settings.TestClassic, "commands.classic", "test")),
}
EXAMPLES = """\
examples:
  python runner_mockingjay.py --train --config config/mockingjay_demo.yaml
  python runner_mockingjay.py --train --config config/mockingjay_demo.yaml --resume trainer.steps=4000
  python runner_mockingjay.py --test --config config/mockingjay_demo.yaml
  python runner_mockingjay.py --plot --with_head --ckpt mockingjay_demo_sd1337
  python runner_mockingjay.py --extract --ckpt mockingjay_demo_sd1337/best.ckpt --input recordings/ --layer all
  python runner_mockingjay.py --extract --upstream hf:wav2vec2-base --input recordings/ --layer C7
  python runner_mockingjay.py --cluster --input data/mel/train --clusters 100
  python runner_mockingjay.py --info hf:wav2vec2-base
"""


def parser() -> Parser:
    """The originals' flags, and those that came since."""
    p = Parser(
        MODES,
        translate=classic.in_our_words,
        no_mode="what to do? --train pre-trains; --test, --plot and --extract look at the result; --help names all",
        prog="runner_mockingjay.py",
        description=__doc__,
        epilog=EXAMPLES,
        usage="%(prog)s --train | --test | ... [options] [section.key=value ...]",
    )
    _add_modes(p)
    _add_common(p)
    _add_look(p)
    _add_cluster(p)
    classic.add_classic_flags(p)
    return p


def _add_modes(p: Parser) -> None:
    group = p.add_argument_group("what to do (one of)")
    p.add_boolean("--train", group=group, help="pre-train")
    p.add_boolean("--test", group=group, help="loss of the test set, and its representations")
    p.add_boolean("--plot", group=group, help="hidden states; --with_head, --output_attention, --alterations: others")
    p.add_boolean("--extract", group=group, help="representations of a store or of audio")
    p.add_boolean("--cluster", group=group, help="k-means codes of a store, of audio, or of any upstream's states")
    kinds = "the model as a folder for Transformers, for S3PRL, or for anything that reads safetensors"
    p.add("--export", group=group, choices=("hf", "s3prl", "safetensors"), help=kinds)
    about = "features of a corpus (default: libri); other flags are those of preprocess/preprocess_<corpus>.py"
    p.add("--preprocess", group=group, nargs="?", choices=CORPORA, help=about)
    about = "what a checkpoint is, ours or the originals', or any upstream as of --upstream: layers, frames, input"
    p.add("--info", group=group, metavar="CKPT|SPEC", help=about)
    about = "print the resolved config, the data and the model's size, and end; with any of these"
    p.add_boolean("--dry_run", group=group, help=about)


def _add_common(p: Parser) -> None:
    group = p.add_argument_group("run")
    about = f"YAML config of the run (default: {DEFAULT_CONFIG}); to look at it: that of its --train, instead of --ckpt"
    p.add("--config", group=group, modes=(*TRAIN, *LOOK, "--export", *CLASSIC), type=Path, help=about)
    about = f"of weights, batches, masks, dropout and clusters (default: {DEFAULT_SEED})"
    p.add("--seed", group=group, modes=(*TRAIN, *OF_A_RUN, "--cluster", *classic.TRAIN), type=seed, help=about)
    named = (*TRAIN, *OF_A_RUN, *classic.TRAIN)
    p.add("--name", group=group, modes=named, type=folder_name, help="name of the run (default: <config>_sd<seed>)")
    about = f"TensorBoard's files, and metrics.jsonl (default: {LOGDIR}); of probes TensorBoard's ({PROBING_LOGDIR})"
    p.add("--logdir", group=group, modes=(*TRAIN, *classic.TRAIN), type=Path, help=about)
    looking = (*TRAIN, *LOOK, *CLUSTER, "--export", "--info", *CLASSIC)
    p.add("--ckpdir", group=group, modes=looking, type=Path, default=CKPDIR, help="checkpoints")
    about = "a checkpoint: a file, a path below --ckpdir, or a run's folder (its best.ckpt)"
    p.add("--ckpt", group=group, modes=(*TRAIN, *LOOK, "--export", *CLASSIC), type=Path, help=about)
    about = f"instead of --ckpt: {GRAMMAR}; --cluster takes the frames themselves without it"
    p.add("--upstream", group=group, modes=("--extract", *CLUSTER), metavar="SPEC", help=about)
    p.add("--assume", group=group, modes=looking, type=parse_assumptions, metavar="KEY=VALUE,...", help=ABOUT)
    computing = tuple(mode for mode in (*TRAIN, *LOOK, *CLUSTER, *CLASSIC) if mode != "--plot --alterations")
    p.add_boolean("--cpu", group=group, modes=computing, help="compute on the CPU even where there is a GPU")
    telling = (*TRAIN, *LOOK, *CLUSTER, "--export", *CLASSIC)
    p.add_boolean("--msg", True, group=group, modes=telling, help="messages, progress bar; --no-msg for none")
    about = "YAML config with a section online (config/online.yaml): train straight from audio, laid over --config; "
    about += "extract the features online.input of recordings where the upstream does not say which it takes"
    audio = (*TRAIN, "--plot --alterations", "--extract", "--cluster")
    p.add("--online_config", group=group, modes=audio, type=Path, metavar="YAML", help=about)
    going_on = (*TRAIN, *classic.TRAIN)
    about = "continue the newest checkpoint of this run, exactly; auto: begin where there is none"
    p.add_boolean("--resume", other=AUTO, group=group, modes=going_on, help=about)
    about = "continue --ckpt, exactly; without --ckpt the same as --resume"
    p.add_boolean("--load", group=group, modes=going_on, help=about)


def _add_look(p: Parser) -> None:
    group = p.add_argument_group("test, plot and extract")
    about = "store/split, table or folder of recordings, or one recording (default: data.test of the checkpoint)"
    p.add("--input", group=group, modes=(*LOOK, *CLUSTER, "--info"), type=Path, help=about)
    about = "folder to write to (default: <checkpoint>-dump beside it, or data/<upstream>-dump; of codes "
    about += "data/<store, run or upstream>_codes, or that of the centroids)"
    p.add("--output", group=group, modes=(*LOOK, *CLUSTER, "--export"), type=Path, help=about)
    about = "put the new representations in place of those in --output"
    p.add_boolean("--overwrite", group=group, modes=EXTRACT, help=about)
    about = "phones to draw over the pictures: a folder by preprocess/preprocess_alignment.py"
    p.add("--alignment", group=group, modes=(*PLOT, *BOTH), type=Path, metavar="FOLDER", help=about)
    about = "plot true, predicted and filled frames, or codes; probe the head's state"
    p.add_boolean("--with_head", group=group, modes=CLASSIC, help=about)
    p.add_boolean("--output_attention", group=group, help="plot attention")
    p.add_boolean("--alterations", group=group, help="plot what --config, or --ckpt, hides of its input")
    p.add("--num", group=group, modes=(*PLOT, *BOTH), type=int, default=10, help="utterances to plot")
    about = "plot the utterances of the greatest loss, not the first ones"
    p.add_boolean("--worst", group=group, modes=("--plot --with_head",), help=about)
    layers = "last, all, average, a number (0 = embedding), a label that --info shows, several with commas, or ws:FILE "
    layers += "for the weights in a probe's result.json"
    p.add("--layer", group=group, modes=(*EXTRACT, "--plot", "--cluster"), default="last", help=layers)
    extract: dict[str, Any] = {"group": group, "modes": EXTRACT}
    about = "feature store, Kaldi archive or Kaldi data directory"
    p.add("--format", choices=("npy", "ark", "kaldi"), default="npy", help=about, **extract)
    p.add("--dtype", choices=("float32", "float16"), default="float32", help="of a stored number", **extract)
    about = "of recordings: the SPLIT.cmvn.npz of a store, where the upstream takes features with CMVN of speakers"
    p.add("--statistics", group=group, modes=("--extract", *CLUSTER), type=Path, metavar="FILE", help=about)
    computed: dict[str, Any] = {"group": group, "modes": (*EXTRACT, "--cluster")}
    p.add("--precision", choices=get_args(Precision), default="fp32", help="of matrix products", **computed)
    about = "do part I of N, other machines the others"
    p.add("--shard", type=shard, default="1/1", metavar="I/N", help=about, **extract)


def _add_cluster(p: Parser) -> None:
    group = p.add_argument_group("clusters and codes")
    options: dict[str, Any] = {"group": group, "modes": ("--cluster",), "type": int}
    p.add("--clusters", help="how many centroids, as 100 or 500", **options)
    p.add("--stack", default=1, metavar="R", help="neighbouring frames that get one code together", **options)
    about = "starts on a sample of frames, of which the best goes on"
    p.add("--restarts", default=3, help=about, **options)
    about = (
        "Lloyd iterations over all frames at most (default: 10, or 0 with --upstream, which computes them each time)"
    )
    p.add("--passes", help=about, **options)
    about = "centroids that --cluster has written: the same codes for another --input, into their folder"
    p.add("--apply", group=group, type=Path, metavar="CENTROIDS", help=f"{about} [--cluster]")
    about = "centroids: their codes of --input as text, `id c1 c2 ...`, into their folder; --input may hold the codes"
    p.add("--codes", group=group, type=Path, metavar="CENTROIDS", help=f"{about} [--extract]")


def main(argv: Sequence[str]) -> int | None:
    """Run one mode."""
    if any(word.partition("=")[0] == "--preprocess" for word in argv):
        preprocess(argv)
        return None
    module, function, told = read(argv)
    return getattr(importlib.import_module(module), function)(told)  # heavy, and wanted only now


def read(argv: Sequence[str]) -> tuple[str, str, Any]:
    """Module, function and settings of the command that the words ask for."""
    command = parser().read(argv)
    kind, module, function = CALLS[command.mode]
    return module, function, command.fill(kind, **_settled(command))


def _settled(command: Command) -> dict[str, Any]:
    """The settings that are no flag's plain value: which checkpoint, which probe."""
    values, mode = command.values, command.mode
    ckpt, ckpdir = values["ckpt"], values["ckpdir"]
    if mode == "--train":
        return {"ckpt": _start(command), "logdir": values["logdir"] or LOGDIR}
    if mode == "--info":
        text = values["info"]
        if is_spec(text, ckpdir):
            return {"described": UpstreamSpec.parse(text).located(ckpdir)}
        return {"described": find_checkpoint(Path(text), ckpdir, "--info")}
    if mode in CLASSIC:
        return _probed(command)
    if mode == "--plot --alterations":
        if ckpt is not None and values["config"] is not None:
            raise ValueError(f"--ckpt {ckpt} brings its own config: leave --config out")
        return {"ckpt": ckpt and find_checkpoint(ckpt, ckpdir)}
    if mode in CLUSTER:
        seed_given = DEFAULT_SEED if values["seed"] is None else values["seed"]
        return {"upstream": clustered_upstream(mode, values, command.typed), "seed": seed_given}
    return _extracted(command) if mode == "--extract" else {"ckpt": _chosen(values)}


def _chosen(values: Mapping[str, Any]) -> Path:
    """The checkpoint of `--ckpt`, or of the run that the other flags name."""
    chosen = chosen_checkpoint(values["ckpt"], values["config"], values["name"], values["seed"], values["ckpdir"])
    if values["ckpt"] is None and values["msg"]:
        print(f"checkpoint: {chosen}")
    return chosen


def _extracted(command: Command) -> dict[str, Any]:
    """The upstream that `--extract` takes, and the seed of its weights."""
    values, typed = command.values, command.typed
    spec = None if values["upstream"] is None else named_upstream(values, typed)
    if spec is None:
        spec = UpstreamSpec("pretrained", str(_chosen(values)), word="pretrained")
    else:
        unused = ["config", "name", *(() if draws_weights(spec) else ("seed",))]
        for name in [name for name in unused if name in typed]:
            raise ValueError(
                f"--upstream {values['upstream']} would not use {typed[name]} {values[name]}: leave it out"
            )
    return {"upstream": spec, "seed": DEFAULT_SEED if values["seed"] is None else values["seed"]}


def _start(command: Command) -> Path | None:
    """Where `--train --load` starts from."""
    ckpt, going_on = command.values["ckpt"], command.values["load"] or command.values["resume"]
    if command.values["assume"] is not None and not going_on:
        raise ValueError("--train would not use --assume: it says something of the checkpoint of --load --ckpt")
    if ckpt is None:
        return None
    if not command.values["load"]:
        raise ValueError(f"--train would not use --ckpt {ckpt}: add --load to go on from it")
    if command.values["resume"]:
        raise ValueError("--resume goes on with this run, --load --ckpt with another checkpoint: choose one")
    return find_checkpoint(ckpt, command.values["ckpdir"])


def _probed(command: Command) -> dict[str, Any]:
    """Task, upstream and checkpoints of the originals' probing flags."""
    values, what = command.values, command.mode.removeprefix("--")
    action, _, label = what.partition("_")
    upstream, ckpt, flag = classic.classic_upstream(values)
    task = classic.TASKS[label]
    settled: dict[str, Any] = {"task": task, "upstream": upstream, "logdir": values["logdir"] or PROBING_LOGDIR}
    if action == "test":
        if values["dckpt"] is None:
            raise ValueError(f"--{what} needs the probe: --dckpt result/result_{upstream}_{task}/<run>/best.ckpt")
        settled["dckpt"] = find_checkpoint(values["dckpt"], Path(), "--dckpt")
    return settled | {"ckpt": ckpt and find_checkpoint(ckpt, values["ckpdir"], flag)}


def get_mockingjay_model(from_path: str | Path, display_settings: bool = False) -> "MockingjayModel":
    """The originals' call; it is `originals.mockingjay_api.get_mockingjay_model`."""
    from originals import mockingjay_api

    return mockingjay_api.get_mockingjay_model(from_path, display_settings)


def preprocess(argv: Sequence[str]) -> None:
    """Run a script of preprocess/ with the other words, as if it had been called: nobody imports those."""
    at = next(i for i, word in enumerate(argv) if word.partition("=")[0] == "--preprocess")
    name, rest = argv[at].partition("=")[2], [*argv[:at], *argv[at + 1 :]]
    if not name and at < len(rest) and not rest[at].startswith("-"):
        name = rest.pop(at)
    if (name or "libri") not in CORPORA:
        raise ValueError(f"--preprocess {name}: expected one of {', '.join(CORPORA)}")
    script = Path(__file__).parent / "preprocess" / f"preprocess_{name or 'libri'}.py"
    sys.argv = [str(script), *rest]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    run(main)
