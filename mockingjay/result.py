"""What a pre-training run says of itself when it is finished: result.json, beside its checkpoints."""

from typing import Any

from mockingjay.checkpoint import load_pretrained
from mockingjay.runs import checkpoint_in
from mockingjay.upstreams.pretrained import PretrainedUpstream
from utility.config import as_dict
from utility.runs import Metric, Origin, header, write_json
from utility.store.reading import Store, is_split
from utility.training.trainer import Progress, Trainer

L1 = Metric("loss", "L1 on dev", "", "lower")
NATS = Metric("loss", "cross-entropy on dev", "nats", "lower")


def write_result(trainer: Trainer, progress: Progress, seconds: float | None) -> dict[str, Any]:
    """Write result.json into the folder of a run that has trained to its end; the leading process alone calls it.

    `seconds` is what the training took, None where it took several sittings. The test part is unread: `--test` reads
    it."""
    directory = trainer.run.directory
    path = checkpoint_in(directory)
    assert path is not None, "a training ends with a checkpoint"
    saved = load_pretrained(path)
    upstream = PretrainedUpstream(saved.model, saved.config, saved.features, saved.frame_shift)
    corpus, config = trainer.training.loader.source, saved.config
    frames, shift = int(corpus.lengths.sum()), saved.frame_shift
    origins = {"weights": Origin(upstream.fingerprint, {"checkpoint": str(path), "step": saved.step})}
    if (data := _data(config.data.train)) is not None:
        origins["store"] = data
    content = header(
        kind="pretraining",
        task=config.objective,
        upstream=directory.name,
        metric=NATS if config.objective == "codes" else L1,
        value=None,
        dev_value=progress.best,
        division={
            "train": {
                "utterances": len(corpus.ids),
                "frames": frames,
                "hours": None if shift is None else round(frames * shift / 3600, 4),
            }
        },
        config=as_dict(config),
        seed=trainer.run.seed,
        origins=origins,
        command=trainer.run.texts["command"],
    )
    content |= {
        "steps": progress.step,
        "best_step": progress.best_step if progress.best is not None else progress.step,
        "parameters": {"upstream": sum(p.numel() for p in saved.model.parameters())},
        "features": saved.features and as_dict(saved.features),
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
