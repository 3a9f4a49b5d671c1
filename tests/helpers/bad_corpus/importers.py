"""The bad inputs of importers of particular corpora."""
# ruff: noqa: E501

from importlib.util import find_spec
from pathlib import Path

from tests.helpers.bad_input_cases import ANY, Case, case
from tests.helpers.speech import wav

MOSEI = "preprocess_mosei.py --data_path brought/wavs --labels brought"
SPEECH, VOX, FSC = (f"{ANY} --layout {name}" for name in ("speech_commands", "voxceleb", "fsc"))
NO_H5PY = "pip install -r requirements-mosei.txt"
TABLES = {
    "good.csv": "file,index,start,end,sentiment\na,0,0,1.5,1\nb,0,0,1.5,-1\n",
    "plain.csv": "name,start,end\na,0,1\n",
    "nameless.csv": "file,start,end\na,0,1\n",
    "keyless.csv": "key,file,start,end\n,a,0,1\n",
    "twice.csv": "file,index,start,end,start\na,0,0,1,0\n",
    "worded.csv": "file,index,start,end,sentiment\na,0,0,1,1\na,1,0,1,much\n",
    "early.csv": "file,index,start,end\na,0,-2,-0.5\n",
    "parts.csv": "file,index,start,end,split\na,0,0,1,0\na,1,0,1,7\n",
    "repeated.csv": "file,index,start,end\na,0,0,1\na,1,1,2\na,0,2,3\n",
    "ragged.csv": "file,index,start,end\na,0,0\n",
    "foreign.csv": "file,index,start,end\nx,0,0,1.5\n",
    "untimed.csv": "file,index,label\na,0,1\n",
    "short.csv": "file,index,start,end\na,0,0,0.5\n",
    "text.csd": "no HDF5 at all",
    "empty.csv": "",
    "videos.csv": "video,split\na,train\n\na,test\n",
    "named.csv": "name,split\na,train\n",
}
VOX_LISTS = {
    "parts.txt": "1 s/v/1.wav\n4 s/v/1.wav\n",
    "twice.txt": "1 s/v/1.wav\n\n2 s/v/1.wav\n",
    "gone.txt": "1 s/v/2.wav\n",
}
INTENTS = "path,speakerId,transcription,action,object,location\n"

