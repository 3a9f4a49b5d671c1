"""What an analysis leaves behind: result.json, a table for each experiment, the samples, and the original's files."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.experiment_names import EXPERIMENTS
from analysis.experiments_abx import PhoneAbx
from analysis.gather import FRAME_ROWS, MAPS
from analysis.material import FRAMES, Material
from analysis.sampling import write_sample
from analysis.scores import LayerScore, difference, layer_row
from analysis.study import CONTROL, Outcome, Study
from utility.files import replacing

COLUMNS = ("experiment", "upstream", "layer", "label", "score", "low", "high", "n")
ROWS = "rows"  # how points are shown that are no layers: the last one counts
DIGITS = 3  # of the original's lists
UNSAFE = r"[^\w.@-]+"  # in the name of a file


def experiments_content(study: Study, outcome: Outcome) -> dict[str, Any]:
    """The part `experiments` of result.json."""
    content: dict[str, Any] = {}
    for name, experiments in outcome.experiments.items():
        entry = EXPERIMENTS[name]
        curves = outcome.scores[name]
        content[name] = {
            "measure": entry.measure,
            "unit": entry.unit,
            "higher_is": "better" if entry.better == "higher" else "worse",
            "upstreams": {curve: _rows(rows) for curve, rows in curves.items()},
            "chance": outcome.chance.get(name),
            "ceiling": outcome.ceiling.get(name),
            "differences": _differences(curves, entry.better),
            "maps": outcome.maps.get(name, {}),
            "data": [experiment.about() for experiment in experiments],
        }
    return content | outcome.contents


def _rows(rows: Mapping[str, Sequence[LayerScore]]) -> list[dict[str, Any]]:
    return [layer_row(number, label, scores) for number, (label, scores) in enumerate(rows.items())]


def best_label(rows: Mapping[str, Sequence[LayerScore]], better: str) -> str:
    """The layer with the best mean score, the first of equals."""
    sign = 1 if better == "higher" else -1
    return max(rows, key=lambda label: sign * float(np.mean([one.score for one in rows[label]])))


def _differences(curves: Mapping[str, Mapping[str, Sequence[LayerScore]]], better: str) -> list[dict[str, Any]]:
    """The best layer of every upstream minus each of its other layers, and minus the best layer of every other
    upstream, on the same samples."""
    found = []
    names = list(curves)
    best = {name: best_label(curves[name], better) for name in names}
    for number, name in enumerate(names):
        pairs = [(name, label) for label in curves[name] if label != best[name]]
        pairs += [(other, best[other]) for other in names[number + 1 :]]
        for other, label in pairs:
            made = difference(curves[name][best[name]], curves[other][label])
            if made is not None:
                found.append({"one": [name, best[name]], "other": [other, label], **made})
    return found


def write_tables(folder: Path, content: Mapping[str, Any]) -> None:
    """EXPERIMENT.csv for each experiment."""
    for name, experiment in content.items():
        with replacing(folder / f"{name}.csv") as new, new.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for curve, rows in experiment["upstreams"].items():
                for number, row in enumerate(rows):
                    values = ["" if row[key] is None else repr(row[key]) for key in ("score", "low", "high")]
                    table.writerow([name, curve, row.get("layer", number), row["label"], *values, row["samples"]])


def write_orders(folder: Path, content: Mapping[str, Any]) -> None:
    """attention_order_CURVE.csv for each upstream whose heads were ranked: the orders in which heads are pruned."""
    for curve, orders in content.get("attention", {}).get("orders", {}).items():
        lines = ["order,place,layer,head\n"]
        for name, heads in orders.items():
            lines += [f"{name},{place},{layer},{head}\n" for place, (layer, head) in enumerate(heads, 1)]
        _write(folder / f"attention_order_{_file_name(curve)}.csv", "".join(lines))


def write_samples(folder: Path, study: Study, audio: Mapping[str, str]) -> None:
    """The tokens and utterances that were used, to be given back by sampling.given."""
    material = study.material
    folder.mkdir(parents=True, exist_ok=True)
    sets = {want.name for some in study.all_wants().values() for want in some if want.kind.startswith("token")}
    kinds = {want.kind for some in study.all_wants().values() for want in some}
    frames = study.between or kinds & {FRAMES, MAPS, FRAME_ROWS}
    for sample in range(study.plan.samples):
        for name in sorted(sets - {"utterances"}):
            write_sample(folder / f"{name}_sample{sample}.json", material.tokens(name, sample).tokens, dict(audio))
        if frames:
            names = [material.utterances.ids[place] for place in material.frame_utterances(sample)]
            with replacing(folder / f"frames_sample{sample}.txt") as new:
                new.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for experiment in study.experiments.get("abx_phone", ()):
        if isinstance(experiment, PhoneAbx):
            experiment.write_items(folder)


def write_original_files(folder: Path, outcome: Outcome, material: Material, split: str) -> None:
    """The original's names and forms, in a folder for each upstream: {"C1": s, ..., "T1": s}, or lines
    `layer,sample,iteration,score`; of segmentation UTTERANCE.txt for each layer."""
    names = {"cca_intra": f"cca-wrt-layer{material.config.cca.base_layer}"}
    for name, curves in outcome.scores.items():
        for curve, rows in curves.items():
            if CONTROL in rows:
                continue
            target = folder / _file_name(curve)
            target.mkdir(parents=True, exist_ok=True)
            if name.startswith("mi_"):
                lines = [
                    f"{re.sub(r'^T', '', label)},{sample},{iteration},{score:.{DIGITS}f}\n"
                    for label, scores in rows.items()
                    for sample, one in enumerate(scores)
                    for iteration, score in enumerate(original_information(one))
                ]
                _write(target / f"{name}_{split}_train.lst", "".join(lines))
                continue
            for sample in range(len(next(iter(rows.values())))):
                values = {label: scores[sample].score for label, scores in rows.items()}
                _write(target / f"{names.get(name, name)}_{split}_sample{sample + 1}.json", json.dumps(values))
    for (curve, label, sample), lines_of_each in outcome.intervals.items():
        target = folder / _file_name(curve) / f"segmentation_{split}_sample{sample + 1}" / label
        target.mkdir(parents=True, exist_ok=True)
        for utterance, own in lines_of_each().items():
            _write(target / f"{utterance.replace('/', '_')}.txt", "".join(f"{line}\n" for line in own))


def _file_name(curve: str) -> str:
    return re.sub(UNSAFE, "-", curve)


def original_information(score: LayerScore) -> list[float]:
    """The original's number (mutual information over the labels' entropy), one for each seed of k-means."""
    return list(score.detail.get("mi_normalised_per_seed", [score.detail["mi_normalised"]]))


def _write(path: Path, text: str) -> None:
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def in_words(content: Mapping[str, Any]) -> str:
    """One line for each experiment and upstream: the best layer and its interval."""
    lines = []
    for name, experiment in content.items():
        levels = experiment["chance"]
        for curve, rows in experiment["upstreams"].items():
            chance = levels[curve] if isinstance(levels, Mapping) else levels
            sign = 1 if experiment["higher_is"] == "better" else -1
            in_rows = experiment.get("shown") == ROWS
            best = rows[-1] if in_rows else max(rows, key=lambda row: sign * row["score"])
            what = f"{best['label']:<10}" if in_rows else f"best {best['label']:<5}"
            interval = "" if best["low"] is None else f" [{best['low']:.3f}, {best['high']:.3f}]"
            beside = "" if chance is None else f", chance {chance:.3f}"
            lines.append(f"{name:<16} {curve:<20} {what} {best['score']:.3f}{interval}{beside}")
    return "\n".join(lines)
