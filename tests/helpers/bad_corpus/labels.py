"""The bad inputs of tables of labels and folds."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import Case, case
from tests.helpers.downstream_corpus import write_store

RUN = "run_downstream.py --upstream baseline --cpu --no-msg --expdir exp data.train=[labelled/store/all] --run"
LABELLED = f"{RUN} utterance data.labels=labelled/"
MOOD = "data.label_column=mood"
TABLE = [f"s{speaker}-{number}" for speaker in range(4) for number in range(3)]

CASES: list[Case] = [
    case("utterances without a table", f"{RUN} utterance", "data.labels", "data.label_column"),
    case("table of labels that is not there", f"{LABELLED}nowhere.csv {MOOD}", "labelled/nowhere.csv"),
    case("labels of an audio file", f"{LABELLED}store/all.npy {MOOD}", "labelled/store/all.npy", "not a table"),
    case("labels without an id", f"{LABELLED}keyless.csv {MOOD}", "labelled/keyless.csv", "utt_id", "mood"),
    case("labels without their column", f"{LABELLED}good.csv data.label_column=moood", "labelled/good.csv", "'moood'", "mood"),
    case("labels of no column", f"{LABELLED}good.csv", "utterance", "data.label_column", "labelled/good.csv"),
    case("label column that is there twice", f"{LABELLED}doubled.csv {MOOD}", "labelled/doubled.csv", "'mood'", "2 times"),
    case("row of labels that is cut", f"{LABELLED}cut.csv {MOOD}", "labelled/cut.csv", "line 3"),
    case("row of labels with an open quote", f"{LABELLED}quoted.csv {MOOD}", "labelled/quoted.csv", "line 3"),
    case("two rows of labels of one utterance", f"{LABELLED}twice.csv {MOOD}", "labelled/twice.csv", "'s0-0'", "lines 2 and 14"),
    case("labels of other utterances", f"{LABELLED}foreign.csv {MOOD}", "labelled/foreign.csv", "'x-0'", "'s0-0'"),
    case("labels of some utterances", f"{LABELLED}partly.csv {MOOD}", "labelled/partly.csv", "lacks 9 of the 12", "'s1-0'", "leave_out"),
    case("labels by paths of other recordings", f"{LABELLED}paths.csv {MOOD}", "labelled/paths.csv", "path", "'x/y.wav'", "'s0-0.wav'"),
    case("label that is empty", f"{LABELLED}empty.csv {MOOD}", "labelled/empty.csv", "line 4", "mood", "leave_out"),
    case("label that train lacks", f"{LABELLED}rare.csv {MOOD} data.split_column=part", "labelled/rare.csv", "line 13", "'rare'", "test"),
    case("one label", f"{LABELLED}good.csv data.label_column=one", "utterance", "1 (same)"),
    case("classes that nobody has", f"{LABELLED}good.csv {MOOD} data.classes=[a,b]", "utterance", "label not in data.classes: 12"),
    case("class named twice", f"{LABELLED}good.csv {MOOD} data.classes=[gay,gay]", "data", "classes", "twice"),
    case("class that YAML reads as a truth value", f"{LABELLED}good.csv {MOOD} data.classes=[yes,sad]", "data.classes", "quotes"),
    case("renamed label that nobody has", f"{LABELLED}good.csv {MOOD} data.label_map={{exc:\\ gay}}", "data.label_map", "'exc'", "gay, sad"),
    case("label column without a table", f"{RUN} speaker_utterance {MOOD}", "label_column", "data.labels"),
    case("classes without a label column", f"{RUN} speaker_utterance data.labels=labelled/good.csv data.classes=[a,b]", "classes", "label_column"),
    case("table of labels for phones", f"{RUN} phone_linear data.labels=labelled/good.csv {MOOD}", "phone_linear", "data.alignment", "data.labels"),
    case("mode of labels of words", f"{LABELLED}good.csv {MOOD} data.label_mode=seven", "labelled/good.csv", "line 2", "mood", "'gay'"),
    case("number beyond a mode of labels", f"{LABELLED}good.csv data.label_column=score data.label_mode=seven_ceil", "line 13", "'4.5'", "-3 to 3"),
    case("mode of labels of one column", f"{LABELLED}good.csv {MOOD} data.label_mode=emotion", "label_mode emotion", "6 columns"),
    case("mode of labels for numbers", f"{LABELLED}good.csv {MOOD} data.label_mode=regression data.label_kind=class", "regression", "label_kind number"),
    case("division by a column without parts", f"{LABELLED}good.csv {MOOD} data.split_column=mood", "labelled/good.csv", "mood", "valid", "gay"),
    case("division by a column and a list", f"{LABELLED}good.csv {MOOD} data.split_column=part data.test=[data/mel/test]", "split_column", "dev and test"),
    case("division that cuts through groups", f"{LABELLED}good.csv {MOOD} data.split_column=part data.group_column=room", "group 'r0'", "train", "test"),
    case("division by utterance of groups", f"{LABELLED}good.csv {MOOD} data.split=utterance data.group_column=room", "'utterance'", "data.group_column"),
    case("group that is empty", f"{LABELLED}empty.csv data.label_column=room data.group_column=mood", "labelled/empty.csv", "line 4", "mood is empty"),
    case("fold that there is not", f"{LABELLED}good.csv {MOOD} data.fold=s9", "data.fold", "'s9'", "s0, s1, s2, s3"),
    case("folds and a fold", f"{LABELLED}good.csv {MOOD} --folds data.fold=s1", "data.fold=s1", "--folds"),
    case("folds of two groups", f"{LABELLED}good.csv {MOOD} --folds data.group_column=half", "at least 3 groups", "'h0', 'h1'"),
    case("folds and a division by a column", f"{LABELLED}good.csv {MOOD} --folds data.split_column=part", "data.split_column", "fold"),
    case("folds of the speakers that are classes", f"{RUN} speaker_utterance --folds", "classes", "data.group_column"),
    case("dev groups without folds", f"{LABELLED}good.csv {MOOD} data.dev_groups=1", "data.dev_groups=1", "--folds"),
    case("all groups for dev", f"{LABELLED}good.csv {MOOD} --folds data.dev_groups=3", "fold 's0'", "data.dev_groups=3", "4 groups"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    folder = root / "labelled"
    folder.mkdir()
    generator = np.random.default_rng(0)
    write_store(folder / "store", "all", {key: generator.normal(size=(4, 2)).astype(np.float32) for key in TABLE})
    lines = ["id,mood,score,one,part,room,half"]
    for number, key in enumerate(TABLE):
        mood, part = ("gay", "sad")[number % 2], ("train", "dev", "test")[number % 3]
        score = "4.5" if number == len(TABLE) - 1 else f"{number % 3 - 1}"
        lines.append(f"{key},{mood},{score},same,{part},r{number % 2},h{number % 2}")
    tables = {
        "good": lines,
        "keyless": ["name,mood", "s0-0,gay"],
        "doubled": ["id,mood,mood", "s0-0,gay,sad"],
        "cut": [*lines[:2], "s0-1"],
        "quoted": [*lines[:2], 's0-1,"gay" and sad'],
        "twice": [*lines, lines[1]],
        "foreign": ["id,mood", "x-0,gay"],
        "partly": lines[:4],
        "paths": ["path,mood", "x/y.wav,gay"],
        "empty": [*lines[:3], lines[3].replace("gay", ""), *lines[4:]],
        "rare": [*lines[:12], lines[12].replace("sad", "rare")],
    }
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
