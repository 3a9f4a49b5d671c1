"""Alignments: the frame-label rule against a slow oracle, what is refused, importers, and the command."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.alignment import IGNORE, Alignment, write_alignment


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


def test_a_table_that_does_not_fit_is_refused(two):
    segments = np.load(two.root / "segments.npy")
    np.save(two.root / "segments.npy", segments[:-1])
    with pytest.raises(ValueError, match=r"holds \(3,\), but utterances.csv needs \(4,\)"):
        Alignment(two.root)
    (two.root / "segments.npy").write_bytes(b"not an array")
    with pytest.raises(ValueError, match="not a segment table"):
        Alignment(two.root)
