"""Error rates of files: what `run_downstream.py --score` and `--lowest_wer` print."""

from pathlib import Path

import editdistance
import pytest

import run_downstream
from commands.score import lowest_wer, score
from tests.conftest import PROJECT
from tests.helpers.shared import FIXTURES

LINES = [("the cat sat", "the cat sat"), ("a b c d", "a x c"), ("nine", ""), ("one two", "one two three four")]


@pytest.fixture
def table(tmp_path) -> Path:
    file = tmp_path / "decode_beam_10.txt"
    file.write_text("".join(f"{reference}\t{hypothesis}\n" for reference, hypothesis in LINES))
    return file


def test_table_of_the_originals_is_scored_as_a_whole_and_as_they_did(table, capsys):
    page = (PROJECT / "docs/originals.md").read_text(encoding="utf-8")
    assert "| `runner_asr.py --eval --file FILE` | `run_downstream.py --score FILE`" in page
    assert run_downstream.main(["--score", str(table)]) == 0
    where, words, characters, means = capsys.readouterr().out.splitlines()
    assert where == f"{table}: 4 utterances"
    assert words.startswith("WER 50.00 % [")
    assert words.endswith(": S 1, D 2, I 2 of N 10 (correct 7); 3 utterances with an error (75.00 %)")
    errors = [editdistance.eval(reference, hypothesis) for reference, hypothesis in LINES]
    length = sum(len(reference) for reference, _ in LINES)
    assert characters.startswith(f"CER {100 * sum(errors) / length:.2f} % [")
    rates = [100 * error / len(reference) for error, (reference, _) in zip(errors, LINES)]
    assert means.startswith(f"mean_wer {100 * (0 + 2 / 4 + 1 + 2 / 2) / 4:.2f} %, mean_cer {sum(rates) / 4:.2f} %: ")


def test_trn_files_are_matched_by_id_whatever_their_order(tmp_path, table, capsys):
    for name, side, order in (("ref", 0, LINES), ("hyp", 1, LINES[::-1])):
        lines = [f"{line[side]} (utt {LINES.index(line)})\n" for line in order]
        (tmp_path / f"{name}.trn").write_text(";; made by hand\n" + "".join(lines))
    score([table])
    expected = capsys.readouterr().out.splitlines()[1:]
    score([tmp_path / "ref.trn", tmp_path / "hyp.trn"])
    found = capsys.readouterr().out.splitlines()[1:]
    assert [line.partition("]:")[2] for line in found] == [line.partition("]:")[2] for line in expected]
    assert found[-1] == expected[-1]


def test_predictions_of_a_run_are_scored_by_their_columns(tmp_path, capsys):
    file = tmp_path / "predictions_test.tsv"
    rows = "".join(f"u{i}\t{ref}\t{hyp}\t0\t0\t0\n" for i, (ref, hyp) in enumerate(LINES))
    file.write_text("id\treference\thypothesis\tS\tD\tI\n" + rows)
    score([file])
    assert "S 1, D 2, I 2 of N 10" in capsys.readouterr().out


@pytest.mark.skipif(not (FIXTURES / "sclite").is_dir(), reason="no files of sclite here")
def test_files_of_sclite_have_its_rate(capsys):
    score([FIXTURES / "sclite" / "ref.trn", FIXTURES / "sclite" / "hyp.trn"])
    assert "WER 44.84 % [42.60, 47.16]: S 362, D 236, I 327 of N 2063 (correct 1465)" in capsys.readouterr().out


def test_empty_references_count_their_insertions_and_have_no_rate_of_their_own(tmp_path, capsys):
    (tmp_path / "said.tsv").write_text("a b\ta b\n\tc\n")
    score([tmp_path / "said.tsv"])
    out = capsys.readouterr().out
    assert "S 0, D 0, I 1 of N 2" in out
    assert "mean_wer 0.00 %, mean_cer 0.00 %: means of the utterances' own rates without 1 empty references" in out


def test_lowest_rates_of_kaldi_are_named_as_chosen_by_what_they_score(tmp_path, capsys):
    for name, rate in (("a/wer_10_0.0", 9.5), ("a/wer_11_0.0", 8.25), ("b/deep/wer_9", 10.75), ("b/wer_12", 30.0)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        line = f"%WER {rate} [ 4330 / 52576, 500 ins, 600 del, 3230 sub ]"
        (tmp_path / name).write_text(f"compute-wer --text --mode=present\n{line}\n%SER 63.88 [ 1 / 2 ]\n")
    (tmp_path / "a/wer_details").mkdir()
    (tmp_path / "a/wer_details/wer_bootci").write_text("Set1: %WER 1.00 95% Conf Interval [ 0.9, 1.1 ]\n")
    (tmp_path / "best_wer").write_text("%WER 0.00\n")
    assert "| `run_downstream.py --lowest_wer DIR` |" in (PROJECT / "docs/originals.md").read_text(encoding="utf-8")
    assert lowest_wer(tmp_path) == 0
    *lowest, mean, warning = capsys.readouterr().out.splitlines()
    assert lowest == [
        f"{rate} % {tmp_path}/{name}"
        for rate, name in (("8.25", "a/wer_11_0.0"), ("9.50", "a/wer_10_0.0"), ("10.75", "b/deep/wer_9"))
    ]
    assert mean == "mean of the 3 lowest of 4: 9.50 %"
    assert "chose its own best" in warning


@pytest.mark.parametrize("words", [["--score", "x.tsv"], ["--lowest_wer", "kaldi"]], ids=lambda words: words[0])
def test_no_other_flag_goes_with_files_to_score(words):
    for more in (["--cpu"], ["--name", "x"], ["--upstream", "baseline"], ["--seeds", "2"]):
        with pytest.raises(ValueError, match=f"{words[0]} would not use {more[0]}: it goes with --run"):
            run_downstream.main([*words, *more])
    with pytest.raises(ValueError, match="are different things to do"):
        run_downstream.main([*words, "--run", "phone_linear"])
    with pytest.raises(ValueError, match="it takes no config"):
        run_downstream.main(["trainer.steps=3", *words])
