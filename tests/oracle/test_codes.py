"""Codes: targets, loss and gradients against loops that follow the papers word by word."""

import copy
import math

import numpy as np
import pytest
import torch

from mockingjay.build import new_model
from mockingjay.config import PretrainConfig
from mockingjay.model.codes import RandomProjection
from mockingjay.objectives.codes import UNKNOWN, CodePrediction, CodeUse, count_codes
from mockingjay.objectives.masking import alter
from mockingjay.pretraining.codes import CodePretraining
from utility.batches import Batch
from utility.config import build

CPU = torch.device("cpu")
SIZES = {"layers": 2, "hidden_size": 16, "heads": 2, "ffn_size": 24, "dropout": 0.0, "attention_dropout": 0.0}
LENGTHS = [41, 60, 17]


def codes_by_hand(frame: np.ndarray, quantizer: RandomProjection) -> list[int]:
    """BEST-RQ, section 3.1: normalise, project, normalise to unit length, the nearest unit vector of each codebook."""
    mean, deviation, matrix, books = (
        getattr(quantizer, name).numpy().astype(np.float64) for name in ("mean", "deviation", "projection", "vectors")
    )
    dim = len(mean)
    normal = np.array([(value - mean[i % dim]) / deviation[i % dim] for i, value in enumerate(frame)])
    projected = np.array([sum(normal[i] * matrix[i, j] for i in range(len(normal))) for j in range(matrix.shape[1])])
    unit = projected / math.sqrt(sum(value**2 for value in projected))
    return [min(range(len(book)), key=lambda k: sum((unit - book[k]) ** 2)) for book in books]


@pytest.mark.parametrize("rate", [1, 3])
def test_codes_of_a_random_projection_are_the_nearest_unit_vectors(rate):
    quantizer = RandomProjection(frame_dim=5, rate=rate, codebooks=2, size=31, dim=4)
    quantizer.draw(seed=3)
    rng = np.random.default_rng(0)
    quantizer.normalise_by(torch.from_numpy(rng.normal(size=5)), torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0]))
    frames = rng.normal(size=(40, 5 * rate)).astype(np.float32)
    found = quantizer(torch.from_numpy(frames))
    assert found.tolist() == [codes_by_hand(frame.astype(np.float64), quantizer) for frame in frames]
    assert len(np.unique(found)) > 10
    torch.testing.assert_close(quantizer.vectors.norm(dim=-1), torch.ones(2, 31))
    bound = math.sqrt(6 / (5 * rate + 4))  # Glorot and Bengio 2010, equation 16
    assert 0.8 * bound < float(quantizer.projection.abs().max()) <= bound


def test_the_nearer_of_two_vectors_that_are_almost_as_near_is_taken():
    """float32 products decide some of these the wrong way, and another batch decides them another way."""
    quantizer = RandomProjection(frame_dim=16, rate=1, codebooks=1, size=64, dim=16)
    quantizer.draw(seed=0)
    quantizer.projection.copy_(torch.eye(16))
    vectors = quantizer.vectors[0]
    pairs = torch.randint(64, (2000, 2), generator=torch.Generator().manual_seed(0))
    frames = vectors[pairs].sum(1)
    exact = frames.numpy().astype(np.longdouble) @ vectors.numpy().astype(np.longdouble).T
    assert quantizer(frames)[:, 0].tolist() == exact.argmax(1).tolist()
    assert (exact.argmax(1) != (frames @ vectors.T).argmax(1).numpy()).sum() > 20


def test_loss_accuracy_and_gradients_are_those_of_loops():
    values = {
        "model": {**SIZES, "downsample_rate": 2},
        "objective": "codes",
        "codes": {"size": 13, "codebooks": 2, "dim": 4},
        "masking": {"proportion": 0, "start_probability": 0.2, "consecutive_min": 3, "consecutive_max": 3,
                    "zero": 1, "replace": 0, "fill": "learnt"},
        "trainer": {"precision": "fp32"},
    }  # fmt: skip
    config = build(PretrainConfig, values)
    model = new_model(config, 6, 6, seed=1).double()
    objective = CodePretraining(model, config, CPU)
    features = torch.randn(3, 64, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = torch.tensor(LENGTHS)
    features *= (torch.arange(64) < lengths[:, None])[..., None]
    batch = Batch(features, lengths, ["a", "b", "c"])
    values = objective.step(batch, torch.Generator().manual_seed(5))
    values["loss"].backward()

    other = copy.deepcopy(model)
    other.zero_grad()
    shown = [objective.show(Batch(features[i : i + 1], lengths[i : i + 1], [name])) for i, name in enumerate("abc")]
    assert all(one.masked.any() for one in shown)  # other masks than those of the step
    stacked, stacked_lengths = model.stack(features, lengths)
    altered = alter(stacked, stacked_lengths, config.masking, torch.Generator().manual_seed(5))
    total, count, right = torch.zeros((), dtype=torch.float64), 0, 0
    for row, length in enumerate(stacked_lengths.tolist()):
        inputs = stacked[row, :length].clone()
        masked = [t for t in range(length) if altered.mask[row, t].all()]
        for t in masked:
            inputs[t] = other.mask_vector
        logits = other.head(other.encoder(inputs[None], torch.tensor([length]))[-1])[0]
        for t in masked:
            for book, code in enumerate(codes_by_hand(stacked[row, t].numpy(), model.quantizer)):
                scores = logits[t, book].float().double()
                total = total - (scores[code] - torch.logsumexp(scores, 0))
                right += int(scores.argmax()) == code
                count += 1
    assert count > 30
    assert not altered.mask[1, 30:].any()
    (total / count).backward()
    assert values["loss"].item() == pytest.approx(total.item() / count, rel=1e-6)
    assert float(values["accuracy"]) == pytest.approx(right / count)
    assert float(values["masked_share"]) == pytest.approx(count / 2 / sum(n // 2 for n in LENGTHS))
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters()):
        if mine.grad is None:
            assert theirs.grad is None, name
            continue
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-7, msg=name)
    assert float(model.mask_vector.grad.abs().max()) > 1e-6


def test_unknown_codes_count_nowhere():
    logits = torch.randn(4, 1, 5, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([[3], [UNKNOWN], [0], [UNKNOWN]])
    seen, known = CodePrediction(logits, codes), CodePrediction(logits[[0, 2]], codes[[0, 2]])
    assert float(seen.loss().total) == pytest.approx(float(known.loss().total))
    assert (float(seen.loss().count), float(seen.correct())) == (2, float(known.correct()))
    assert count_codes(codes, 5).tolist() == [[1, 0, 0, 1, 0]]


def test_use_entropy_and_perplexity_by_hand():
    use = CodeUse.of(torch.tensor([6, 0, 3, 1]))
    shares = [0.6, 0.3, 0.1]
    entropy = -sum(p * math.log(p) for p in shares)
    assert (use.frames, use.used, use.size) == (10, 0.75, 4)
    assert use.entropy == pytest.approx(entropy)
    assert use.perplexity == pytest.approx(math.exp(entropy))
    assert CodeUse.of(torch.tensor([5, 5, 5, 5])).perplexity == pytest.approx(4)
    assert CodeUse.of(torch.tensor([99, 1, 0, 0])).collapsed
    assert not use.collapsed
