"""The bad inputs of codes beside phones."""
# ruff: noqa: E501

from pathlib import Path

import numpy as np

from tests.helpers.bad_input_cases import Case, case
from tests.helpers.downstream_corpus import write_codes, write_store
from utility.labels.alignment import write_alignment
from utility.store.files import Row
from utility.store.info import StoreInfo
from utility.store.writing import StoreWriter

UNITS = "run_analysis.py --cpu --no-msg --expdir exp --run units_phone"
SAID = f"{UNITS} data.alignment=coded/phones"
GOOD = "units.store=[coded/good/all]"
IDS = [f"s{speaker}-{number}" for speaker in range(3) for number in range(3)]

CASES: list[Case] = [
    case("codes beside nothing", f"{UNITS} {GOOD}", "units_phone", "data.alignment=FOLDER", "preprocess_alignment.py"),
    case("phones beside no codes", SAID, "units_phone", "units.store=[data/NAME_codes/SPLIT, ...]", "--cluster"),
    case("frames for codes", f"{SAID} units.store=[coded/frames/all]", "coded/frames/all holds frames, expected codes"),
    case("codes of an analysis that are not there", f"{SAID} units.store=[nowhere/all]", "nowhere"),
    case("codes for the frames of an analysis", "run_analysis.py --cpu --no-msg --expdir exp --run cca_mel --upstream baseline data.store=[coded/good/all]", "coded/good/all holds codes, expected frames"),
    case("codes beside an alignment that is not there", f"{UNITS} {GOOD} data.alignment=nowhere", "nowhere: no alignment here"),
    case("codes and phones of other utterances", f"{UNITS} {GOOD} data.alignment=coded/foreign", "coded/foreign", "none of the 9 utterances", "'x' there, 's0-0' here"),
    case("codes of more utterances than phones", f"{UNITS} {GOOD} data.alignment=coded/partly", "coded/partly", "lacks 8 of 9 utterances, 's0-1' for one", "data.unaligned=leave_out"),
    case("codes beside one phone", f"{UNITS} {GOOD} data.alignment=coded/single", "coded/single", "1 phones", "at least 2"),
    case("codes of two corpora", f"{SAID} units.store=[coded/good/all,coded/few/all]", "good and few are not of the same utterances", "few lacks 's2-2'", "data.unaligned=leave_out"),
    case("codes with the frame shift of others", f"{SAID} units.store=[coded/fast/all]", "coded/fast/all: s0-0 has 60 codes, one for 0.02 s, but lasts 0.600 s", "frame_shift"),
    case("codes shorter than their phones", f"{SAID} units.store=[coded/short/all]", "coded/phones: s0-0", "the alignment ends at 0.600 s", "audio at 0.300 s"),
    case("codes without times", f"{SAID} units.store=[coded/timeless/all]", "coded/timeless/all", "does not say when a frame is"),
    case("code beyond the last", f"{SAID} units.store=[coded/broken/all]", "coded/broken/all: s0-1 has code 5, expected 0 to 4"),
    case("two stores of codes of one name", f"{SAID} units.store=[coded/good/all,coded/twin/good/all]", "coded/good and coded/twin/good would both be called good", "NAME=coded/twin/good/all"),
    case("codes with an upstream", f"{SAID} {GOOD} --upstream baseline", "--upstream would change nothing", "units_phone runs no upstream"),
    case("codes with a layer", f"{SAID} {GOOD} --layer 3", "--layer would change nothing"),
    case("codes with several samples", f"{SAID} {GOOD} --samples 3", "--samples would change nothing"),
    case("codes with the frames of others", f"{SAID} {GOOD} data.store=[coded/frames/all]", "data.store would change nothing"),
    case("codes resampled by frames", f"{SAID} {GOOD} cca.group=sample", "cca.group=sample", "utterance or speaker"),
    case("codes by speakers that nobody knows", f"{SAID} units.store=[coded/mute/all] cca.group=speaker", "cca.group=speaker", "who speaks"),
    case("counts of codes in too little memory", f"{SAID} {GOOD} cca.memory_mib=0.0001", "5 codes and 2 phones", "cca.memory_mib=0.0001", "raise it"),
    case("codes that are called as an upstream", "run_analysis.py --cpu --no-msg --expdir exp --run units_phone,shape --upstream good=baseline data.store=[coded/frames/all] data.alignment=coded/phones units.store=[coded/good/all]", "codes and an upstream are called good", "units.store=[NAME=STORE]"),
    case("mistyped key of codes", f"{SAID} units.stores=[coded/good/all]", "'units.stores'", "did you mean 'store'"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    here, frames = root / "coded", 60
    codes = {key: np.arange(frames) // 10 % 5 for key in IDS}
    aligned = [(0.0, 0.3, "a"), (0.3, 0.6, "b")]
    write_alignment(here / "phones", [(key, aligned) for key in IDS])
    write_alignment(here / "foreign", [("x", aligned)])
    write_alignment(here / "partly", [(IDS[0], aligned)])
    write_alignment(here / "single", [(key, [(0.0, 0.3, "a"), (0.3, 0.6, "sil")]) for key in IDS])
    write_codes(here / "good", "all", codes, 5)
    write_codes(here / "twin/good", "all", codes, 5)
    write_codes(here / "few", "all", {key: codes[key] for key in IDS[:-1]}, 5)
    write_codes(here / "short", "all", {key: codes[key][: frames // 2] for key in IDS}, 5)
    write_codes(here / "timeless", "all", codes, 5, float("nan"))
    write_codes(here / "broken", "all", codes, 5)
    np.load(here / "broken/all.npy", mmap_mode="r+")[frames] = 5
    (here / "broken/all.digest").touch()  # else it would be made again
    write_store(here / "frames", "all", {key: np.ones((frames, 4), np.float32) for key in IDS})
    _write_timed(here / "fast", codes)
    _write_timed(here / "mute", codes, "", 0.01)


def _write_timed(root: Path, codes: dict[str, np.ndarray], speaker: str = "s", shift: float = 0.02) -> None:
    """Codes of 0.01 s whose store says another shift, and how many samples their recordings have."""
    info = StoreInfo(
        kind="codes", dtype="int32", row_shape=[1], codes=5, frame_shift=shift, made_by={"sample_rate": 16000}
    )
    rows = [Row(key, len(own), 160 * len(own), speaker, f"{key}.wav") for key, own in codes.items()]
    writer = StoreWriter.open(root, "all", rows, info)
    for index, own in enumerate(codes.values()):
        writer.write(index, own.reshape(-1, 1).astype(np.int32))
    assert writer.finish()
