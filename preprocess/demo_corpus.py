"""The built-in corpus: synthesised English of many speakers in LibriSpeech's layout, with exact phone times.

It speaks the sentences of a small grammar; for experiments on words and meaning, chosen words or sentence pairs."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utility.command import run
from utility.flags import DEFAULT_SEED, Command, Parser, seed


def arguments(argv: Sequence[str]) -> Command:
    """Parse the command line."""
    parser = Parser(prog="demo_corpus.py", description=__doc__)
    parser.add_argument(
        "--output_path", type=Path, help="the folder to make (default: data/demo_corpus, demo_words ...)"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="speech in all")
    parser.add_argument(
        "--speakers",
        type=int,
        help="speakers in all (default: 40); a tenth each are kept for dev and test. Pairs are all test, by 4 speakers",
    )
    parser.add_argument(
        "--sentences",
        choices=("grammar", "words", "sts"),
        default="grammar",
        help="of a grammar; of words that word-similarity sets pair, spoken evenly; or our own pairs with scores of "
        "like meaning, in pairs.csv beside the audio",
    )
    parser.add_argument(
        "--sts_pairs",
        type=Path,
        metavar="FILE",
        help="speak the sentence pairs of a table with the columns pair, sentence_a, sentence_b, score",
    )
    parser.add_argument("--seed", type=seed, default=DEFAULT_SEED, help="the same seed gives the same bytes")
    parser.add_argument("--n_jobs", type=int, default=-1, help="processes; -1 takes one per core")
    parser.add_boolean("--dry_run", help="print what would be made, and end")
    command = completed(parser.read(argv))
    minutes, speakers, n_jobs = (command.values[name] for name in ("minutes", "speakers", "n_jobs"))
    if not 0 < minutes < 1e5:
        raise ValueError(f"--minutes must lie between 0 and 100000, got {minutes}")
    if not 3 <= speakers <= 9000:
        raise ValueError(f"--speakers must lie between 3 (one per split) and 9000, got {speakers}")
    if n_jobs < 1 and n_jobs != -1:
        raise ValueError(f"--n_jobs must be at least 1, or -1 for all cores, got {n_jobs}")
    return command


def completed(command: Command) -> Command:
    """The flags with the defaults that follow from others; `ValueError` for a flag that would change nothing."""
    values, typed = dict(command.values), command.typed
    if values["sts_pairs"] is not None:
        if "sentences" in typed and values["sentences"] != "sts":
            raise ValueError(f"--sts_pairs speaks its own sentences: leave --sentences {values['sentences']} out")
        values["sentences"] = "sts"
    kind = values["sentences"]
    if kind == "sts" and "minutes" in typed:
        raise ValueError("--minutes: each speaker says every sentence of the pairs once; leave it out")
    if values["speakers"] is None:
        values["speakers"] = 4 if kind == "sts" else 40
    if values["output_path"] is None:
        name = "demo_corpus" if kind == "grammar" else f"demo_{kind}"
        values["output_path"] = Path("data", name if values["sts_pairs"] is None else f"sts_{values['sts_pairs'].stem}")
    return replace(command, values=values)


def main(argv: Sequence[str]) -> int:
    """Make the corpus, or find it made; a folder of the same name that is something else is a `ValueError`."""
    command = arguments(argv)

    from preprocess.demo.corpus import CorpusFlags, make  # heavy, and wanted only now

    return make(command.fill(CorpusFlags))


if __name__ == "__main__":
    run(main)
