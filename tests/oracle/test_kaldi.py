"""Kaldi's archives: Kaldi's own code reads ours, we read Kaldi's, and what is broken or dangerous is refused."""

import gzip
import pickle
import re
import struct
import time
import tracemalloc
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from utility.kaldi.archives import ark_shapes, read_ark, read_scp, write_ark
from utility.kaldi.commands import Served, serve
from utility.kaldi.commands import run as run_command
from utility.kaldi.matrices import ByteSource
from utility.text import short

NIO = kaldi_native_io
METHODS = [method for name, method in vars(NIO.CompressionMethod).items() if re.fullmatch("k[A-Z]\\w+", name)]
SAME_BYTES = {  # files of Kaldi, and the form in which we write the same bytes
    "feats_float": "float",
    "feats_double": "double",
    "feats_cm1_auto": "speech",
    "short_cm1_auto": "speech",
    "feats_cm3_two_byte": "two_byte",
    "cmvn_spk": "double",
    "vector_float": "float",
    "vector_double": "double",
    "ali": "float",
    "ali_text": "text",
    "edge": "float",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, whose disk is not waited for: hundreds of archives go there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: None)
    return tmp_path


def some(kind, seed=0, scale=1.0):
    """Arrays of one kind by key: matrices, vectors or integers."""
    rng = np.random.default_rng(seed)
    sizes = {"b": 12, "a": 40, "é/2": 3, "c": 1}
    if kind == "integers":
        return {key: rng.integers(-(2**31), 2**31, size).astype(np.int32) for key, size in sizes.items()}
    shapes = {key: (size, 5) if kind == "matrices" else (size,) for key, size in sizes.items()}
    return {key: (scale * rng.standard_normal(shape)).astype(np.float32) for key, shape in shapes.items()}


def same(found, expected):
    assert list(found) == list(expected)
    for key, values in expected.items():
        assert np.array_equal(found[key], values, equal_nan=values.dtype.kind == "f"), key
        assert found[key].shape == np.shape(values), key


def kaldi_reads(table, reader):
    return {key: np.array(values) for key, values in reader(table)}


def kaldi_writes(table, writer, items, *more):
    with writer(table) as out:
        for key, values in items.items():
            out.write(key, values, *more)


# Kaldi's files


