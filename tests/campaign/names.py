"""Files and folders of odd names through preparing, training, pictures, archives and extraction."""

import shutil
import unicodedata

import numpy as np
import yaml

from tests.campaign.jobs import Bench, Failure, Result
from tests.campaign.verdicts import complaint
from tests.campaign.zygote import Outcome

ODD = (
    "a b", " lead", "trail ", "a,b", 'a"b', "a'b", "a$b_$c", "$HOME", "a;b", "a|b", "|touch CANARY;", "a&b", "a>b",
    "a*b", "a?b", "[a]", "{a}", "a%b", "%s", "a\\b", "a\tb", "a\nb", "-a", "--help", ".hidden", "..a", "~", "#a", "a=b",
    "a:b",
    "é", unicodedata.normalize("NFD", "é"), "日本", "🎤", "\u202eabc", "x" * 200, "NaN", "null", "1e5", "a@b",
)  # fmt: skip
MODEL = {"layers": 1, "hidden_size": 8, "heads": 2, "ffn_size": 8}
TRAINER = {"steps": 1, "eval_every": 1, "save_every": 1, "log_every": 1, "precision": "fp32"}
RUNNER = ["runner_mockingjay.py", "--cpu", "--no-msg"]


def odd_name(bench: Bench, number: int) -> Result:
    """A corpus whose folder or file has an odd name, through all commands: each does its work, or says one line."""
    odd, where = ODD[number % len(ODD)], ("file", "folder", "output")[number // len(ODD) % 3]
    place = bench.place("here")
    corpus = bench.folder / (odd if where == "folder" else "corpus")
    shutil.copytree(bench.world / "flat", corpus)
    if where == "file":
        (corpus / "s0/u0.wav").rename(corpus / f"s0/{odd}.wav")
    store = odd if where == "output" and "/" not in odd else "out"
    outcomes = [
        bench.run(["preprocess/preprocess_any.py", f"--data_path={corpus}", f"--name={store}", "--n_jobs=1"], place)
    ]
    if outcomes[0].code == 0:
        outcomes += _users(bench, store)
    ckpt = f"--ckpt={bench.world}/ckpt/base/best.ckpt"
    outcomes.append(bench.run([*RUNNER, "--extract", ckpt, f"--input={corpus}", "--output=states"], place))
    failures = [
        Failure(what, f"{odd!r} as {where}: {(outcome.stderr or outcome.stdout)[-1500:]}")
        for outcome in outcomes
        if (what := complaint(outcome))
    ]
    if any(path.name == "CANARY" for path in bench.folder.rglob("*")):
        failures.append(Failure("code run", f"{odd!r} as {where} ran a command"))
    for table in place.glob("data/*/*.npy"):
        if not np.isfinite(np.load(table)).all():
            failures.append(Failure("wrong outputs", f"{table}: not finite"))
    kinds = [failure.what for failure in failures]
    loud, wrong = sum(kind in ("traceback", "hang") for kind in kinds), kinds.count("wrong outputs")
    values = (len(outcomes), len(outcomes) - len(failures), loud, wrong, len(kinds) - loud - wrong)
    columns = ("runs", "well", "traceback or hang", "wrong outputs", "unclear")
    return Result("odd_names", dict(zip(columns, values)), tuple(failures))


def _users(bench: Bench, store: str) -> list[Outcome]:
    """Train, plot and archive what was prepared."""
    place, data = bench.folder / "here", f"data/{store}/all"
    config = {
        "data": {part: [data] for part in ("train", "dev", "test")},
        "model": MODEL, "trainer": TRAINER, "eval_batches": 1,
    }  # fmt: skip
    (place / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    outcomes = [
        bench.run([*RUNNER, "--train", "--config=config.yaml", "--name=run", "--ckpdir=ckpt", "--logdir=log"], place)
    ]
    looks = [
        ["--plot", "--num=1", "--output=pictures"],
        ["--extract", "--format=ark", "--output=ark"],
        ["--test", "--output=t"],
    ]
    if outcomes[0].code == 0:
        outcomes += [bench.run([*RUNNER, *look, "--ckpt=ckpt/run/best.ckpt"], place) for look in looks]
    return outcomes
