"""The originals' flags of the runner: probes by `--train_phone` and the like, and `--preprocess`."""

import json
import sys

import pytest
import torch

import runner_mockingjay
from originals.flags import TASKS
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.downstream_corpus import QUICK, WIDTH, Small

MODEL = {"layers": 2, "hidden_size": 16, "heads": 2, "ffn_size": 32}


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    path = tmp_path_factory.mktemp("classic") / "mockingjay.ckpt"
    return write_checkpoint(path, None, WIDTH, seed=3, model=MODEL)


@pytest.fixture(scope="module")
def apc(tmp_path_factory):
    gru = {"layers": 2, "hidden_size": 16}
    path = tmp_path_factory.mktemp("classic") / "apc.ckpt"
    return write_checkpoint(path, None, WIDTH, seed=3, objective="apc", encoder="gru", gru=gru)


def runner(small: Small, *words: str) -> None:
    """A probe of the small corpus; where one is scored again, without what only its training reads."""
    data = [f"data.train=[{small.root}/store/all]", f"data.cache={small.root}/cache"]
    data += [f"data.alignment={small.root}/phones", "data.dev_share=0.2", "data.test_share=0.2"]
    scored = words[0].startswith("--test")
    places = ["--expdir", str(small.root / "classic"), "--logdir", str(small.root / "log")]
    common = ["--cpu", "--no-msg", *data, *(() if scored else (*places, *QUICK))]
    assert not runner_mockingjay.main([*words, *common])


@pytest.mark.slow
@pytest.mark.parametrize("label", ["phone", "speaker"])
@pytest.mark.parametrize("which", ["baseline", "mockingjay", "head", "tuned", "apc"])
def test_train_and_test(small, ckpt, apc, label, which, capsys):
    flags, folder = {
        "baseline": ([], "baseline"),
        "mockingjay": (["--run_mockingjay", "--ckpt", str(ckpt)], "transformer"),
        "head": (["--run_mockingjay", "--with_head", "--ckpt", str(ckpt)], "transformer_head"),
        "tuned": (["--run_mockingjay", "--fine_tune", "--ckpt", str(ckpt)], "transformer"),
        "apc": (["--run_apc", "--apc_path", str(apc)], "transformer"),
    }[which]
    runner(small, f"--train_{label}", *flags, "--name", which)
    place = small.root / "classic" / f"result_{folder}_{TASKS[label]}" / which
    result = json.loads((place / "result.json").read_text())
    assert result["fine_tune"] == (which == "tuned")
    assert result["layer"] == {"baseline": 0, "head": 3}.get(which, 2)
    assert f"test {result['test_accuracy']:.2f} %" in capsys.readouterr().out
    runner(small, f"--test_{label}", *flags, "--dckpt", str(place / "best.ckpt"))
    assert f"test {result['test_accuracy']:.2f} % of {result['scored']['test']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train_sentiment"], r"sentiment: data\.labels is not set"),
        (["--train_phone", "--run_mockingjay"], "--run_mockingjay needs --ckpt"),
        (["--train_phone", "--run_apc"], "--run_apc needs --apc_path"),
        (["--train_phone", "--run_apc", "--run_mockingjay"], "choose one"),
        (["--train_phone", "--with_head"], "--with_head goes with"),
        (["--train_phone", "--ckpt", "x"], "add --run_mockingjay"),
        (["--train_speaker", "--fine_tune"], "no weights to train"),
        (["--test_phone"], "--dckpt result/result_baseline_phone_linear"),
        (["--preprocess=voxceleb"], "voxceleb: expected one of libri, timit"),
    ],
)
def test_flags_that_do_not_fit(small, words, message):
    with pytest.raises(ValueError, match=message):
        runner(small, *words)


@pytest.mark.slow
def test_probe_of_another_task_or_upstream(small, ckpt, apc):
    runner(small, "--train_speaker", "--run_mockingjay", "--ckpt", str(ckpt), "--name", "own")
    dckpt = str(small.root / "classic/result_transformer_speaker_utterance/own/best.ckpt")
    with pytest.raises(ValueError, match="'speaker_utterance', not 'phone_linear'"):
        runner(small, "--test_phone", "--run_mockingjay", "--ckpt", str(ckpt), "--dckpt", dckpt)
    with pytest.raises(ValueError, match="another upstream"):
        runner(small, "--test_speaker", "--run_apc", "--apc_path", str(apc), "--dckpt", dckpt)
    with pytest.raises(ValueError, match="no head with a state"):
        runner(small, "--train_phone", "--run_mockingjay", "--with_head", "--ckpt", str(apc))


@pytest.mark.parametrize("words", [["--preprocess"], ["--preprocess", "libri"], ["--cpu", "--preprocess=libri"]])
def test_preprocess_is_the_script(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as left:
        runner_mockingjay.main([*words, "--data_path", "nowhere"])
    assert left.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("preprocess_libri.py: ")
    assert ("--cpu" if "--cpu" in words else "nowhere: no such folder") in line


def test_head_state_is_the_last_hidden_state(ckpt):
    from mockingjay.upstream import load_upstream

    plain, head = load_upstream("transformer", ckpt), load_upstream("transformer_head", ckpt)
    x, lengths = torch.randn(2, 9, WIDTH), torch.tensor([9, 4])
    states, more = plain(x, lengths), head(x, lengths)
    assert all(torch.equal(a, b) for a, b in zip(states, more))
    assert (len(more), head.num_layers) == (4, 3)
    assert not more[-1][1, 4:].any()
    assert torch.allclose(head.head.state(states[-1])[1, :4], more[-1][1, :4])
    assert plain.fingerprint != head.fingerprint