def test_every_file_of_kaldi_is_read_as_kaldi_reads_it(kaldi_dir):
    expected = np.load(kaldi_dir / "expected.npz")
    assert len(expected) > 60
    for name in expected:
        table, _, key = name.partition("/")
        matrices = read_scp(kaldi_dir / f"{table}.scp")
        values = matrices[key].astype(expected[name].dtype)  # text does not say of which type it is
        assert np.array_equal(values, expected[name]), name
        assert values.shape == expected[name].shape, name
        assert matrices.lengths[matrices.keys.index(key)] == len(values)
        for first in {0, len(values) // 2, len(values)}:
            assert np.array_equal(matrices.rows(key, first, len(values)), matrices[key][first:])
        if "range" not in table:
            archive = dict(read_ark(kaldi_dir / f"{table}.ark"))
            assert list(archive) == matrices.keys
            assert np.array_equal(archive[key], matrices[key])


def test_a_packed_archive_of_kaldi(kaldi_dir):
    packed = dict(read_ark(kaldi_dir / "ali.1.gz"))
    same(packed, dict(read_ark(kaldi_dir / "ali.ark")))


@pytest.mark.parametrize("name", SAME_BYTES)
def test_we_write_the_bytes_that_kaldi_writes(kaldi_dir, folder, name):
    source = "feats_float" if name.startswith("feats_cm") else name
    items = list(read_ark(kaldi_dir / f"{source}.ark"))
    if name == "short_cm1_auto":
        items = [(key, values[:8]) for key, values in read_ark(kaldi_dir / "feats_float.ark")]
    write_ark(f"{name}.ark", items, form=SAME_BYTES[name])
    for ending in ("ark", "scp"):
        ours = (folder / f"{name}.{ending}").read_bytes()
        assert ours == (kaldi_dir / f"{name}.{ending}").read_bytes()


def test_recordings_in_an_archive_are_no_matrices(kaldi_dir):
    with pytest.raises(ValueError, match=r"wav_ark\.ark: key 'fbbh-an90-fbbh-b', byte 17: neither a binary object"):
        list(read_ark(kaldi_dir / "wav_ark.ark"))


# Kaldi's code


@pytest.mark.parametrize("table", ["ark:x.ark", "scp:x.scp"])
@pytest.mark.parametrize(
    ("kind", "form", "reader", "most"),
    [
        ("matrices", "float", NIO.SequentialFloatMatrixReader, 0),
        ("matrices", "double", NIO.SequentialDoubleMatrixReader, 0),
        ("matrices", "text", NIO.SequentialFloatMatrixReader, 0),
        ("matrices", "speech", NIO.SequentialFloatMatrixReader, 0.1),
        ("matrices", "two_byte", NIO.SequentialFloatMatrixReader, 1e-4),
        ("vectors", "float", NIO.SequentialFloatVectorReader, 0),
        ("vectors", "double", NIO.SequentialDoubleVectorReader, 0),
        ("vectors", "text", NIO.SequentialFloatVectorReader, 0),
        ("integers", "float", NIO.SequentialInt32VectorReader, 0),
        ("integers", "text", NIO.SequentialInt32VectorReader, 0),
    ],
)
def test_kaldi_reads_ours(folder, kind, form, reader, most, table):
    items = some(kind)
    write_ark("x.ark", items.items(), form=form)
    found = kaldi_reads(table, reader)
    assert list(found) == (sorted(items) if table.startswith("scp") else list(items))
    for key, values in items.items():
        assert found[key].shape == values.shape
        assert np.abs(found[key] - values.astype(np.float64)).max() <= most
    if most:
        same(dict(read_ark("x.ark")), {key: found[key] for key in items})


@pytest.mark.parametrize("ending", ["", ",t"])
@pytest.mark.parametrize(
    ("kind", "writer"),
    [
        ("matrices", NIO.FloatMatrixWriter),
        ("matrices", NIO.DoubleMatrixWriter),
        ("vectors", NIO.FloatVectorWriter),
        ("vectors", NIO.DoubleVectorWriter),
        ("integers", NIO.Int32VectorWriter),
    ],
)
def test_we_read_kaldis(folder, kind, writer, ending):
    kept = np.float64 if "Double" in writer.__name__ else None
    items = {key: np.asarray(values, kept) for key, values in some(kind).items()}
    kaldi_writes(f"ark,scp{ending}:x.ark,x.scp", writer, items)
    matrices = read_scp("x.scp")
    same(dict(read_ark("x.ark")), {key: matrices[key] for key in matrices.keys})
    for key, values in items.items():
        assert np.allclose(matrices[key], values, rtol=1e-6 if ending else 0, atol=0)  # Kaldi writes 7 digits


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_we_read_every_compression_of_kaldi(folder, method):
    kaldi_writes("ark,scp:x.ark,x.scp", NIO.CompressedMatrixWriter, some("matrices", scale=30), method)
    expected = kaldi_reads("ark:x.ark", NIO.SequentialFloatMatrixReader)
    same(dict(read_ark("x.ark")), expected)
    matrices = read_scp("x.scp")
    for key, values in expected.items():
        assert np.array_equal(matrices.rows(key, len(values) // 3, len(values)), values[len(values) // 3 :])


def test_there_are_all_compressions():
    assert len(METHODS) == 7


def test_an_empty_compressed_matrix_of_kaldi_has_four_bytes_too_many(folder):
    items = {"a": np.zeros((0, 0), "f"), "b": np.ones((9, 2), "f")}
    kaldi_writes("ark:x.ark", NIO.CompressedMatrixWriter, items, METHODS[0])
    assert list(dict(read_ark("x.ark"))) == ["a", "b"]
    write_ark("y.ark", items.items(), form="speech")
    same(dict(read_ark("y.ark")), items)
    assert list(kaldi_reads("ark:y.ark", NIO.SequentialFloatMatrixReader)) == ["a", "b"]


@pytest.mark.parametrize(
    "part",
    ["2:5", "2:9", "2:10", "2:12", "9:11", ":,1:2", "2:3,:", ":", "0:0,3:3", "2:13", "10:11", "2:3,1:4", "", "5:2"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of kaldi_native_io, at its end
def test_ranges_mean_what_they_mean_to_kaldi(folder, part):
    write_ark("x.ark", [("a", np.arange(40, dtype="f").reshape(10, 4))], form="float")
    (folder / "y.scp").write_text(f"a x.ark:2[{part}]\n")
    try:
        expected = kaldi_reads("scp:y.scp", NIO.SequentialFloatMatrixReader)["a"]
    except (RuntimeError, KeyError):
        with pytest.raises(ValueError, match=r"^(y\.scp:1|x\.ark: key 'a', byte 2): "):
            read_scp("y.scp")["a"]
    else:
        matrices = read_scp("y.scp")
        assert np.array_equal(matrices["a"], expected)
        assert matrices.lengths.tolist() == [len(expected)]
        assert np.array_equal(matrices.rows("a", 1), expected[1:])


# Properties

KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
KEYS = KEYS.filter(lambda key: not any(letter.isspace() for letter in key))
SHAPES = st.one_of(st.tuples(st.integers(0, 20)), st.tuples(st.integers(1, 20), st.integers(1, 6)))
MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def arrays_of(kind):
    if kind == np.int32:
        return arrays.arrays(kind, st.tuples(st.integers(0, 20)))
    return arrays.arrays(kind, SHAPES, elements=st.floats(width=32 if kind == np.float32 else 64))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "form"), [(np.float32, "float"), (np.float64, "double"), (np.int32, "float")])
@MANY
@given(data=st.data())
def test_what_is_written_is_read(folder, kind, form, data):
    items = data.draw(st.dictionaries(KEYS, arrays_of(kind), max_size=3))
    form = data.draw(st.sampled_from([form, "text"]))
    write_ark("x.ark", items.items(), form=form)
    expected = items
    if form == "text" and kind != np.int32:  # text cannot tell an empty vector from an empty matrix
        expected = {key: values if values.size else np.zeros((0, 0)) for key, values in items.items()}
    found = dict(read_ark("x.ark"))
    assert form != "text" or all(values.dtype in (np.float64, np.int32) for values in found.values())
    same({key: values.astype(kind) for key, values in found.items()}, expected)
    matrices = read_scp("x.scp")
    assert matrices.keys == sorted(items, key=str.encode)
    for key, length in zip(matrices.keys, matrices.lengths.tolist()):
        values = expected[key]
        first = data.draw(st.integers(0, length))
        last = data.draw(st.integers(first, length))
        rows = matrices.rows(key, first, last).astype(kind)
        assert np.array_equal(rows, values[first:last], equal_nan=kind != np.int32)


@pytest.mark.slow
@MANY
@given(
    values=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 5)),
        # Steps that are no normal numbers are rounded in another way; features are far from them.
        elements=st.floats(-1e6, 1e6, width=32).map(lambda value: value if abs(value) > 1e-20 else 0.0),
    )
)
def test_compressed_matrices_are_the_bytes_of_kaldi(folder, values):
    values = values + np.float32(0)  # no negative zeros: which one is the smallest is left open
    kaldi_writes("ark:k.ark", NIO.CompressedMatrixWriter, {"a": values}, NIO.CompressionMethod.kAutomaticMethod)
    write_ark("x.ark", [("a", values)], form="speech")
    assert (folder / "x.ark").read_bytes() == (folder / "k.ark").read_bytes()
    kaldi_writes("ark:k.ark", NIO.CompressedMatrixWriter, {"a": values}, NIO.CompressionMethod.kTwoByteAuto)
    write_ark("x.ark", [("a", values)], form="two_byte")
    assert (folder / "x.ark").read_bytes() == (folder / "k.ark").read_bytes()


