"""Alignments: the frame-label rule against a slow oracle, what is refused, importers, and the command."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid

from preprocess.preprocess_alignment import main
from utility.files import temporary
from utility.labels.alignment import IGNORE, Alignment, write_alignment
from utility.labels.formats import READERS, find_files
from utility.labels.phone_sets import ARPABET_39, PHONE_SETS, TIMIT_61_TO_48


@pytest.fixture
def two(tmp_path):
    write_alignment(
        tmp_path / "a", [("u", [(0.0, 0.1, "sil"), (0.1, 0.25, "AA")]), ("v", [(0.05, 0.1, "B"), (0.2, 0.3, "AA")])]
    )
    return Alignment(tmp_path / "a")


def test_labels_are_sorted_and_ids_are_found(two):
    assert two.labels == ["AA", "B", "sil"]
    assert two.ids == ["u", "v"]
    assert "u" in two
    assert "w" not in two
    assert two.segments("v")["label"].tolist() == [1, 0]


def test_a_frame_takes_the_label_at_its_centre(two):
    times = np.arange(21) * 0.0125  # the last frame at 0.25 s, the very end
    labels = two.frame_labels("u", times)
    assert labels.dtype == np.int64
    assert labels[:8].tolist() == [2] * 8
    assert labels[8:].tolist() == [0] * 13  # 0.1 s belongs to the segment that starts there


def test_only_one_shift_beyond_the_end_is_labelled(two):
    labels = two.frame_labels("v", np.arange(40) * 0.01)
    assert labels[:5].tolist() == [IGNORE] * 5
    assert labels[5:10].tolist() == [1] * 5
    assert labels[10:20].tolist() == [IGNORE] * 10
    assert labels[20:32].tolist() == [0] * 12  # 0.30 and 0.31 s lie within one shift of the end
    assert labels[32:].tolist() == [IGNORE] * 8


def test_an_alignment_of_another_recording_is_refused(two):
    with pytest.raises(ValueError, match=r"u: the alignment ends at 0\.250 s, but the audio at 0\.100 s"):
        two.frame_labels("u", np.arange(11) * 0.01)
    with pytest.raises(ValueError, match=r"v: .* 0\.300 s, but the audio at 0\.180 s"):
        two.frame_labels("v", np.arange(31) * 0.01, duration=0.18)
    assert len(two.frame_labels("u", np.arange(16) * 0.01)) == 16


def test_unknown_id_and_no_frames(two):
    with pytest.raises(ValueError, match="no alignment of utterance 'w'"):
        two.frame_labels("w", np.zeros(3))
    assert two.frame_labels("u", np.zeros(0)).shape == (0,)
    assert two.frame_labels("u", np.array([0.12]), duration=0.25).tolist() == [0]


def test_survives_pickling_without_its_segments(two):
    two.segments("u")
    data = pickle.dumps(two)
    assert len(data) < 2000
    assert pickle.loads(data).segments("v")["end"].tolist() == [0.1, 0.3]


@st.composite
def alignments(draw):
    cuts = draw(st.lists(st.integers(0, 400), min_size=2, max_size=20, unique=True).map(sorted))
    keep = draw(st.lists(st.booleans(), min_size=len(cuts) - 1, max_size=len(cuts) - 1))
    labels = draw(st.lists(st.sampled_from("abc"), min_size=len(cuts) - 1, max_size=len(cuts) - 1))
    segments = [(a / 100, b / 100, x) for a, b, x, k in zip(cuts, cuts[1:], labels, keep) if k]
    return segments or [(0.0, 0.01, "a")]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(segments=alignments(), shift=st.sampled_from([125, 100, 200, 375]))
def test_frame_labels_equal_a_slow_oracle(tmp_path_factory, segments, shift):
    root = tmp_path_factory.mktemp("a") / "x"
    write_alignment(root, [("u", segments)])
    alignment = Alignment(root)
    frames = 45000 // shift  # times in units of 0.1 ms, 4.5 s in all
    got = alignment.frame_labels("u", np.arange(frames) * shift / 10000)
    exact = [(round(start * 10000), round(end * 10000), label) for start, end, label in segments]
    for frame, label in enumerate(got):
        time = frame * shift
        inside = [x for start, end, x in exact if start <= time < end]
        if not inside and exact[-1][1] <= time <= exact[-1][1] + shift:
            inside = [exact[-1][2]]
        assert (alignment.labels[label] if label != IGNORE else None) == (inside[0] if inside else None)


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ([(0.0, 0.2, "a"), (0.1, 0.3, "b")], r"u: segment 2 .*before the end of the one before, 0\.2 s"),
        ([(0.5, 0.6, "a"), (0.1, 0.2, "b")], "u: segment 2 .*before the end"),
        ([(-0.1, 0.2, "a")], "u: segment 1 .*not negative"),
        ([(0.1, 0.2, "a"), (0.3, 0.3, "b")], "u: segment 2 .*must end after it starts"),
        ([(0.1, float("nan"), "a")], "u: segment 1 .*finite"),
        ([(0.1, 0.2, "")], "u: segment 1 .*label"),
        ([(0.1, 0.2, "a\nb")], "u: segment 1 .*label"),
    ],
)
def test_bad_segments_are_refused_and_nothing_is_left(tmp_path, segments, reason):
    with pytest.raises(ValueError, match=reason):
        write_alignment(tmp_path / "a", [("ok", [(0.0, 1.0, "a")]), ("u", segments)])
    assert list(tmp_path.iterdir()) == []


def test_other_refusals(tmp_path):
    with pytest.raises(ValueError, match="'u' comes twice"):
        write_alignment(tmp_path / "a", [("u", [(0.0, 1.0, "a")])] * 2)
    with pytest.raises(ValueError, match="nothing to write"):
        write_alignment(tmp_path / "a", [])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "features.yaml").touch()
    with pytest.raises(ValueError, match=r"holds 'features.yaml'"):
        write_alignment(tmp_path / "b", [("u", [(0.0, 1.0, "a")])])
    with pytest.raises(ValueError, match="no alignment here"):
        Alignment(tmp_path / "b")


def test_a_failed_rewrite_keeps_the_old_alignment(tmp_path, two):
    with pytest.raises(ValueError, match="segment 1"):
        write_alignment(two.root, [("u", [(1.0, 0.0, "a")])])
    assert Alignment(two.root).ids == ["u", "v"]
    write_alignment(two.root, [("w", [(0.0, 1.0, "Z")])])
    assert Alignment(two.root).labels == ["Z"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_alignment_made_again_takes_the_place_of_the_old_and_of_what_was_left(tmp_path, two, capsys):
    with temporary(two.root) as new:
        left = tmp_path / new.name.replace(f"-{os.getpid()}-", "-4194305-")
        left.mkdir()
    (tmp_path / "link").symlink_to("a")
    write_alignment(tmp_path / "link", [("w", [(0.0, 1.0, "Z")])])  # said `link: Is a directory`
    assert Alignment(two.root).ids == ["w"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "link"]
    assert capsys.readouterr().err == f"{left}: removed, the process that wrote it was killed\n"


def test_a_table_that_does_not_fit_is_refused(two):
    segments = np.load(two.root / "segments.npy")
    np.save(two.root / "segments.npy", segments[:-1])
    with pytest.raises(ValueError, match=r"holds \(3,\), but utterances.csv needs \(4,\)"):
        Alignment(two.root)
    (two.root / "segments.npy").write_bytes(b"not an array")
    with pytest.raises(ValueError, match="not an array file, or cut off; make it again"):
        Alignment(two.root)


def read(name, file, tier="phones"):
    return list(READERS[name](file, tier))


def test_ctm(tmp_path):
    file = tmp_path / "a.ctm"
    file.write_text(";; comment\nu1 1 0.00 0.12 sil\nu1 1 0.12 0.07 AH_B 0.9\nu1 1 0.19 0.1 N_E\n\nu2 1 0.5 0.25 K\n")
    (first, segments), (second, others) = read("ctm", file)
    assert (first, second) == ("u1", "u2")
    assert [label for _, _, label in segments] == ["sil", "AH_B", "N_E"]
    assert others == [(0.5, 0.75, "K")]
    write_alignment(tmp_path / "x", [(first, segments)])  # 0.12 + 0.07 is a little more than 0.19


def test_cpc_frame_text_gives_back_its_frames(tmp_path):
    file = tmp_path / "converted_aligned_phones.txt"
    ids = {"a": ["0", "0", "3", "3", "3", "12", "0"], "b": ["7"] * 500 + ["1"]}
    file.write_text("".join(f"{key} {' '.join(row)}\n" for key, row in ids.items()))
    write_alignment(tmp_path / "x", read("cpc", file))
    alignment = Alignment(tmp_path / "x")
    for key, row in ids.items():
        labels = alignment.frame_labels(key, np.arange(len(row)) * 0.01)
        assert [alignment.labels[i] for i in labels] == row


@pytest.mark.parametrize(
    "table",
    [
        {"AA": [["u", "u.wav", 0.5, 0.6], ["w", "w.wav", 0, 1]], "B": [["u", "u.wav", 0.1, 0.5]]},
        {"u": ["u.wav", [0.1, 0.5, "B"], [0.5, 0.6, "AA"]], "w": ["w.wav", [0, 1, "AA"]]},
    ],
)
def test_layerwise_json(tmp_path, table):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(table))
    assert read("json", file) == [("u", [(0.1, 0.5, "B"), (0.5, 0.6, "AA")]), ("w", [(0.0, 1.0, "AA")])]


@pytest.mark.parametrize(
    ("path", "suffix"), [("TRAIN/DR1/FVMH0/SI836", ".PHN"), ("dr1-fvmh0/si836", ".phn"), ("timit/fvmh0/si836", ".phn")]
)
def test_timit_ids_are_those_of_every_layout(tmp_path, path, suffix):
    file = (tmp_path / path).with_suffix(suffix)
    file.parent.mkdir(parents=True)
    file.write_text("0 8000 h#\n8000 9600 n\n")
    assert read("timit", file) == [("FVMH0_SI836", [(0.0, 0.5, "h#"), (0.5, 0.6, "n")])]
    assert find_files(tmp_path, "auto", "phones") == ("timit", [file])


def test_textgrid_of_one_speaker_among_tiers(tmp_path):
    entries = [(0.0, 0.3, "sil"), (0.3, 0.5, "AH0"), (0.5, 0.9, "")]
    grid = textgrid.Textgrid()
    for name in ("4088 - words", "4088 - phones"):
        grid.addTier(textgrid.IntervalTier(name, entries))
    file = tmp_path / "u.TextGrid"
    grid.save(str(file), format="short_textgrid", includeBlankSpaces=True)
    assert read("textgrid", file) == [("u", entries)]
    grid.addTier(textgrid.IntervalTier("19 - phones", entries))
    grid.save(str(file), format="long_textgrid", includeBlankSpaces=True)
    with pytest.raises(ValueError, match="2 tiers of phones among '4088 - words', '4088 - phones', '19 - phones'"):
        read("textgrid", file)


def test_phone_sets():
    assert len(ARPABET_39) == 39
    assert len(TIMIT_61_TO_48) == 61
    assert len({PHONE_SETS["timit48"](phone) for phone in TIMIT_61_TO_48} - {""}) == 48
    assert len({PHONE_SETS["timit39"](phone) for phone in TIMIT_61_TO_48} - {""}) == 39
    fold = PHONE_SETS["timit39"]
    pairs = {"ao": "aa", "ux": "uw", "ix": "ih", "zh": "sh", "kcl": "sil", "epi": "sil", "el": "l", "nx": "n", "q": ""}
    assert {label: fold(label) for label in pairs} == pairs
    assert fold("H#") == "sil"
    fold = PHONE_SETS["arpabet39"]
    pairs = {"AH0": "AH", "ah": "AH", "AH1_B": "AH", "HH": "HH", "": "sil", "sp": "sil", "spn": "sil", "SIL": "sil"}
    assert {label: fold(label) for label in pairs} == pairs
    with pytest.raises(ValueError, match=r"'ax-h' is none of the 39"):
        fold("ax-h")


def prepare(capsys, *argv):
    code = main([str(word) for word in argv])
    return code, capsys.readouterr().out


@pytest.mark.slow
def test_real_textgrids(corpora, tmp_path, capsys):
    source = corpora / "libri_mini" / "alignments"
    code, out = prepare(capsys, "--data_path", source / "mfa", "--output_path", tmp_path, "--phone_set", "arpabet39")
    assert code == 0
    assert "97 utterances, 0.33 hours, 40 labels" in out
    prepare(capsys, "--data_path", source / "pocketsphinx", "--output_path", tmp_path, "--name", "ps")
    mfa, other = Alignment(tmp_path / "mfa_phones"), Alignment(tmp_path / "ps")
    assert mfa.labels == other.labels == sorted(ARPABET_39 | {"sil"})
    assert len(other) == 241
    frames = [np.arange(int(mfa.segments(key)["end"][-1] * 100)) * 0.01 for key in mfa.ids]
    same = [mfa.frame_labels(key, times) == other.frame_labels(key, times) for key, times in zip(mfa.ids, frames)]
    assert np.concatenate(same).mean() == pytest.approx(0.847, abs=0.003)  # as the corpora's README says


def test_real_timit(corpora, tmp_path, capsys):
    for tier, name in (("phones", "timit39"), ("words", "as_is")):
        argv = ("--data_path", corpora / "timit_sample", "--output_path", tmp_path, "--tier", tier, "--phone_set", name)
        assert prepare(capsys, *argv)[0] == 0
    phones, words = Alignment(tmp_path / "timit_sample_phones"), Alignment(tmp_path / "timit_sample_words")
    assert len(phones) == len(words) == 120
    assert len(phones.labels) == 39
    assert phones.segments("FVMH0_SI836")["start"][:3].tolist() == [0.0, 8529 / 16000, 8946 / 16000]
    assert [words.labels[i] for i in words.segments("FVMH0_SI836")["label"][:2]] == ["no", "manufacturer"]


def test_bad_files_are_listed_and_the_rest_goes_on(tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    (source / "good.txt").write_text("0.0 0.5 sil\n0.5 0.7 AA1\n")
    (source / "overlap.txt").write_text("0.0 0.5 sil\n0.4 0.7 AA1\n")
    (source / "torn.txt").write_text("0.0 0.5 sil\n0.5 0.7")
    (source / "word.txt").write_text("0.0 half sil\n")
    (source / "phone.txt").write_text("0.0 0.5 QQ\n")
    (source / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (source / "empty.txt").touch()
    (source / "unaligned.txt").write_text("u v w\n")
    argv = ("--data_path", source, "--output_path", tmp_path, "--name", "a", "--phone_set", "arpabet39")
    code, out = prepare(capsys, *argv, "--format", "montreal")
    assert code == 1
    assert "1 utterances" in out
    errors = (tmp_path / "a" / "errors.csv").read_text()
    assert [line.split(",")[0].rpartition("/")[2] for line in errors.splitlines()] == [
        "path", "binary.txt", "empty.txt", "overlap.txt", "phone.txt", "torn.txt", "word.txt"
    ]  # fmt: skip
    assert "before the end of the one before" in errors
    for file in source.glob("[!g]*.txt"):
        file.unlink()
    assert prepare(capsys, *argv)[0] == 0
    assert not (tmp_path / "a" / "errors.csv").exists()


@pytest.mark.parametrize(
    "content", ["", "File type", 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n']
)
def test_broken_textgrids_are_one_error(tmp_path, content):
    file = tmp_path / "u.TextGrid"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"u\.TextGrid"):
        read("textgrid", file)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "required: --data_path"),
        (["--data_path", "missing"], "missing: no such file or folder"),
        (["--data_path", "empty"], "empty: no alignment files of phones found"),
        (["--data_path", "empty", "--format", "ctm"], "empty: no ctm files"),
        (["--data_path", "both"], "holds ctm and json files; choose by --format"),
        (["--data_path", "twice"], "utterance 'u' is in "),
        (["--data_path", "prose"], "prose/a.txt: neither `start end phone` nor"),
        (["--data_path", "bad"], "nothing to write; the first of 1 errors is: "),
        (
            ["--data_path", "both", "--tier", "words", "--phone_set", "timit39"],
            "--phone_set=timit39 needs --tier=phones",
        ),
        (["--data_path", "both", "--tier", "letters"], "argument --tier: invalid choice: 'letters'"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(tmp_path, argv, reason):
    for file, text in {
        "both/a.ctm": "u 1 0 1 a\n",
        "both/a.json": "{}",
        "twice/one.ctm": "u 1 0 1 a\n",
        "twice/more/two.ctm": "u 1 0 1 a\n",
        "prose/a.txt": "once upon a time\n",
        "bad/a.json": "[1, 2]",
        "empty/a.wav": "",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    script = Path(__file__).parents[2] / "preprocess" / "preprocess_alignment.py"
    result = subprocess.run([sys.executable, script, *argv], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert reason in result.stderr
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []


def test_labels_and_times_that_make_no_sense_are_refused(two):  # L10
    """A label twice shifted all classes; times that are not finite gave a warning of numpy at most."""
    root = two.root
    labels, segments = (root / "labels.txt").read_text(), np.load(root / "segments.npy")
    first = labels.splitlines()[0]
    for text, reason in (
        (f"{first}\n{labels}", f"line 2: label '{first}' is there twice"),
        (f"\n{labels}", "no label"),
    ):
        (root / "labels.txt").write_text(text)
        with pytest.raises(ValueError, match=reason):
            Alignment(root)
    (root / "labels.txt").write_text(labels)
    name = Alignment(root).ids[0]
    times = (("start", np.nan), ("end", np.inf), ("start", -0.5), ("end", 0.0), ("end", 1e6), ("end", 1e300))
    for field, value in times:
        changed = segments.copy()
        changed[field][0] = value
        np.save(root / "segments.npy", changed)
        with pytest.raises(ValueError, match=f"{name}: (a segment has times that are not|segments overlap)"):
            Alignment(root).segments(name)
    np.save(root / "segments.npy", segments)
    table = (root / "utterances.csv").read_text()
    for line, reason in (
        (f"z,{10**30},1", "expected id,offset,count in line"),
        (f"z,{len(segments) + 1},0", "offset is"),
        ("z,\u0663,1", "expected id,offset,count in line"),
        (f"{name},{len(segments)},0", "is there twice"),
        ("z" * 200_000 + f",{len(segments)},0", "field larger than field limit"),
    ):
        (root / "utterances.csv").write_text(f"{table}{line}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=reason):
            Alignment(root)


GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = {end}
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = {end}
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = {end}
            text = "a"
"""


