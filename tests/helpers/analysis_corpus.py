"""A small corpus for the tests of run_analysis.py: words of phones, each with its own pattern, several speakers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import run_analysis
from tests.helpers.downstream_corpus import SHIFT, WIDTH, write_codes, write_store
from utility.labels.alignment import write_alignment

LONG = {"rabbit": "abc", "window": "bda", "garden": "cea", "yellow": "dbe", "silver": "eac"}
WORDS = LONG | {"planet": "bce", "forest": "dab", "mirror": "ced", "a": "a"}
SPEAKERS, EACH, SAID = 6, 8, 7
TINY = """
encoder: transformer
objective: masked
model: {layers: 2, hidden_size: 16, heads: 2, ffn_size: 32}
"""
QUICK = ("cca.groups=12", "mi.seeds=1", "sampling.phones_min=5", "awd.min_seconds=0.1", "words.centre_share=0.2")


@dataclass(frozen=True)
class Analysed:
    """Where the corpus lies, and the words that name it."""

    root: Path

    def words(self, *more: str) -> list[str]:
        """Words of a command line."""
        data = [f"data.store=[{self.root}/store/all]", f"data.alignment={self.root}/phones"]
        data += [f"data.words={self.root}/words", *QUICK]
        files = {"vectors": "vectors.txt", "semantic": "shares.txt", "syntactic": "shares.txt", "pairs": "pairs.csv"}
        data += [f"words.{key}={self.root}/{name}" for key, name in files.items()]
        data += [f"words.similarity=[{self.root}/SET.txt]", "words.agwe=pronunciation"]
        data += [f"units.store=[{self.root}/codes/all]"]
        return ["--cpu", "--no-msg", "--expdir", f"{self.root}/result", "--bootstrap", "20", *data, *more]

    @property
    def tiny(self) -> str:
        """A small Transformer with random weights."""
        return f"tiny=random:{self.root}/tiny.yaml"

    def folder(self, name: str) -> Path:
        """Where a run lies."""
        return self.root / "result" / "result_analysis" / name

    def run(self, names: str, name: str, *more: str, upstream: str = "baseline") -> dict[str, Any]:
        """Run experiments, and what they wrote."""
        words = ["--run", names, "--upstream", upstream, "--name", name]
        assert run_analysis.main([*words, *self.words(*more)]) == 0
        return json.loads((self.folder(name) / "result.json").read_text())


def write_word_files(root: Path, patterns: dict[str, np.ndarray]) -> None:
    """Vectors that are the mean pattern of a word's phones; similarities that are their cosines; shares of a property;
    pairs of utterances."""
    vectors = {word: np.mean([patterns[phone] for phone in phones], 0) for word, phones in WORDS.items()}
    (root / "vectors.txt").write_text("".join(f"{w} {' '.join(map(repr, v.tolist()))}\n" for w, v in vectors.items()))
    (root / "noise.txt").write_text("zebra 1 2 3\n")
    unit = {word: vector / np.linalg.norm(vector) for word, vector in vectors.items()}
    pairs = [(a, b, float(unit[a] @ unit[b])) for a in unit for b in unit if a < b]
    (root / "SET.txt").write_text("".join(f"{a}\t{b}\t{score:.4f}\n" for a, b, score in pairs))
    (root / "few.txt").write_text("rabbit\twindow\t1.0\n")
    shares = {
        word: {"first": 0.25, "second": 0.75} if number % 2 else {"first": 1.0} for number, word in enumerate(WORDS)
    }
    (root / "shares.txt").write_text("".join(f"{word}\t{json.dumps(share)}\n" for word, share in shares.items()))
    rows = [f"p{n},s{n % 6}-{n % 8},s{(n + 1) % 6}-{(n + 1) % 8},{n % 5}\n" for n in range(12)]
    (root / "pairs.csv").write_text("pair,utterance_a,utterance_b,score\n" + "".join(rows))


def _codes(aligned: list, labels: list[str]) -> dict[str, np.ndarray]:
    """Codes that are the phones of all frames, but every second one of them is the first."""
    found = {}
    for key, segments in aligned:
        counts = [round((end - start) / SHIFT) for start, end, _ in segments]
        found[key] = np.repeat([labels.index(phone) for *_, phone in segments], counts)
        found[key][::2] = 0
    return found


def analysed_corpus(root: Path) -> Analysed:
    """Frames show their phone and, weaker, their speaker; a pause between words."""
    rng = np.random.default_rng(0)
    phones = sorted(set("".join(WORDS.values())))
    patterns = dict(zip(phones, rng.normal(size=(len(phones), WIDTH))))
    voices = 0.3 * rng.normal(size=(SPEAKERS, WIDTH))
    utterances, phone_times, word_times = {}, [], []
    for speaker in range(SPEAKERS):
        for number in range(EACH):
            key, frames, end = f"s{speaker}-{number}", [], 0
            own_phones, own_words = [], []
            for word in rng.choice(sorted(WORDS), SAID):
                start = end
                for phone in WORDS[word]:
                    count = int(rng.integers(4, 9))
                    frames.append(np.repeat(patterns[phone][None], count, 0))
                    own_phones.append((end * SHIFT, (end + count) * SHIFT, phone))
                    end += count
                own_words.append((start * SHIFT, end * SHIFT, word.upper()))
                frames.append(np.zeros((3, WIDTH)))
                own_phones.append((end * SHIFT, (end + 3) * SHIFT, "sil"))
                end += 3
            states = np.concatenate(frames) + voices[speaker]
            utterances[key] = (states + rng.normal(scale=0.5, size=states.shape)).astype(np.float32)
            phone_times.append((key, own_phones))
            word_times.append((key, own_words))
    write_store(root / "store", "all", utterances)
    write_codes(root / "codes", "all", _codes(phone_times, [*phones, "sil"]), len(phones) + 1)
    write_alignment(root / "phones", phone_times)
    write_alignment(root / "words", word_times)
    (root / "tiny.yaml").write_text(TINY)
    write_word_files(root, patterns)
    return Analysed(root)