ARCHIVES = [(kind, form) for kind in ("matrices", "vectors") for form in ("float", "double", "text")]
ARCHIVES += [("matrices", "speech"), ("matrices", "two_byte"), ("integers", "float"), ("integers", "text")]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("kind", "form"), ARCHIVES)
def test_an_archive_cut_off_anywhere_is_refused(folder, kind, form, packed):
    items = {key: values[:2] for key, values in some(kind).items() if key in ("a", "é/2")}
    write_ark("x.ark", items.items(), form=form)
    whole = (folder / "x.ark").read_bytes()
    expected = dict(read_ark("x.ark"))
    offsets = [int(line.rpartition(":")[2]) for line in (folder / "x.scp").read_text().splitlines()]
    ends = {0} | {offset - len(key.encode()) - 1 for offset, key in zip(offsets, sorted(items))}
    ends |= {end - 1 for end in ends if form == "text" and kind != "integers"}  # only the line break is missing
    cut = folder / ("cut.gz" if packed else "cut.ark")
    for end in range(len(whole)):
        cut.write_bytes(gzip.compress(whole[:end], 1) if packed else whole[:end])
        if end in ends:
            assert len(list(read_ark(cut))) < len(items)
        elif end == len(whole) - 1 and form == "text" and kind != "integers":
            same(dict(read_ark(cut)), expected)
        else:
            with pytest.raises(ValueError, match=r"^\S+cut\.(ark|gz):( key '.+',)? byte \d+: [^\n]+$"):
                list(read_ark(cut))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "form"), ARCHIVES)
@settings(parent=MANY, max_examples=60)
@given(data=st.data())
def test_spoilt_bytes_give_values_or_one_line(folder, kind, form, data):
    write_ark("x.ark", some(kind).items(), form=form)
    spoilt = bytearray((folder / "x.ark").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, min(len(spoilt) - 1, 60)))] = data.draw(st.integers(0, 255))
    (folder / "x.ark").write_bytes(spoilt)
    try:
        list(read_ark("x.ark"))
    except ValueError as error:
        assert re.fullmatch(r"x\.ark:( key .+,)? byte \d+: [^\n]+", str(error))  # noqa: PT017


