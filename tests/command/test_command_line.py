"""The command line: the owner's lines as typed, one meaning of every flag, and nothing that passes without effect."""

import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import run_downstream
import runner_mockingjay
from tests.conftest import PROJECT
from tests.helpers.command_world import RUN, build_world, tree
from utility.flags import Mode, Parser
from utility.original_flags import ANSWERS
from utility.store.reading import Store

BEST = RUN / "best.ckpt"
SCRIPTS = [path.name for path in sorted(PROJECT.glob("run*.py"))]
SCRIPTS += [f"preprocess/{path.name}" for path in sorted((PROJECT / "preprocess").glob("*.py"))]
CPU_SECONDS = 0.5


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("commands").resolve()
    build_world(root)
    return root


@pytest.fixture
def here(world, monkeypatch) -> Path:
    monkeypatch.chdir(world)
    return world


def refused(main, *words: str) -> str:
    """The one line that a command line gets."""
    with pytest.raises((ValueError, OSError)) as answer:
        main(list(words))
    line = str(answer.value)
    assert line
    assert "\n" not in line
    return line


# The owner's lines


@pytest.mark.slow
def test_the_owner_s_four_lines(here, capsys):
    assert BEST.is_file()  # --train, which made this world
    runner_mockingjay.main(["--plot"])
    out = capsys.readouterr().out
    assert f"checkpoint: {BEST}" in out
    assert len(list((RUN / "best-dump").glob("*_last.png"))) == 3
    assert run_downstream.main(["--run=phone_linear"]) == 0
    assert f"checkpoint: {BEST}" in capsys.readouterr().out
    result = json.loads(Path("result/result_pretrained_phone_linear/exp_000/result.json").read_text())
    assert result["upstream"] == "pretrained"
    events = EventAccumulator(str(here / "log/log_mockingjay" / RUN.name))  # what tensorboard --logdir log/ shows
    events.Reload()
    assert {"loss", "dev_loss"} <= {tag.rpartition("/")[2] for tag in events.Tags()["scalars"]}


@pytest.mark.slow
def test_without_ckpt_the_run_of_the_same_flags_is_taken(here, capsys):
    for words, run in (
        (["--seed", "7"], "mockingjay_libri_sd7"),
        (["--name", "named"], "named"),
        (["--config", "config/other.yaml"], "other_sd1337"),
    ):
        assert runner_mockingjay.main(["--test", "--output", "out/taken", "--overwrite", *words]) == 0
        assert f"checkpoint: result/result_mockingjay/{run}/best.ckpt" in capsys.readouterr().out
    line = refused(runner_mockingjay.main, "--extract", "--name", "absent")
    assert "result_mockingjay/absent holds no checkpoint" in line
    assert "runner_mockingjay.py --train --name absent" in line
    assert "mockingjay_libri_sd1337" in line
    line = refused(run_downstream.main, "--run=phone_linear", "--ckpdir", "empty")
    assert all(part in line for part in ("runner_mockingjay.py --train", "--ckpt", "--upstream baseline"))
    shutil.move("config/downstream.yaml", "config/kept.yaml")
    line = refused(run_downstream.main, "--run=phone_linear")
    shutil.move("config/kept.yaml", "config/downstream.yaml")
    assert "type run_downstream.py --run phone_linear data.train=[data/mel/train] data.alignment=" in line


