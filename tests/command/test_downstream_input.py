"""Input that run_downstream.py refuses, each with one line and before work is done."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_downstream
from downstream.splits import PARTS
from tests.conftest import PROJECT
from tests.helpers.downstream_corpus import PHONES, WIDTH, Small, write_store
from utility.labels.alignment import Alignment, write_alignment
from utility.store.reading import Store

PHONE = ["--run", "phone_linear", "--upstream"]
SPEAKER = ["--run", "speaker_utterance", "--upstream"]
REFUSED = {
    "unknown task": (["--run", "phones", "--upstream", "baseline"], r"unknown task 'phones': expected one of"),
    "unknown upstream": ([*PHONE, "bert"], r"unknown upstream 'bert'"),
    "no checkpoint": ([*PHONE, "transformer"], r"--upstream transformer needs --ckpt"),
    "random without architecture": ([*PHONE, "random"], r"--upstream random needs --ckpt"),
    "absent checkpoint": ([*PHONE, "transformer", "--ckpt", "nowhere.ckpt"], r"--ckpt nowhere.ckpt does not exist"),
    "checkpoint of the baseline": ([*PHONE, "baseline", "--ckpt", "a.ckpt"], r"baseline takes no checkpoint"),
    "own class absent": ([*PHONE, "tests.nowhere:Class"], r"tests.nowhere:Class"),
    "layers of the baseline": ([*PHONE, "baseline", "--layer", "2"], r"layer 2 does not exist.*only hidden state 0"),
    "layer of no label": ([*PHONE, "baseline", "--layer", "top"], r"layer top does not exist: .*state 0 \(F\)"),
    "layer of no word": ([*PHONE, "baseline", "--layer", "top!"], r"--layer 'top!': expected last"),
    "weights of one layer": ([*PHONE, "baseline", "--weighted_sum"], r"only one hidden state"),
    "tuning features": ([*PHONE, "baseline", "--fine_tune"], r"no weights to train"),
    "sum and layer": ([*PHONE, "baseline", "--weighted_sum", "--layer", "0"], r"weighted_sum takes all layers"),
    "unknown key": ([*PHONE, "baseline", "probe.hiden_size=3"], r"unknown config key 'probe.hiden_size'; did you mean"),
    "wrong value": ([*PHONE, "baseline", "optimizer.lr=-1"], r"optimizer.lr.*-1"),
    "sweep of nothing": ([*PHONE, "baseline", "--sweep", "lr"], r"--sweep 'lr': expected key=value"),
    "sweep of an unknown key": ([*PHONE, "baseline", "--sweep", "lrr=1"], r"unknown config key 'lrr'"),
    "no seeds": ([*PHONE, "baseline", "--seeds", "0"], r"--seeds 0"),
    "no data": ([*PHONE, "baseline", "data.train=[]"], r"data.train is empty"),
    "absent store": ([*PHONE, "baseline", "data.train=[nowhere/all]"], r"nowhere"),
    "no alignment": ([*PHONE, "baseline", "data.alignment=null"], r"data.alignment is not set"),
    "absent alignment": ([*PHONE, "baseline", "data.alignment=nowhere"], r"nowhere: no alignment here"),
    "foreign alignment": ([*PHONE, "baseline", "data.alignment={root}/foreign"], r"none of the 36 .*'x'.*'s0-0'"),
    "part of the alignment": ([*PHONE, "baseline", "data.alignment={root}/partly"], r"lacks 35 of the 36.*leave_out"),
    "one class": ([*PHONE, "baseline", "data.alignment={root}/single"], r"at least 2 classes, found 1"),
    "given without lists": ([*PHONE, "baseline", "data.split=given"], r"'given', but data.dev lists no utterance"),
    "speakers unseen": ([*SPEAKER, "baseline", "data.split=speaker"], r"speakers never trained on"),
    "too few utterances": ([*SPEAKER, "baseline", "data.min_utterances=99"], r"the train part is empty"),
    "unknown speaker": ([*PHONE, "baseline", "data.dev_speakers=[me]"], r"no utterance of speaker 'me'"),
    "twice listed": ([*PHONE, "baseline", "data.dev=[{root}/store/all]"], r"not unique"),
    "nothing left": ([*PHONE, "baseline", "data.dev_share=0.6", "data.test_share=0.5"], r"leave nothing to train on"),
    "nothing to resume": ([*PHONE, "baseline", "--name", "new", "--resume"], r"holds no run"),
    "resume of what": ([*PHONE, "baseline", "--resume"], r"--resume needs the run"),
    "unknown test speakers": (
        [*SPEAKER, "baseline", "data.dev=[{root}/others/all]", "data.test=[{root}/more/all]"],
        r"1 speakers of the dev part are not in train, 't0'",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def broken(small) -> Small:
    """Alignments and stores that do not fit the small corpus."""
    long = [(0.0, 0.05, "aa"), (0.05, 0.1, "b")]
    write_alignment(small.root / "foreign", [("x", long)])
    write_alignment(small.root / "partly", [("s0-0", long)])
    ids = Store(f"{small.root}/store/all").ids
    write_alignment(small.root / "single", [(key, [(0.0, 0.05, PHONES[0])]) for key in ids])
    for name, speaker in (("others", "t0"), ("more", "t1")):
        write_store(small.root / name, "all", {f"{speaker}-{name}": np.ones((20, WIDTH), np.float32)})
    return small


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line_before_work_is_done(broken, case):
    words, message = REFUSED[case]
    words = [word.format(root=broken.root) for word in words]
    own = broken.words()
    with pytest.raises(ValueError, match=message) as refused:
        run_downstream.main([*own, *words])
    assert "\n" not in str(refused.value)
    assert not list(Path(broken.root, "result").glob("**/exp_000"))


@pytest.mark.slow
def test_partly_aligned_corpus_can_be_used_on_demand(broken):
    store = Store(f"{broken.root}/store/all")
    alignment = Alignment(broken.root / "phones")
    segments = [
        (key, [(float(s), float(e), alignment.labels[c]) for s, e, c in alignment.segments(key)])
        for key in store.ids
        if not key.startswith("s0")
    ]
    write_alignment(broken.root / "without", segments)
    words = [f"data.alignment={broken.root}/without", "data.unaligned=leave_out"]
    broken.run("phone_linear", "baseline", "--name", "without", *words)
    found = json.loads((broken.root / "result/result_baseline_phone_linear/without/result.json").read_text())
    assert found["division"]["left_out"] == {"not in the alignment": 6}
    assert sum(found["division"][part]["utterances"] for part in PARTS) == 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run", "phones", "--upstream", "baseline"], "unknown task 'phones'"),
        (["--upstream", "baseline"], "which task? add --run TASK: one of phone_linear"),
        (
            ["--run", "phone_linear", "--upstream", "baseline", "--laier", "1"],
            "unknown flag --laier; did you mean --layer?",
        ),
    ],
)
def test_refusal_is_one_line_and_exit_code_two(words, message):
    command = [sys.executable, "run_downstream.py", *words]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert message in ended.stderr