# What is refused


def header(token, *sizes):
    return b"k \0B" + token + b"".join(struct.pack("<Bi", 4, size) for size in sizes)


def compressed(token, *sizes):
    return b"k \0B" + token + struct.pack(f"<2f{len(sizes)}i", 0, 1, *sizes)


HUGE = 2**31 - 1
BROKEN = [
    ("unknown token", b"k \0BXM " + bytes(20), 2, "unknown token 'XM '"),
    ("sparse matrix", b"k \0BSM " + bytes(20), 2, "unknown token 'SM '"),
    ("long token", b"k \0BFLOATS " + bytes(20), 2, "unknown token 'FLOAT'"),
    ("no B", b"k \0A" + bytes(20), 2, "neither a binary object"),
    ("negative rows", header(b"FM ", -1, 3), 7, "a negative size, -1"),
    ("negative columns", header(b"DM ", 3, -7), 12, "a negative size, -7"),
    ("negative vector", header(b"FV ", -2), 7, "a negative size, -2"),
    ("negative compressed", compressed(b"CM ", -1, 2), 15, "a negative size, -1"),
    ("negative integers", header(b"", -1), 5, "a negative size, -1"),
    ("no mark", b"k \0BFM " + bytes(10), 7, "a byte 4 should stand before a size"),
    (
        "no mark of an integer",
        header(b"", 2) + struct.pack("<BiBi", 4, 1, 5, 2),
        14,
        "a byte 4 should stand before an integer",
    ),
    ("rows without columns", header(b"FM ", 3, 0), 2, "a size of 3 x 0"),
    ("columns without rows", compressed(b"CM2 ", 0, 3), 2, "a size of 0 x 3"),
    *((f"huge {token!r}", header(token, HUGE, HUGE) + bytes(9), 17, "cut off: ") for token in (b"FM ", b"DM ")),
    *((f"huge {token!r}", header(token, HUGE) + bytes(9), 12, "cut off: ") for token in (b"FV ", b"DV ")),
    ("huge CM", compressed(b"CM ", HUGE, HUGE) + bytes(9), 23, "cut off: "),
    ("huge CM2", compressed(b"CM2 ", HUGE, HUGE) + bytes(9), 24, "cut off: "),
    ("huge CM3", compressed(b"CM3 ", HUGE, HUGE) + bytes(9), 24, "cut off: "),
    ("huge integers", header(b"", HUGE) + bytes(9), 9, "cut off: "),
    ("key alone", b"k", 1, "cut off after the key"),
    ("no text", b"k word\n", 2, "neither a binary object"),
    ("words in a matrix", b"k [\n 1 two ]\n", 4, "not numbers: '1 two'"),
    ("underscores", b"k [ 1_0 ]\n", 3, "not numbers: '1_0'"),
    ("rows of two lengths", b"k [\n 1 2\n 3 ]\n", 9, "a row of 1 numbers after rows of 2"),
    ("text behind", b"k [ 1 ] 2\n", 3, "'2' after the ]"),
    ("no bracket", b"k [\n 1 2\n", 9, "cut off: the text has no ]"),
    ("no whole numbers", b"k 1 2.5\n", 2, "not whole numbers: '1 2.5'"),
    ("signs", b"k 1 +-2\n", 2, "not whole numbers"),
    ("beyond 32 bits", b"k 1 2147483648\n", 2, "a number beyond 32 bits"),
    ("no line break", b"k 1 2", 2, "cut off: whole numbers end with their line"),
]
STRANGE = [
    ("no key", b"k" * 5000, 0, "no archive: 4096 bytes without a blank"),
    ("zeros", b"\0" * 5 + b" 1\n", 0, "no archive: a zero byte where a key should stand"),
    ("not UTF-8", b"\xff\xfe 1\n", 0, "no archive: the key is not UTF-8"),
    ("no gzip", b"k 1\n", 0, "gzip: Not a gzipped file"),
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("data", "byte", "said"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_broken_objects_are_refused_with_file_key_and_byte(folder, data, byte, said, packed):
    good = b"good 1 2\n"
    path = "x.gz" if packed else "x.ark"
    (folder / path).write_bytes(gzip.compress(good + data) if packed else good + data)
    line = re.escape(f"{path}: key 'k', byte {byte + len(good)}: {said}")
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"^{line}[^\n]*$"):
        list(read_ark(path))
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
    if not packed:
        (folder / "x.scp").write_text("good x.ark:5\nk x.ark:11\n")
        matrices = read_scp("x.scp")
        assert matrices["good"].tolist() == [1, 2]
        if byte > 1 and "an integer" not in said:  # with lengths alone, values are not looked at
            for read in (lambda: matrices["k"], lambda: matrices.lengths, lambda: matrices.rows("k", 0, 1)):
                with pytest.raises(ValueError, match=f"^{line}"):
                    read()


@pytest.mark.parametrize(("data", "byte", "said"), [case[1:] for case in STRANGE], ids=[case[0] for case in STRANGE])
def test_what_is_no_archive_is_refused(folder, data, byte, said):
    path = folder / ("x.gz" if "gzip" in said else "x.ark")
    path.write_bytes(data)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: byte {byte}: {said}")):
        list(read_ark(path))


def test_a_packed_file_cut_off_is_refused(folder):
    whole = gzip.compress(b"k 1 2\n" * 1)
    for end in range(1, len(whole)):
        (folder / "x.gz").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"^x\.gz:( key 'k',)? byte \d+: (gzip|cut off): "):
            list(read_ark("x.gz"))