@pytest.mark.slow
def test_ckpt_is_a_file_a_path_below_ckpdir_or_a_run_s_folder_everywhere(here, capsys):
    spellings = [str(BEST), f"{RUN.name}/best.ckpt", RUN.name, str(RUN), str(here / RUN)]
    for word in spellings:
        _, _, told = runner_mockingjay.read(["--extract", "--ckpt", word])
        assert Path(told.upstream.source).resolve() == (here / BEST).resolve()
        _, _, told = runner_mockingjay.read(["--info", word])
        assert told.described.resolve() == (here / BEST).resolve()
        _, _, told = runner_mockingjay.read(["--train", "--load", "--ckpt", word])
        assert told.ckpt.resolve() == (here / BEST).resolve()
        _, _, told = runner_mockingjay.read(["--train_phone", "--run_apc", "--apc_path", word])
        assert told.ckpt.resolve() == (here / BEST).resolve()
        probed = run_downstream.read(["--run=phone_linear", "--ckpt", word]).upstreams[0]
        assert Path(probed.source).resolve() == (here / BEST).resolve()
    for words in (["--extract", "--ckpt"], ["--info"], ["--train_phone", "--run_apc", "--apc_path"]):
        assert "absent does not exist" in refused(runner_mockingjay.read, *words, "absent")
    assert "the folder data holds no checkpoint" in refused(runner_mockingjay.read, "--info", "data")
    capsys.readouterr()
    runner_mockingjay.main(["--info", RUN.name])
    assert "best.ckpt" in capsys.readouterr().out


@pytest.mark.slow
def test_pretrained_is_the_new_word_and_transformer_opens_the_same(here):
    results = {}
    for word in ("pretrained", "transformer"):
        words = ["--run=phone_linear", f"--upstream={word}", f"--ckpt={RUN.name}", "--name=word", "--no-msg"]
        assert run_downstream.main(words) == 0
        results[word] = json.loads(Path(f"result/result_{word}_phone_linear/word/result.json").read_text())
    one, other = results.values()
    for key in ("dev_accuracy", "test_accuracy"):
        assert one[key] == other[key]
    assert one["fingerprints"]["upstream"]["fingerprint"] == other["fingerprints"]["upstream"]["fingerprint"]


@pytest.mark.slow
def test_the_first_readme_s_line_does_both(here, capsys):
    assert runner_mockingjay.main(["--test", "--load", "--plot", "--with-head", "--output", "out/both", "--num=1"]) == 0
    assert "masked L1" in capsys.readouterr().out
    assert Path("out/both/test.npy").is_file()
    assert len(list(Path("out/both").glob("*_reconstruction.png"))) == 1
    runner_mockingjay.main(["--test", "--load", "--plot", "--output", "out/both", "--num=2"])
    assert len(list(Path("out/both").glob("*_last.png"))) == 2


# Flags


@pytest.mark.parametrize("flag", ANSWERS)
@pytest.mark.parametrize("main", [runner_mockingjay.main, run_downstream.main], ids=["runner", "probing"])
def test_flags_of_the_originals_are_answered_by_what_to_type(main, flag):
    assert ANSWERS[flag] in refused(main, f"--{flag}", "x")


ANSWERED = {
    "bare": ([], "--train pre-trains"),
    "typo": (["--tain"], "unknown flag --tain; did you mean --train?"),
    "typo first": (["--extract", "--ckpt", "absent", "--layr", "2"], "unknown flag --layr; did you mean --layer?"),
    "sampler": (["--extract", "--with_head", "--num", "3"], "--extract would not use --with_head"),
    "archive": (["--plot", "--format", "ark", "--shard", "1/4"], "--plot would not use --format"),
    "probing": (["--extract", "--run_apc", "--dckpt", "x"], "--extract would not use --run_apc"),
    "probe": (["--train", "--dckpt", "x"], "--train would not use --dckpt: it goes with --test_phone"),
    "two": (["--test", "--plot"], "choose one; --test --load --plot does both"),
    "override": (["--extract", "model.layers=2"], "--extract would not use model.layers=2"),
    "s3prl": (
        ["-m", "train", "-u", "mockingjay", "-d", "phone_linear", "-n", "NAME", "-o", "config.optimizer.lr=1,,a.b=c"],
        "run_downstream.py --upstream pretrained --ckpt FILE --run phone_linear --name NAME optimizer.lr=1 a.b=c",
    ),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_answers_of_the_runner(case):
    words, line = ANSWERED[case]
    assert line in refused(runner_mockingjay.main, *words)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--upstream=apc"], "--upstream pretrained --ckpt FILE"),
        (["--upstream=mine"], "package.module:Class"),
        (["--dckpt=x"], "--resume DIR"),
        (["-m", "train", "-u", "fbank", "-d", "separation"], "--upstream baseline --run TASK (phone_linear"),
        (["--resume", "DIR", "--name", "x"], "leave --name out"),
        (["--upstream=baseline", "--ckpt", "x"], "takes no checkpoint"),
    ],
)
def test_answers_of_probing(words, line):
    assert line in refused(run_downstream.main, "--run=phone_linear", *words)


