"""The original's scheme for an experiment: folds, pairs and epsilons drawn, and the score (`cca.scheme=original`)."""

import numpy as np

from analysis.folds import draw_pairs, original_folds
from analysis.material import Material
from analysis.original_cca import original_cross_validation, original_epsilons, too_few
from analysis.scores import LayerScore

NOTE = "the original's scheme, with its faults: utterances are divided between folds, nothing is regularised"


def check_original_folds(name: str, material: Material, sample: int, labels: np.ndarray, directions: int) -> None:
    """ValueError where a fold that is scored has fewer samples than directions: the original fails there.

    `labels` [n] are those that folds are drawn within."""
    cca = material.config.cca
    generator = material.generator(f"original {name}", sample)
    sizes = np.bincount(original_folds(len(labels), generator, labels, cca.folds), minlength=cca.folds)
    smallest = int(sizes[draw_pairs(generator, cca.folds, cca.trials)].min())
    if smallest < directions:
        raise ValueError(too_few(smallest, directions))


def original_score_of(
    name: str, material: Material, sample: int, first: np.ndarray, second: np.ndarray, labels: np.ndarray | None = None
) -> LayerScore:
    """The score of samples [n, p] and [n, q]; of equally wide views the second gives the weights.

    Folds are drawn within each of `labels` [n], or over all samples."""
    cca = material.config.cca
    generator = material.generator(f"original {name}", sample)
    folds = original_folds(len(first), generator, labels, cca.folds)
    pairs = draw_pairs(generator, cca.folds, cca.trials)
    epsilons = [original_epsilons(generator) for _ in pairs]
    result = original_cross_validation(first, second, folds, pairs, epsilons, cca.weights == "mean")
    detail = {"scheme": "original", "epsilons": [list(pair) for pair in result.epsilons]}
    return LayerScore(result.score, len(first), per_trial=result.per_trial, detail=detail, notes=(NOTE,))