def test_a_key_twice_is_refused(folder):
    (folder / "x.ark").write_bytes(b"k 1\nk 2\n")
    archive = read_ark("x.ark")
    assert next(archive)[0] == "k"
    with pytest.raises(ValueError, match=r"^x\.ark: key 'k', byte 6: the key is there twice$"):
        next(archive)


# Ten thousand matrices

SIZES = st.tuples(st.integers(1, 30), st.integers(1, 12))


def many(sizes, seed, scale, special):
    """500 matrices whose sizes go round, with a few values that are special."""
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(500):
        values = (scale * rng.standard_normal(sizes[number % len(sizes)])).astype(np.float32)
        values.flat[rng.integers(values.size)] = rng.choice([0, -0.0, 1.2e-38, 3e38, np.inf, np.nan, 1 / 3, *special])
        found[f"k{rng.integers(10**9)}-{number}"] = values
    return found


@pytest.mark.slow
@settings(MANY, max_examples=20, database=None, phases=[Phase.explicit, Phase.generate])
@given(
    sizes=st.lists(SIZES, min_size=1, max_size=9),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-30, 1e-3, 1, 50, 1e30]),
    form=st.sampled_from(["float", "double", "text"]),
)
def test_ten_thousand_matrices_go_to_kaldi_and_come_back(folder, sizes, seed, scale, form):
    items = many(sizes, seed, scale, [] if form == "text" else [1e-40, -np.inf])  # these C++ does not read from text
    write_ark("x.ark", items.items(), form=form)
    table, reader = ("ark:x.ark", "scp:x.scp")[seed % 2], NIO.SequentialFloatMatrixReader
    same(dict(sorted(kaldi_reads(table, reader).items())), dict(sorted(items.items())))
    writer, kind = ((NIO.FloatMatrixWriter, "f4"), (NIO.DoubleMatrixWriter, "f8"))[seed % 2]
    kaldi_writes("ark,scp:y.ark,y.scp", writer, {key: values.astype(kind) for key, values in items.items()})
    same({key: values.astype("f4") for key, values in read_ark("y.ark")}, items)
    assert read_scp("y.scp").shapes() == {key: values.shape for key, values in items.items()}
    assert dict(ark_shapes("x.ark")) == {key: values.shape for key, values in items.items()}


# Indices


@pytest.mark.parametrize(
    "command",
    [
        "touch made |",
        "touch made|",
        "touch made |[0:1]",
        "touch made; cat x.ark | ",
        "cat $(touch made) |",
        "cat >made |",
    ],
)
def test_commands_in_an_scp_are_refused_not_run(folder, command):
    write_ark("x.ark", [("a", np.ones(2, "f"))])
    (folder / "y.scp").write_text(f"a x.ark:2\nb {command}\n")
    line = re.escape(
        f"y.scp:2: a shell command, {command.strip()!r}: run it only if you trust the file: --allow_commands"
    )
    with pytest.raises(ValueError, match=f"^{line}$"):
        read_scp("y.scp")
    assert not (folder / "made").exists()


def test_the_command_would_have_made_a_file(folder):
    """Kaldi's own code runs it: the test above tests something."""
    (folder / "y.scp").write_text("b touch made; cat x.ark |\n")
    with pytest.raises((RuntimeError, KeyError)):
        kaldi_reads("scp:y.scp", NIO.SequentialFloatMatrixReader)
    assert (folder / "made").exists()