@pytest.mark.parametrize(
    ("words", "value"),
    [([], True), (["--on"], True), (["--no-on"], False), (["--on=False"], False), (["--on", "no"], False)],
)
def test_booleans(words, value):
    parser = Parser([Mode("--run")], prog="x")
    parser.add_boolean("--run")
    parser.add_boolean("--on", True)
    command = parser.read(["--run", *words, "a.b=c"])
    assert command.values["on"] is value
    assert command.overrides == ("a.b=c",)


def test_overrides_stand_in_any_place_and_dashes_are_underscores():
    command = run_downstream.make_parser().read(
        ["a.b=1", "--run", "x", "c.d=2", "--weighted-sum", "e.f=3", "--sweep", "g.h=4"]
    )
    assert command.overrides == ("a.b=1", "c.d=2", "e.f=3")
    assert command.values["weighted_sum"] is True
    assert command.values["sweep"] == ["g.h=4"]


# What acts


@pytest.mark.slow
def test_overrides_act_on_loss_and_representations(here):
    found = {}
    for name, words in {
        "whole": [],
        "pieces": ["model.max_input_length=10"],
        "masks": ["masking.proportion=0.7"],
    }.items():
        assert runner_mockingjay.main(["--test", "--no-msg", "--output", f"out/{name}", *words]) == 0
        found[name] = json.loads(Path(f"out/{name}/test.json").read_text())["loss"], Store([f"out/{name}/test"])[0]
    assert len({loss for loss, _ in found.values()}) == 3
    assert not np.allclose(found["whole"][1], found["pieces"][1])
    assert np.array_equal(found["whole"][1], found["masks"][1])
    assert runner_mockingjay.main(["--extract", "--no-msg", "--output", "out/ex", "model.max_input_length=10"]) == 0
    assert np.array_equal(Store(["out/ex/test"])[0], found["pieces"][1])
    line = refused(
        runner_mockingjay.main, "--extract", "--ckpt", "apc.ckpt", "model.max_input_length=10", "data.test=[x]"
    )
    assert "would change nothing" in line
    assert "would change nothing" in refused(
        runner_mockingjay.main, "--test", "--input", "data/mel/dev", "data.test=[data/mel/test]"
    )


LOOKING = {
    "test": ["--test"],
    "plot": ["--plot", "--num=1"],
    "head": ["--plot", "--with_head", "--num=1"],
    "attention": ["--plot", "--output_attention", "--num=1"],
    "alterations": ["--plot", "--alterations", "--num=1"],
    "extract": ["--extract"],
}
CHANGES = ("data.test=[data/mel/dev]", "model.max_input_length=10", "masking.proportion=0.7")
CHANGES += ("model.hidden_size=16", "trainer.steps=5", "optimizer.lr=1")


@pytest.mark.slow
@pytest.mark.parametrize("mode", LOOKING)
def test_an_override_changes_the_output_or_is_refused(here, mode):
    def output(*words: str) -> dict[str, object]:
        shutil.rmtree("out/changed", ignore_errors=True)
        runner_mockingjay.main([*LOOKING[mode], "--no-msg", "--output", "out/changed", *words])
        return tree(Path("out/changed"))

    plain, kept = output(), []
    for word in CHANGES:
        line = told(False, [*LOOKING[mode], word]).line
        if line:
            assert word in line
        else:
            assert output(word) != plain, word
            kept.append(word)
    assert CHANGES[0] in kept
    assert not {*CHANGES[3:]} & {*kept}


