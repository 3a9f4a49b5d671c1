"""The table of experiments: names, what each needs, and what its score is. It loads nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from utility.text import short

NEEDS = {  # what an experiment may need, and how it is given
    "phones": "a phone alignment: data.alignment=FOLDER, by preprocess_alignment.py",
    "words": "a word alignment: data.words=FOLDER, by preprocess_alignment.py --tier words",
    "speakers": "at least 2 speakers in the corpus",
    "several layers": "an upstream with more than one layer",
    "attention": "an upstream with attention (no GRU, no features)",
    "other upstream": "a second --upstream",
    "vectors": "word vectors: words.vectors=FILE",
    "agwe": "acoustic word vectors: words.agwe=FILE, or pronunciation (then data.alignment too)",
    "semantic": "words with shares of senses: words.semantic=FILE",
    "syntactic": "words with shares of parts of speech: words.syntactic=FILE",
    "similarity": "word similarity files: words.similarity=[FILE, ...]",
    "probes": "results of probes with --weighted_sum: probes.weighted=[result/DIR, ...]",
    "fastabx": "fastabx, which needs Python 3.12: python3.12 -m pip install -r requirements-abx.txt",
    "codes": "codes of frames: units.store=[data/NAME_codes/SPLIT, ...], by runner_mockingjay.py --cluster",
    "pairs": "sentence pairs: words.pairs=FILE, a CSV with pair,utterance_a,utterance_b,score",
}


@dataclass(frozen=True)
class Entry:
    """One experiment in words. `needs` are keys of NEEDS; `better` says which end of the score is good."""

    name: str
    about: str
    needs: tuple[str, ...]
    measure: str
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"
    alone: bool = False  # it needs no upstream, and can be run without one

    @property
    def views(self) -> str:
        """What is compared with what, and in which shape; empty for what is no comparison of two matrices."""
        return VIEWS.get(self.name, "")


CCA = "held-out CCA similarity"
TOKENS, FRAMES = "means of tokens [tokens, width]", "frames [frames, width]"
VIEWS = {
    "cca_phone": f"{TOKENS} and one-hot phones [tokens, phones], 39 in the usual set",
    "cca_word": f"{TOKENS} and one-hot words [tokens, words], the 500 most frequent at most",
    "cca_agwe": f"{TOKENS} and vectors of their words [tokens, dimensions]",
    "cca_glove": f"{TOKENS} and vectors of their words [tokens, dimensions], 300 in the papers",
    "cca_semantic": f"{TOKENS} and shares of senses [tokens, senses], 41 in the papers",
    "cca_syntactic": f"{TOKENS} and shares of parts of speech [tokens, parts of speech], 45 in the papers",
    "cca_speaker": f"{FRAMES} and one-hot speakers [frames, speakers]",
    "cca_mel": f"{FRAMES} and log-mel bands [frames, 80], or the static features of a store, paired by centres",
    "cca_intra": f"{FRAMES} and those of the base layer [frames, width]",
    "cca_inter": f"{FRAMES} and those of another upstream [frames, width], paired by their centres",
    "cka": f"{FRAMES} and those of another layer [frames, width]",
    "mi_phone": "clusters of means of tokens [tokens], and phones [tokens]",
    "mi_word": "clusters of means of tokens [tokens], and words [tokens]",
    "units_phone": "codes [frames] and phones [frames], of every frame whose centre lies in a phone",
}
ENTRIES = (
    Entry("cca_phone", "how much of phone identity a layer holds", ("phones",), CCA),
    Entry("cca_word", "how much of word identity a layer holds", ("words",), CCA),
    Entry("cca_agwe", "word tokens beside acoustic word vectors", ("words", "agwe"), CCA),
    Entry("cca_glove", "word tokens beside word vectors of text", ("words", "vectors"), CCA),
    Entry("cca_semantic", "word tokens beside shares of senses", ("words", "semantic"), CCA),
    Entry("cca_syntactic", "word tokens beside shares of parts of speech", ("words", "syntactic"), CCA),
    Entry("cca_speaker", "frames beside who speaks", ("speakers",), CCA),
    Entry("cca_mel", "frames beside log-mel bands; convolutions too", (), CCA),
    Entry("cca_intra", "frames beside those of one layer (cca.base_layer)", ("several layers",), CCA),
    Entry("cca_inter", "layers of the first upstream beside those of every other; a map", ("other upstream",), CCA),
    Entry("cka", "every layer beside every other, a map; the curve: beside cca.base_layer", (), "debiased CKA"),
    Entry("shape", "how states lie in space: rank, anisotropy, norms", (), "effective rank", "dimensions"),
    Entry("mi_phone", "clusters of a layer beside phones", ("phones",), "adjusted mutual information"),
    Entry("mi_word", "clusters of a layer beside words", ("words",), "adjusted mutual information"),
    Entry("awd", "are two tokens of one word nearer than two of different words?", ("words",), "average precision"),
    Entry(
        "abx_phone",
        "is a phone nearer to its like than to another one between the same neighbours?",
        ("phones", "fastabx"),
        "ABX error",
        "%",
        "lower",
    ),
    Entry("segmentation", "do frames change most at word boundaries?", ("words",), "F1 of boundaries"),
    Entry("wordsim", "word vectors beside human word similarity", ("words", "similarity"), "Spearman's correlation"),
    Entry("sts", "utterance vectors beside human sentence similarity", ("pairs",), "Spearman's correlation"),
    Entry("attention", "what heads look at: metrics, phones, pruning", ("attention",), "globalness / ln T"),
    Entry("attention_blocks", "phone boundaries by blocks of like frames", ("attention", "phones"), "R-value"),
    Entry("lnsr", "how much of an attack arrives at each layer", ("several layers",), "noise to signal", "", "lower"),
    Entry(
        "units_phone",
        "what codes of frames tell of phones; runs without an upstream",
        ("codes", "phones"),
        "mutual information / entropy of phones (PNMI)",
        alone=True,
    ),
    Entry("layer_weights", "which layers weighted-sum probes take", ("probes",), "layer weight"),
)
EXPERIMENTS = {entry.name: entry for entry in ENTRIES}
ALL = "all"


def without_upstream(names: Sequence[str]) -> bool:
    """Whether none of these experiments needs an upstream."""
    return all(EXPERIMENTS[name].alone for name in names)


def parse_names(text: str) -> tuple[str, ...]:
    """What `--run` says: names with commas, each once, or all. ValueError names those that there are."""
    if text == ALL:
        return tuple(EXPERIMENTS)
    names = tuple(text.split(","))
    for name in names:
        if name not in EXPERIMENTS:
            raise ValueError(f"unknown experiment {short(name)}: expected all, or some of {', '.join(EXPERIMENTS)}")
        if names.count(name) > 1:
            raise ValueError(f"--run names {name} twice")
    return names