def test_harmless_commands_are_read_without_a_shell(folder, monkeypatch):
    write_ark("x y.ark", [("a", np.arange(20, dtype="f").reshape(5, 4))])
    one = (folder / "x y.ark").read_bytes()[2:]
    (folder / "one mat").write_bytes(one)
    (folder / "packed").write_bytes(gzip.compress(one))
    (folder / "y.scp").write_text(
        "a cat 'one mat' |\nb /bin/gunzip -c packed |[1:2]\nc zcat packed |\nd cat 'one mat' |[0:0,1:2]\n"
    )
    monkeypatch.setattr("subprocess.Popen", None)
    matrices = read_scp("y.scp")
    assert matrices.shapes() == {"a": (5, 4), "b": (2, 4), "c": (5, 4), "d": (1, 2)}
    assert matrices.rows("b", 1).tolist() == [[8, 9, 10, 11]]
    assert matrices["d"].tolist() == [[1, 2]]
    assert np.array_equal(matrices["a"], matrices["c"])


@pytest.mark.parametrize(
    ("command", "served"),
    [
        ("sph2pipe -f wav -p -c 2 a/b.sph |", Served("a/b.sph", channel=2)),
        ("/opt/kaldi/tools/sph2pipe a.sph|", Served("a.sph")),
        ("flac -c -d -s 'a b.flac' |", Served("a b.flac")),
        ("flac -d -c a.flac |", Served("a.flac")),
        ("sox a.mp3 -t wav - |", Served("a.mp3")),
        ("cat a.wav |", Served("a.wav")),
        ("zcat a.wav.gz |", Served("a.wav.gz", packed=True)),
        *((other, None) for other in (
            *("cat |", "cat -n |", "cat a b |", "cat 'a |", "|", "rm a |", "cat a\nb |", "cat a* |", "cat ~/a |"),
            *("sph2pipe -c 3 a |", "sph2pipe -f wav |", "sph2pipe -x a |", "sox a -t wav - rate 8k |", "flac -c a |"),
            *("sox -t wav a - |", "gunzip a |", "cat a & rm b |", "cat 'a;b' |", 'cat "$(rm b)" |'),
        )),
    ],
)  # fmt: skip
def test_which_commands_are_harmless(command, served):
    assert serve(command) == served


def test_commands_that_are_allowed_run(folder):
    write_ark("x.ark", [("a", np.ones((3, 2), "f"))])
    (folder / "y.scp").write_text("a tail -c +3 x.ark; touch made |[0:1]\nb echo no >&2; echo nay >&2; exit 3 |\n")
    matrices = read_scp("y.scp", allow_commands=True)
    assert not (folder / "made").exists()
    assert matrices["a"].tolist() == [[1, 1], [1, 1]]
    assert (folder / "made").exists()
    broken = {}
    assert matrices.shapes(broken.__setitem__) == {"a": (2, 2)}
    said = "the command 'echo no >&2; echo nay >&2; exit 3 |' ended with exit code 3: nay"
    assert broken == {"b": said}
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        matrices["b"]


def test_a_command_that_does_not_end_is_ended(folder):
    with (folder / "out").open("wb") as out, pytest.raises(ValueError, match=r"took longer than 0\.2 s$"):
        run_command("sleep 50 & echo $! ; sleep 50 |", out, seconds=0.2)
    child = int((folder / "out").read_text())
    state, end = Path(f"/proc/{child}/stat"), time.monotonic() + 10
    while (running := state.exists() and state.read_text().split()[2] not in "ZX") and time.monotonic() < end:
        time.sleep(0.02)
    assert not running


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a x.ark:2\na x.ark:2\n", "y.scp:2: the key 'a' is there twice"),
        ("a x.ark:2\nb\n", "y.scp:2: expected 'key path'"),
        ("a x.ark:2\n\nb x.ark:2\n", "y.scp:2: expected 'key path'"),
        ("a x.gz:2\n", "y.scp:1: x.gz is packed"),
        ("a x.ark:2[1]\n", "y.scp:1: expected a range as"),
        ("a x.ark:2[3:2]\n", "y.scp:1: expected a range as"),
        ("a x.ark:2[0:1,0:1,0:1]\n", "y.scp:1: expected a range as"),
        (b"a x.ark:2\nb \xff.ark\n", "y.scp:2: not UTF-8"),
    ],
)
def test_lines_that_are_no_entries_are_refused(folder, text, said):
    (folder / "y.scp").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="^" + re.escape(said)):
        read_scp("y.scp")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a x.ark:99", "x.ark: key 'a', byte 99: the file ends at byte 20"),
        ("a x.ark:2[0:1,0:1]", "x.ark: key 'a', byte 2: columns 0 to 1 of [2]"),
        ("a x.ark:2[2:2]", "x.ark: key 'a', byte 2: rows 2 to 2 of [2]"),
        ("a x.ark", "x.ark: key 'a', byte 0: neither a binary object"),
    ],
)
def test_entries_that_point_elsewhere_are_refused(folder, line, said):
    write_ark("x.ark", [("a", np.ones(2, "f"))])
    (folder / "y.scp").write_text(line)
    with pytest.raises(ValueError, match="^" + re.escape(said)):
        read_scp("y.scp")["a"]