DRY = {
    "train": ["--train", "--name", "dry"],
    "resume": ["--train", "--resume", "trainer.steps=9"],
    "test": ["--test"],
    "plot": ["--plot"],
    "head": ["--plot", "--with_head"],
    "attention": ["--plot", "--output_attention"],
    "alterations": ["--plot", "--alterations"],
    "both": ["--test", "--load", "--plot"],
    "extract": ["--extract", "--input", "data/mel/dev"],
    "export": ["--export", "hf"],
    "info": ["--info", RUN.name],
    "classic": ["--train_phone", "--run_mockingjay", "--ckpt", RUN.name, "--config", "config/downstream.yaml"],
    "probe": ["--run", "phone_linear"],
    "sweep": ["--run", "phone_linear", "--sweep", "lr=1,2", "--seeds", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DRY)
def test_a_dry_run_shows_config_data_and_model_and_writes_nothing(here, case, capsys):
    before = tree(here)
    main = run_downstream.main if "--run" in DRY[case] else runner_mockingjay.main
    assert not main([*DRY[case], "--dry_run"])
    out = capsys.readouterr().out
    assert out.startswith(("config:", "checkpoint: ", "changed since"))
    assert "steps: " in out
    assert re.search(r"[369] utterances, 0\.00", out)
    assert case == "alterations" or " parameters" in out
    assert "dry run: nothing is written" in out
    assert tree(here) == before


# Start-up


def cpu_seconds(*words: str) -> float:
    """User and system time of a Python process, the best of three."""
    spent = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, *words], cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, _, usage = os.wait4(process.pid, 0)
        spent.append(usage.ru_utime + usage.ru_stime)
        if spent[-1] < CPU_SECONDS:
            break
    return min(spent)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_the_answer_to_a_typo_come_at_once(script):
    assert len(SCRIPTS) >= 9
    assert cpu_seconds(script, "--help") < CPU_SECONDS
    assert cpu_seconds(script, "--hlep") < CPU_SECONDS


def test_a_missing_file_is_told_at_once():
    assert cpu_seconds("runner_mockingjay.py", "--info", "absent.ckpt") < CPU_SECONDS


# Every flag in every mode