SHORT_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
{end}
<exists>
1
"IntervalTier"
"phones"
0
{end}
1
0
{end}
"a"
"""


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("ctm", "u 1 0 {end} a\n"),
        ("montreal", "0 {end} a\n"),
        ("timit", "0 {end} a\n"),
        ("textgrid", GRID),
        ("textgrid", SHORT_GRID),
        ("json", '{{"u": ["u.wav", [0, "{end}", "a"]]}}'),
        ("cpc", "u {end}\n"),
    ],
)
def test_numbers_are_plain_digits(tmp_path, form, content):  # L10
    """Python takes 1_0 and the digits of other scripts for numbers."""
    suffix = {"textgrid": ".TextGrid", "timit": ".phn"}.get(form, ".txt")
    file = tmp_path / f"u{suffix}"
    for end in ("10", "1_0", "\u0663"):
        file.write_text(content.format(end=end), encoding="utf-8")
        if end == "10" and form != "json":
            assert len(next(READERS[form](file, "phones"))[1]) == 1
        else:
            with pytest.raises(
                ValueError, match=r"expected (a time, got|a phone id, got|JSON)|not a readable TextGrid"
            ) as caught:
                list(READERS[form](file, "phones"))
            assert str(file) in str(caught.value)


def test_times_beyond_any_recording_are_not_written(tmp_path):
    """The line that refused them in a probe had 300 digits."""
    with pytest.raises(ValueError, match=r"u: segment 1 .*: times must be finite and not negative, and at most 1e"):
        write_alignment(tmp_path / "a", [("u", [(0.0, 1e300, "a")])])


def test_an_id_that_no_table_can_hold_is_not_written(tmp_path):  # L5
    with pytest.raises(ValueError, match=r"utterance id 'x{96}\.\.\.: expected 1 to 10000 characters"):
        write_alignment(tmp_path / "a", [("x" * 140_000, [(0.0, 1.0, "a")])])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"AA": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"AA": [["u", "a.wav", 1' + "0" * 400 + ", 2]]}",
        '{"AA": [["u", "a.wav", 1' + "0" * 5000 + ", 2]]}",
        '{"AA": [[5, "a.wav", 0, 1]]}',
        '{"u": ["a.wav", [0, 1, 7]]}',
        '{"u": ["a.wav", [0, 1, ["AA"]]]}',
        '{"u": ["u.wav", [true, 2, "a"]]}',
        '{"u": {"a": 1}}',
        "[]",
        "7",
    ],
    ids=[
        "deep",
        "deep inside",
        "400 digits",
        "5000 digits",
        "id",
        "label",
        "list",
        "boolean",
        "mapping",
        "none",
        "number",
    ],
)
def test_json_that_is_no_alignment_is_refused_in_a_line(tmp_path, text):
    """Depth was a RecursionError, 400 digits an OverflowError, a label that is a number an AttributeError."""
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"a\.json: (not JSON|expected JSON)") as refused:
        read("json", file)
    assert len(str(refused.value)) < 400


def test_an_alignment_is_made_again_behind_a_link(tmp_path):
    """It was `data/link: Is a directory`."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("u", "v"):
        write_alignment(tmp_path / "link", [(name, [(0.0, 1.0, "a")])])
        assert Alignment(tmp_path / "link").ids == Alignment(tmp_path / "elsewhere").ids == [name]
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link"]