def test_rows_that_are_not_there_are_refused(folder):
    write_ark("x.ark", [("a", np.ones((4, 2), "f"))])
    matrices = read_scp("x.scp")
    for first, last in ((-1, 2), (3, 2), (0, 5), (5, None)):
        with pytest.raises(ValueError, match=r"^x\.ark: key 'a', byte 2: rows from"):
            matrices.rows("a", first, last)
    with pytest.raises(KeyError):
        matrices["b"]
    assert "a" in matrices
    assert "b" not in matrices


def test_paths_are_relative_to_here_then_to_the_index_or_to_a_root(folder):
    for place, value in (("", 0), ("sub/", 1), ("other/", 2)):
        write_ark(f"{place}x.ark", [("a", np.full(1, value, "f"))])
    (folder / "sub" / "y.scp").write_text("a x.ark:2\n")
    assert read_scp("sub/y.scp")["a"] == 0
    assert read_scp("sub/y.scp", root="other")["a"] == 2
    (folder / "x.ark").unlink()
    assert read_scp("sub/y.scp")["a"] == 1
    (folder / "sub" / "x.ark").unlink()
    with pytest.raises(FileNotFoundError, match=r"'x\.ark'"):
        read_scp("sub/y.scp")["a"]
    with pytest.raises(FileNotFoundError, match=r"'elsewhere/x\.ark'"):
        read_scp("sub/y.scp", root="elsewhere")["a"]


def test_a_file_of_one_object_and_tabs_and_spaces_in_names(folder):
    write_ark("x.ark", [("a", np.ones((2, 2), "f"))])
    (folder / "one matrix").write_bytes((folder / "x.ark").read_bytes()[2:])
    (folder / "y.scp").write_text("a\tone matrix\r\nb  one matrix:0[0:0]")
    matrices = read_scp("y.scp")
    assert matrices.lengths.tolist() == [2, 1]
    assert matrices["b"].tolist() == [[1, 1]]


def test_lengths_come_from_utt2num_frames_for_features_only(folder):
    for name in ("feats", "cmvn"):
        write_ark(f"{name}.ark", [("b", np.ones((2, 3), "f")), ("a", np.ones((4, 3), "f"))])
    (folder / "utt2num_frames").write_text("a 40\nb 20\nc 30\n")
    assert read_scp("feats.scp").lengths.tolist() == [40, 20]
    assert read_scp("cmvn.scp").lengths.tolist() == [4, 2]
    (folder / "utt2num_frames").write_text("a 40\n")
    assert read_scp("feats.scp").lengths.tolist() == [4, 2]
    (folder / "utt2num_frames").write_text("a forty\n")
    with pytest.raises(ValueError, match=r"^utt2num_frames:1: expected 'key frames'"):
        _ = read_scp("feats.scp").lengths


@pytest.mark.parametrize(("form", "row"), [("float", 20), ("double", 40), ("two_byte", 10)])
def test_only_the_rows_asked_for_are_read(folder, monkeypatch, form, row):
    write_ark("x.ark", [("a", np.random.default_rng(0).standard_normal((1000, 5)).astype("f"))], form=form)
    sizes = []
    read = ByteSource.read
    monkeypatch.setattr(ByteSource, "read", lambda self, count: sizes.append(count) or read(self, count))
    matrices = read_scp("x.scp")
    assert matrices.lengths.tolist() == [1000]
    assert sum(sizes) < 30
    sizes.clear()
    assert len(matrices.rows("a", 900, 903)) == 3
    assert sum(sizes) < 30 + 3 * row


def test_an_index_travels_to_other_processes(folder):
    write_ark("x.ark", some("matrices").items())
    matrices = pickle.loads(pickle.dumps(read_scp("x.scp")))
    assert np.array_equal(matrices["b"], some("matrices")["b"])
    matrices["b"][:] = 0  # what is read belongs to the caller


# Writing


@pytest.mark.parametrize(
    "path", ["|a.ark", "a,b.ark", "| touch made.ark", "a b|.ark", "ark,t:x.ark", "-.ark", "a[0:1].ark"]
)
def test_every_name_is_a_file_name(folder, path):
    write_ark(path, some("vectors").items())
    index = path.removesuffix(".ark") + ".scp"
    assert sorted(file.name for file in folder.iterdir()) == sorted([path, index])
    matrices = read_scp(index)
    assert np.array_equal(matrices["b"], some("vectors")["b"])