SAMPLES = {  # destination -> words that give the flag another value than it has
    "config": ["--config", "config/other.yaml"],
    "seed": ["--seed", "7"],
    "name": ["--name", "named"],
    "logdir": ["--logdir", "log2"],
    "ckpdir": ["--ckpdir", "elsewhere"],
    "ckpt": ["--ckpt", "named"],
    "assume": ["--assume", "shift=2"],
    "msg": ["--no-msg"],
    "online_config": ["--online_config", "config/online.yaml"],
    "input": ["--input", "data/mel/dev"],
    "output": ["--output", "out/pairs"],
    "num": ["--num", "2"],
    "alignment": ["--alignment", "data/phones"],
    "layer": ["--layer", "ws:weights.json"],
    "format": ["--format", "ark"],
    "dtype": ["--dtype", "float16"],
    "statistics": ["--statistics", "train.cmvn.npz"],
    "precision": ["--precision", "bf16"],
    "shard": ["--shard", "1/2"],
    "export": ["--export", "s3prl"],
    "info": ["--info", "named"],
    "apc_path": ["--apc_path", "named"],
    "dckpt": ["--dckpt", "probe2"],
    "expdir": ["--expdir", "result2"],
    "run": ["--run", "phone_1hidden"],
    "upstream": ["--upstream", "baseline"],
    "seeds": ["--seeds", "2"],
    "sweep": ["--sweep", "lr=1e-3,1e-2"],
    "each": ["--each", "lr=1e-3,1e-2"],
    "compare": ["--compare", "one", "other"],
    "score": ["--score", "said.tsv"],
    "lowest_wer": ["--lowest_wer", "kaldi"],
    "clusters": ["--clusters", "5"],
    "stack": ["--stack", "2"],
    "restarts": ["--restarts", "2"],
    "passes": ["--passes", "1"],
    "apply": ["--apply", "others"],
    "codes": ["--codes", "others"],
}
PROBE = ["--config", "config/downstream.yaml"]
CLASSIC = {
    "--train_phone": ["--name", "pairs"],
    "--train_speaker": ["--name", "pairs"],
    "--test_phone": ["--dckpt", "probe1"],
    "--test_speaker": ["--dckpt", "probe1"],
}
OURS, APC = ["--run_mockingjay", "--ckpt", RUN.name], ["--run_apc", "--apc_path", "apc.ckpt"]
BASES = {  # what a mode needs besides its own flags
    "--export": ["safetensors"],
    "--info": [RUN.name],
    "--train": ["--name", "pairs"],
    "--plot --alterations": [],
    "--cluster": ["--clusters", "4", "--input", "data/mel/test", "--output", "coded"],
    "--cluster --apply": ["coded", "--input", "data/mel/test"],
    "--extract --codes": ["coded", "--input", "data/mel/train"],
    **{mode: [*OURS, *PROBE, *own] for mode, own in CLASSIC.items()},
    "--run": ["phone_linear"],
    "--compare": ["one", "other"],
    "--score": ["said.tsv"],
    "--lowest_wer": ["kaldi"],
}
OTHERS = {  # (mode, destination) -> words it is added to, where the mode's own do not go with it
    ("--train", "ckpt"): ["--train", "--load"],
    **{
        (mode, flag): [mode, *words, *PROBE, *more]
        for mode, more in CLASSIC.items()
        for flag, words in {"apc_path": APC, "run_apc": ["--apc_path", "apc.ckpt"], "run_mockingjay": OURS[1:]}.items()
    },
    ("--run", "ckpdir"): ["--run", "phone_linear", "--ckpt", "named"],
}


@dataclasses.dataclass
class Told:
    """What a command line came to: the function that runs and its settings, or the line that refused it."""

    function: str = ""
    settings: object = None
    line: str = ""

    def values(self) -> dict[str, object]:
        return {"function": self.function, **(vars(self.settings) if self.settings else {})}


def told(probing: bool, words: list[str]) -> Told:
    try:
        if probing and not {"--compare", "--score", "--lowest_wer"} & {*words}:
            return Told("commands.probe.probe", run_downstream.read(words))
        if probing:
            return Told(run_downstream.make_parser().read(words).mode)
        module, function, settings = runner_mockingjay.read(words)
    except (ValueError, OSError) as error:
        return Told(line=str(error))
    return Told(f"{module}.{function}", settings)


def recording(settings: object, reads: set[str]) -> object:
    """The settings, which note what is read of them."""
    kind = type(settings)

    class Recording(kind):
        def __getattribute__(self, name: str) -> object:
            if name in kind.__dataclass_fields__:
                reads.add(name)
            return super().__getattribute__(name)

    return Recording(**vars(settings))


def reads_of(probing: bool, words: list[str]) -> set[str]:
    """Which settings a command reads when it runs."""
    found, reads = told(probing, words), set()
    assert found.settings is not None, found.line
    module, _, function = found.function.rpartition(".")
    getattr(importlib.import_module(module), function)(recording(found.settings, reads))
    return reads


def flags_of(parser: Parser) -> dict[str, list[str]]:
    """Every flag's words, from the parser's own table."""
    booleans = {a.dest: a for a in parser._actions if a.type is not None and a.type.__name__ == "boolean"}
    destinations = [a.dest for a in parser._actions if a.dest not in ("help", "preprocess")]
    words = {dest: [booleans[dest].option_strings[0]] for dest in booleans if dest not in SAMPLES}
    words |= {"resume": ["--resume"]} if "resume" in destinations else {}
    return {dest: SAMPLES.get(dest) or words[dest] for dest in dict.fromkeys(destinations)}


