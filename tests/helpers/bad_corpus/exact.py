"""The bad inputs of heads that are solved for."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import Case, case
from tests.helpers.downstream_corpus import write_store

RUN = "run_downstream.py --upstream baseline --cpu --no-msg --expdir exp data.train=[solved/store/all] probe.solver=exact --run"
SPEAKERS = f"{RUN} speaker_utterance"
SGD = "probe.solver=sgd"

CASES: list[Case] = [
    case("optimum of a weighted sum", f"{SPEAKERS} --weighted_sum", "--weighted_sum", "one frozen hidden state", SGD),
    case("optimum of an upstream that is tuned", f"{SPEAKERS} --fine_tune", "--fine_tune", "one frozen hidden state", SGD),
    case("optimum with hidden layers", f"{SPEAKERS} probe.hidden_layers=1", "probe.hidden_layers=1", "one linear layer", SGD),
    case("optimum of a task with a hidden layer", f"{RUN} phone_1hidden", "phone_1hidden", "one linear layer", SGD),
    case("optimum with dropout", f"{SPEAKERS} probe.dropout=0.1", "probe.dropout=0.1", "one linear layer", SGD),
    case("optimum with masks", f"{RUN} speaker_frame probe.specaug={{time:\\ 1}}", "probe.specaug"),
    case("optimum of a recurrent head", f"{SPEAKERS} probe.head=gru", "probe.head='gru'"),
    case("optimum behind a projector", f"{SPEAKERS} probe.projector=8", "probe.projector=8"),
    case("optimum of attention", f"{SPEAKERS} probe.pool=attention", "probe.pool='attention'"),
    case("rate of what is solved for", f"{SPEAKERS} optimizer.lr=0.1", "optimizer.lr=0.1 would change nothing", SGD),
    case("steps of what is solved for", f"{SPEAKERS} trainer.steps=7", "trainer.steps=7 would change nothing", SGD),
    case("pieces of what is solved for", f"{RUN} speaker_frame data.piece_frames=7", "data.piece_frames=7 would change nothing", SGD),
    case("seeds of what is solved for", f"{SPEAKERS} --seeds 3", "--seeds 3 would change nothing", "probe.solver=exact"),
    case("strength of L2 that is 0", f"{SPEAKERS} probe.l2=[0]", "probe.l2", "greater than 0"),
    case("strength of L2 that is no number", f"{SPEAKERS} probe.l2=[nan]", "probe.l2", "finite"),
    case("strength of L2 listed twice", f"{SPEAKERS} probe.l2=[1e-3,0.001]", "probe", "l2 names one strength twice"),
    case("all layers by steps", f"{SPEAKERS} probe.solver=sgd --layer all", "upstream.layer all is several", "probe.solver=exact"),
    case("layer that is listed twice", f"{SPEAKERS} --layer 0,0", "layer=0 is there twice"),
    case("layer in a list that there is not", f"{SPEAKERS} --layer 0,3", "layer 3"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    generator = np.random.default_rng(0)
    keys = [f"s{speaker}-{number}" for speaker in range(2) for number in range(4)]
    frames = {key: generator.normal(size=(4, 2)).astype(np.float32) for key in keys}
    write_store(root / "solved" / "store", "all", frames)