@pytest.mark.parametrize("path", ["x.gz", "x", "x.scp", " x.ark", "a\nb.ark"])
def test_names_that_could_not_be_read_back_are_refused(folder, path):
    with pytest.raises(ValueError, match=r"ends in \.ark|an index cannot hold"):
        write_ark(path, some("vectors").items())
    assert list(folder.iterdir()) == []


MATRIX = np.ones((9, 2), "f")
UNFIT = [
    ("", MATRIX, "float", "key '': a key needs letters"),
    ("a b", MATRIX, "float", "key 'a b': a key needs letters, and has no white space"),
    ("a\n", MATRIX, "float", r"key 'a\n': a key needs letters, and has no white space"),
    ("a\xa0b", MATRIX, "float", r"key 'a\xa0b': a key needs letters, and has no white space"),
    ("a\0", MATRIX, "float", r"key 'a\x00': a key needs letters, and has no white space"),
    ("a" * 4097, MATRIX, "float", f"key {short('a' * 4097)}: a key has at most 4096 bytes"),
    ("good", MATRIX, "float", "key 'good': the key comes twice"),
    ("k", np.ones((2, 2, 2), "f"), "float", "key 'k': float32 [2, 2, 2]: neither floats"),
    ("k", np.float32(1), "float", "key 'k': float32 []: neither floats"),
    ("k", np.ones((2, 2), int), "float", "key 'k': int64 [2, 2]: neither floats"),
    ("k", np.array(["a"]), "float", "key 'k': <U1 [1]: neither floats"),
    ("k", np.ones((3, 0), "f"), "float", "key 'k': a matrix of 3 x 0"),
    ("k", np.array([2**31]), "float", "key 'k': integers from 2147483648 to 2147483648"),
    ("k", np.array([1e300]), "float", "key 'k': values too large for 32 bits"),
    ("k", np.ones(3, "f"), "speech", "key 'k': speech compresses matrices only, not float32 [3]"),
    ("k", np.ones(3, int), "two_byte", "key 'k': two_byte compresses matrices only, not int64 [3]"),
    ("k", np.array([[np.nan, 1]]), "speech", "key 'k': speech cannot hold values from nan to nan"),
    ("k", np.array([[-np.inf, 1]]), "two_byte", "key 'k': two_byte cannot hold values from -inf to 1.0"),
    (
        "k",
        np.array([[-3e38, 3e38]]),
        "two_byte",
        "key 'k': two_byte cannot hold values from -3.0000000054977558e+38 to",
    ),
]


@pytest.mark.parametrize(("key", "values", "form", "said"), UNFIT)
def test_what_cannot_be_written_is_refused_and_leaves_the_old_files(folder, key, values, form, said):
    write_ark("x.ark", some("vectors").items())
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match="^" + re.escape(f"x.ark: {said}") + "[^\n]*$"):
        write_ark("x.ark", [("good", MATRIX), (key, values)], form=form)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_an_unknown_form_is_refused(folder):
    with pytest.raises(ValueError, match=r"^unknown form 'binary': expected float, double, text, speech, two_byte$"):
        write_ark("x.ark", [], form="binary")
    assert list(folder.iterdir()) == []


def test_data_go_once_to_their_place_and_appear_whole(folder):
    def items():
        for key in "cab":
            yield key, np.ones((1000, 100), "f")
            assert sum(file.stat().st_size for file in folder.iterdir()) <= 3 * 400_100
            assert all(file.name.startswith(".x.") for file in folder.iterdir())

    write_ark("x.ark", items())
    assert sorted(file.name for file in folder.iterdir()) == ["x.ark", "x.scp"]
    assert (folder / "x.scp").read_text() == "a x.ark:400019\nb x.ark:800036\nc x.ark:2\n"
    write_ark("x.ark", [("a", MATRIX)], scp=False)
    assert [file.name for file in folder.iterdir()] == ["x.ark"]  # the old index would point to wrong bytes


def test_an_empty_matrix_and_no_entries(folder):
    for form in ("float", "double", "text", "speech", "two_byte"):
        write_ark("x.ark", [("a", np.zeros((0, 7), "f")), ("b", MATRIX)], form=form)
        assert read_scp("x.scp")["a"].shape == (0, 0)
        assert kaldi_reads("scp:x.scp", NIO.SequentialFloatMatrixReader)["a"].shape == (0, 0)
    write_ark("x.ark", [])
    assert read_scp("x.scp").keys == list(read_ark("x.ark")) == []
    assert read_scp("x.scp").lengths.shape == (0,)