@pytest.mark.slow
@pytest.mark.parametrize("probing", [False, True], ids=["runner", "probing"])
def test_every_flag_in_every_mode_acts_or_is_refused(here, probing, capsys):
    Path("weights.json").write_text(json.dumps({"layer_weights": [0.5, 0.5]}))
    parser = run_downstream.make_parser() if probing else runner_mockingjay.parser()
    flags = flags_of(parser)
    counts = {"pairs": 0, "refused": 0, "effective": 0}
    silent = []
    for mode in parser.modes:
        if mode.name == "--preprocess" or mode.name.endswith("_sentiment"):
            continue
        base = [*mode.name.split(), *BASES.get(mode.name, [])]
        if mode.name.startswith("--test_"):
            _make_probes(mode.name)
        alone = probing and mode.name != "--run"  # it takes no flag besides its own
        reads = set() if alone else reads_of(probing, [*base, *(["--num", "1"] if "plot" in mode.flags else [])])
        for destination, words in flags.items():
            if destination in mode.flags and (destination not in SAMPLES or alone):
                continue  # it chose the mode
            counts["pairs"] += 1
            before = OTHERS.get((mode.name, destination), base)
            after = told(probing, [*before, *words])
            if after.line:
                assert words[0] in after.line, f"{mode.name} {words}: {after.line}"
                counts["refused"] += 1
                continue
            one, other = told(probing, before).values(), after.values()
            changed = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
            if changed and (changed - {"function"} <= reads or "function" in changed):
                counts["effective"] += 1
            else:
                silent.append(
                    f"{mode.name} {' '.join(words)} changed {changed or 'nothing'}, {mode.name} reads {reads}"
                )
    with capsys.disabled():
        print(f"\n{counts}, without effect: {len(silent)}")
    assert not silent
    assert counts["pairs"] == counts["refused"] + counts["effective"]
    assert counts["effective"] > 15


def _make_probes(mode: str) -> None:
    """Two probes of the mode's task, where they are looked for."""
    label = mode.rpartition("_")[2]
    for name in ("probe1", "probe2"):
        shutil.rmtree(name, ignore_errors=True)
        folder = Path(f"result/result_transformer_{runner_mockingjay.classic.TASKS[label]}/{name}_{label}")
        if not folder.is_dir():
            runner_mockingjay.main([f"--train_{label}", *OURS, *PROBE, "--name", folder.name, "--no-msg"])
        shutil.copytree(folder, name)


NAMED = [
    "runner_mockingjay.py --train", "run_downstream.py --run phone_linear --upstream baseline",
    "preprocess_libri.py --data_path .", "preprocess_any.py --data_path .", "preprocess_timit.py --data_path .",
    "preprocess_apc.py --data_path .", "preprocess_alignment.py --data_path .", "preprocess_text.py --data_path .",
    "preprocess_kaldi.py --data_dir .", "generate_len_for_bucket.py --data_path .",
    "preprocess_mosei.py --data_path . --labels x.csv",
]  # fmt: skip


@pytest.mark.parametrize("line", NAMED, ids=[line.split()[0] for line in NAMED])
def test_a_name_does_not_leave_its_folder(line, here, monkeypatch, capsys):
    """`--name ../../up` and `--name /abs` shared a folder with another tool, `--name ..` wrote into the working one."""
    script, *words = line.split()
    module = script.removesuffix(".py")
    main = importlib.import_module(module if script in SCRIPTS else f"preprocess.{module}").main
    monkeypatch.setattr(sys, "argv", [script])
    for name in ("../../up", "/abs", "..", "a/../../b", ".", ""):
        with pytest.raises(SystemExit) as left:
            main([*words, f"--name={name}"])
        assert left.value.code == 2
        assert f"expected a name, or a relative path without .., got '{name}'" in capsys.readouterr().err