CASES: list[Case] = [
    case("MOSEI without labels", "preprocess_mosei.py --data_path brought/wavs", "--data_path FOLDER", "--labels FILE"),
    case("labels of MOSEI that are not there", f"{MOSEI}/nowhere.csv", "brought/nowhere.csv", "no such file"),
    case("labels of MOSEI without videos", f"{MOSEI}/plain.csv", "plain.csv", "no column filename, file, video", "it has name, start, end"),
    case("labels of MOSEI that are empty", f"{MOSEI}/empty.csv", "empty.csv", "no column filename"),
    case("labels of MOSEI without ids", f"{MOSEI}/nameless.csv", "nameless.csv", "no column id or key", "index"),
    case("segment of MOSEI with an empty id", f"{MOSEI}/keyless.csv", "keyless.csv: line 2", "no key"),
    case("labels of MOSEI with a column twice", f"{MOSEI}/twice.csv", "twice.csv", "two columns", "'start'"),
    case("sentiment that is no number", f"{MOSEI}/worded.csv", "worded.csv: line 3", "sentiment is 'much'"),
    case("segment of MOSEI before its video", f"{MOSEI}/early.csv", "early.csv: line 2", "end is -0.5"),
    case("segment of MOSEI of an unknown part", f"{MOSEI}/parts.csv", "parts.csv: line 3", "split is '7'", "0, 1, 2, 3"),
    case("segments of MOSEI with one id", f"{MOSEI}/repeated.csv", "repeated.csv: line 4", "'a_0' is there already"),
    case("row of MOSEI that is too short", f"{MOSEI}/ragged.csv", "ragged.csv: line 2", "do not fit the 4 columns"),
    case("labels of other videos", f"{MOSEI}/foreign.csv", "brought/wavs", "none of the recordings of brought/foreign.csv", "x.wav"),
    case("labels of MOSEI without times", f"{MOSEI}/untimed.csv", "untimed.csv", "no columns start and end", "--segmented"),
    case("bounds that no segment of MOSEI meets", f"{MOSEI}/short.csv", "short.csv: 1 segments, 0 taken", "1 left out: shorter than 1 s"),
    case("bounds of MOSEI that exclude each other", f"{MOSEI}/good.csv --min_seconds 5 --max_seconds 2", "--min_seconds 5", "--max_seconds 2"),
    case("bound of MOSEI below 0", f"{MOSEI}/good.csv --min_abs=-1", "--min_abs", "'-1'"),
    case("sentiments asked for that there are not", f"{MOSEI}/short.csv --min_abs 0.2", "short.csv", "no column sentiment", "--min_abs 0.2"),
    case("division of MOSEI that its labels lack", f"{MOSEI}/good.csv --split standard", "good.csv", "no column split", "--split legacy"),
    case("parts of MOSEI that contradict each other", f"{MOSEI}/good.csv --parts brought/videos.csv", "videos.csv: line 4", "'a' is test, and train before"),
    case("parts of MOSEI without videos", f"{MOSEI}/good.csv --parts brought/named.csv", "named.csv", "no columns video and split", "it has name, split"),
    case("parts of MOSEI and a division", f"{MOSEI}/good.csv --parts brought/videos.csv --split legacy", "--split legacy", "--parts"),
    case("computational sequence without h5py", f"{MOSEI}/text.csd", "text.csd", NO_H5PY, without="h5py"),
    case("computational sequence that is text", f"{MOSEI}/text.csd", "text.csd", "not a computational sequence", needs="h5py"),
    case("computational sequence of two groups", f"{MOSEI}/groups.csd", "groups.csd", "one group at the root", "'a', 'b'", needs="h5py"),
    case("computational sequence of three labels", f"{MOSEI}/three.csd", "three.csd: v", "features [2, 3]", "[n, 7]", needs="h5py"),
    case("computational sequence without intervals", f"{MOSEI}/timeless.csd", "timeless.csd: v", "no intervals and features", needs="h5py"),
    case("layout that there is not", f"{ANY} --layout timit --data_path brought", "--layout", "'timit'", "speech_commands"),
    case("layout without a corpus", SPEECH, "--layout speech_commands --data_path FOLDER"),
    case("Speech Commands of other words", f"{SPEECH} --data_path brought", "brought: not Speech Commands", "<word>/<speaker>_nohash_<n>.wav"),
    case("Speech Commands with two tests", f"{SPEECH} --data_path brought/words --test brought --hash_test", "--hash_test", "--test", "leave one out"),
    case("test of Speech Commands without audio", f"{SPEECH} --data_path brought/words --test brought/nothing", "brought/nothing: no audio found"),
    case("test of Speech Commands around it", f"{SPEECH} --data_path brought/words --test brought", "brought: the corpus lies in"),
    case("list for Speech Commands", f"{SPEECH} --data_path brought/words --list brought/parts.txt", "--list is for --layout voxceleb"),
    case("ids of a layout", f"{SPEECH} --data_path brought/words --id_from stem", "--layout speech_commands", "leave out --id_from"),
    case("hash without a layout", f"{ANY} --data_path brought --hash_test", "--hash_test is for --layout speech_commands"),
    case("IEMOCAP without evaluations", f"{ANY} --layout iemocap --data_path brought", "brought: not IEMOCAP", "EmoEvaluation"),
    case("evaluation of IEMOCAP that is cut", f"{ANY} --layout iemocap --data_path brought/iemocap", "Ses01F_x.txt: line 3", "neu [v, a, d]"),
    case("VoxCeleb without a list", f"{VOX} --data_path brought/wavs", "brought/wavs/iden_split.txt", "--list FILE"),
    case("part of VoxCeleb that there is not", f"{VOX} --data_path brought/wavs --list brought/parts.txt", "parts.txt: line 2", "1, 2 or 3"),
    case("recording of VoxCeleb listed twice", f"{VOX} --data_path brought/wavs --list brought/twice.txt", "twice.txt: line 3", "s/v/1.wav is there already"),
    case("VoxCeleb in another folder", f"{VOX} --data_path brought/wavs --list brought/gone.txt", "none of the 1 recordings of brought/gone.txt", "s/v/2.wav"),
    case("Fluent Speech Commands without a table", f"{FSC} --data_path brought/wavs", "brought/wavs/data/train_data.csv", "valid"),
    case("Fluent Speech Commands without a label", f"{FSC} --data_path brought/intents", "valid_data.csv: line 3", "no object"),
    case("Fluent Speech Commands of other columns", f"{FSC} --data_path brought/other", "train_data.csv", "no column action, object, location"),
    case("recording of MOSEI that is missing", f"{MOSEI}/good.csv --output_path brought/out --name m --n_jobs 1", "brought/out/m/errors.csv", "1 not used", "b.wav", "no such audio file", code=1),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    here = root / "brought"
    wav(here / "wavs/a.wav", 32000)
    wav(here / "wavs/s/v/1.wav")
    wav(here / "words/yes/0_nohash_0.wav")
    (here / "nothing").mkdir()
    for name, text in (TABLES | VOX_LISTS).items():
        (here / name).write_text(text)
    heard = here / "iemocap/Session1/dialog/EmoEvaluation/Ses01F_x.txt"
    heard.parent.mkdir(parents=True)
    heard.write_text("% heading\n[1.0 - 2.0]\tSes01F_x_F000\tneu\t[2.5, 2.5, 2.5]\n[2.0 - 3.0]\tSes01F_x_F001\tneu\n")
    for folder, head in (("intents", INTENTS), ("other", "path,speakerId\n")):
        (here / folder / "data").mkdir(parents=True)
        for part in ("train", "valid", "test"):
            rows = "a.wav,s,on,activate,lights,none\n" if folder == "intents" else "a.wav,s\n"
            rows += "b.wav,s,on,activate,,none\n" if part == "valid" and folder == "intents" else ""
            (here / folder / f"data/{part}_data.csv").write_text(head + rows)
    if find_spec("h5py") is not None:
        _sequences(here)


def _sequences(here: Path) -> None:
    import h5py

    with h5py.File(here / "groups.csd", "w") as tree:
        tree["a/data/v/intervals"] = tree["b/data/v/intervals"] = [[0.0, 1.0]]
    with h5py.File(here / "three.csd", "w") as tree:
        tree["a/data/v/intervals"], tree["a/data/v/features"] = [[0.0, 1.0], [1.0, 2.0]], [[1.0] * 3, [2.0] * 3]
    with h5py.File(here / "timeless.csd", "w") as tree:
        tree["a/data/v/features"] = [[1.0]]
