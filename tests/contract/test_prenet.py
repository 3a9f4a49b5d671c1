"""The prenet of APC has a dropout of its own, as in the original."""

import pytest
import torch

from mockingjay.checkpoint import load_pretrained
from mockingjay.config import PretrainConfig
from mockingjay.model.gru import GruConfig, GruEncoder
from mockingjay.upstream import load_upstream
from tests.helpers.checkpoints import GRU, write_checkpoint
from utility.config import build
from utility.training.checkpoint import load_checkpoint, save_checkpoint


def states(**config) -> list[torch.Tensor]:
    torch.manual_seed(0)
    encoder = GruEncoder(GruConfig(layers=2, hidden_size=64, prenet_layers=1, residual=False, **config), 16).train()
    with torch.no_grad():
        for layer in encoder.prenet:
            layer.bias.fill_(3.0)  # ReLU makes no zeros
        torch.manual_seed(1)
        return list(encoder(torch.randn(4, 20, 16, generator=torch.Generator().manual_seed(2)), torch.full((4,), 20)))


def test_it_falls_on_the_prenet_alone_and_the_other_between_the_grus():
    plain, prenet, grus = states(), states(prenet_dropout=0.5), states(dropout=0.5)
    dropped = [[float((state == 0).float().mean()) for state in found[:2]] for found in (plain, prenet, grus)]
    assert dropped[0] == [0, 0]
    assert dropped[1] == [pytest.approx(0.5, abs=0.03), 0]
    assert dropped[2] == [0, pytest.approx(0.5, abs=0.03)]
    assert torch.equal(grus[0], plain[0])
    kept = prenet[0] != 0
    torch.testing.assert_close(prenet[0][kept], 2 * plain[0][kept])


def test_it_is_zero_by_default_and_needs_a_prenet():
    assert build(PretrainConfig, {}).gru.prenet_dropout == 0.0
    with pytest.raises(ValueError, match=r"prenet_dropout 0\.1 would change nothing with prenet_layers 0"):
        GruConfig(prenet_dropout=0.1)
    with pytest.raises(ValueError, match="'prenet_dropout' has value 1"):
        build(GruConfig, {"prenet_layers": 1, "prenet_dropout": 1.0})


def test_fingerprints_of_older_caches_stay():
    """They are made of this text; the dropout of training changes no representation."""
    text = "GruConfig(layers=3, hidden_size=512, prenet_layers=1, residual=True, dropout=0.0)"
    assert repr(GruConfig(prenet_layers=1, prenet_dropout=0.3)) == repr(GruConfig(prenet_layers=1)) == text


def test_a_checkpoint_carries_it_and_an_older_one_had_that_of_the_grus(tmp_path):
    """Before it had a key of its own, `dropout` fell on the prenet too: a run of then goes on as it began."""
    gru = {**GRU["gru"], "dropout": 0.2}
    new = write_checkpoint(tmp_path / "new.ckpt", **{**GRU, "gru": {**gru, "prenet_dropout": 0.4}})
    content = load_checkpoint(new, "pretrain")
    del content["config"]["gru"]["prenet_dropout"]
    save_checkpoint(
        tmp_path / "old.ckpt", "pretrain", {k: v for k, v in content.items() if k not in ("format", "kind")}
    )
    found = {name: load_pretrained(tmp_path / f"{name}.ckpt").config.gru for name in ("new", "old")}
    assert {name: (config.dropout, config.prenet_dropout) for name, config in found.items()} == {
        "new": (0.2, 0.4),
        "old": (0.2, 0.2),
    }
    upstreams = [load_upstream(str(tmp_path / f"{name}.ckpt")) for name in found]
    assert upstreams[0].fingerprint == upstreams[1].fingerprint


def test_a_bare_state_dict_says_nothing_of_it_and_gets_the_originals_default(fixtures_dir):
    saved = load_pretrained(fixtures_dir / "apc_prenet.pt", {"residual": True, "shift": 1})
    assert saved.config.gru.prenet_layers == 2
    assert saved.config.gru.prenet_dropout == 0.0
