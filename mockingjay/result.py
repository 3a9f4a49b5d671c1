"""What a pre-training run says of itself when it is finished: result.json, beside its checkpoints."""

from math import isnan
from typing import Any

from mockingjay.checkpoint import KIND
from mockingjay.config import PretrainConfig
from mockingjay.model.frame_model import FrameModel
from mockingjay.runs import checkpoint_in
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.audio.feature_config import FeatureConfig
from utility.config import as_dict, build
from utility.runs import Metric, Origin, header, write_json
from utility.store.reading import Store, is_split
from utility.training.checkpoint import load_checkpoint, load_weights
from utility.training.trainer import Progress, Trainer

L1 = Metric("loss", "L1 on dev", "", "lower")
NATS = Metric("loss", "cross-entropy on dev", "nats", "lower")


def write_result(trainer: Trainer, progress: Progress, seconds: float | None) -> dict[str, Any] | None:
    """Write result.json into the folder of a run that has trained to its end; the leading process alone calls it.

    `seconds` is what the training took, None where it took several sittings. The test part is unread: `--test` reads
    it. The trainer's model has the weights of the best step afterwards. None where the folder has no checkpoint: the
    run went on from one at its last step, and trained nothing."""
    directory, about = trainer.run.directory, trainer.run.about
    path, model = checkpoint_in(directory), trainer.training.module
    assert isinstance(model, FrameModel)
    if path is None:
        return None
    best = path == trainer.best_path  # a run that goes on from another's best need not have one of its own
    step = progress.best_step if best else progress.step
    if step != progress.step:
        load_weights(model, load_checkpoint(path, KIND)["model"], path)
    config = build(PretrainConfig, about["config"])
    features = None if about["features"] is None else build(FeatureConfig, about["features"])
    upstream = PretrainedUpstream(model, config, features, about["frame_shift"])
    corpus, shift = trainer.training.loader.source, about["frame_shift"]
    frames = int(corpus.lengths.sum())
    origins = {"weights": Origin(upstream.fingerprint, {"checkpoint": str(path), "step": step})}
    if (data := _data(config.data.train)) is not None:
        origins["store"] = data
    content = header(
        kind="pretraining",
        task=config.objective,
        upstream=directory.name,
        metric=NATS if config.objective == "codes" else L1,
        value=None,
        dev_value=progress.best if best else None,
        division={
            "train": {
                "utterances": len(corpus.ids),
                "frames": frames,
                "hours": None if isnan(shift) else round(frames * shift / 3600, 4),
            }
        },
        config=as_dict(config),
        seed=trainer.run.seed,
        origins=origins,
        command=trainer.run.texts["command"],
    )
    content |= {
        "steps": progress.step,
        "best_step": step,
        "parameters": {"upstream": sum(p.numel() for p in model.parameters())},
        "features": about["features"],
        "log": str(trainer.run.log),
        "seconds": seconds,
    }
    write_json(directory / "result.json", content)
    return content


def _data(paths: list[str]) -> Origin | None:
    """The stores that were trained on; None for recordings, and for what the originals made, which has no digest."""
    if not all(is_split(path) for path in paths):
        return None
    store = Store(paths)
    return None if store.info.features is None else Origin(store.fingerprint(), {"splits": [*store.names]})
