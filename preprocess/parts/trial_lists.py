"""Tables of utterances -> a list of trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utility.files import replacing
from utility.labels.table import ID_COLUMNS
from utility.labels.trials import Caps, made_trials
from utility.seeds import text_order
from utility.tables import fits, names_and_rows, one_of, open_table
from utility.text import cut, read_text, short

SPEAKER_COLUMN, SEX_COLUMNS = "speaker", ("sex", "gender")


@dataclass(frozen=True)
class TrialFlags:
    """The flags of preprocess/make_trials.py."""

    data_path: Sequence[Path]
    output: Path
    speakers: Path | None
    first: int | None
    sex_column: str | None
    same: int
    same_sex: int
    other_sex: int
    dry_run: bool


@dataclass
class Speakers:
    """The ids of each speaker's utterances, and the sex of each, where tables say it."""

    ids: dict[str, list[str]] = field(default_factory=dict)
    sexes: dict[str, str] = field(default_factory=dict)
    sexless: bool = False
    _where: dict[str, str] = field(default_factory=dict)

    def read(self, path: Path, sex_column: str | None) -> None:
        """Add what a table, or that of a store's split, says; ValueError names the line of a row that is none."""
        table_file = Path(f"{path}.csv")
        file = table_file if table_file.is_file() and not path.is_file() else path
        if file.is_dir():
            raise ValueError(f"{file}: a folder, expected store/split, or a CSV or TSV table of utterances")
        with open_table(file) as table:
            names, rows = names_and_rows(table)
            key = one_of(names, ID_COLUMNS)
            if key is None or SPEAKER_COLUMN not in names:
                raise ValueError(f"{file}: no columns id and speaker; it has {cut(', '.join(names)) or 'none'}")
            sex = one_of(names, SEX_COLUMNS if sex_column is None else (sex_column,))
            if sex is None and sex_column is not None:
                raise ValueError(f"{file}: no column {short(sex_column)}; it has {cut(', '.join(names))}")
            self.sexless |= sex is None
            for line, row in rows:
                where = f"{file}: line {line}"
                if not fits(row):
                    raise ValueError(f"{where} has fields that do not fit the {len(names)} columns")
                self._add(where, row[key], row[SPEAKER_COLUMN].strip(), None if sex is None else row[sex].strip())

    def _add(self, where: str, key: str, speaker: str, sex: str | None) -> None:
        if not key or len(key.split()) != 1:
            raise ValueError(f"{where}: id {short(key)}: a list of trials takes ids of one word")
        if not speaker:
            raise ValueError(f"{where}: utterance {short(key)} has no speaker")
        if key in self._where:
            raise ValueError(f"{where}: utterance {short(key)} is there already, in {self._where[key]}")
        self._where[key] = where
        self.ids.setdefault(speaker, []).append(key)
        if sex is not None and self.sexes.setdefault(speaker, sex) != sex:
            raise ValueError(
                f"{where}: speaker {short(speaker)} is {short(sex)}, and {short(self.sexes[speaker])} before"
            )

    def known_sexes(self) -> Mapping[str, str] | None:
        """The sex of every speaker; None where a table has none."""
        return None if self.sexless else self.sexes


def write_trials(flags: TrialFlags) -> int:
    """Write the list, or say what it would be."""
    if flags.output.exists():
        raise ValueError(f"{flags.output}: exists: remove it, or choose another --output")
    speakers = Speakers()
    for path in flags.data_path:
        speakers.read(path.expanduser(), flags.sex_column)
    chosen = _chosen(flags, speakers)
    caps = Caps(flags.same, flags.same_sex, flags.other_sex)
    trials = list(made_trials({name: speakers.ids[name] for name in chosen}, caps, speakers.known_sexes()))
    targets = sum(target for target, _, _ in trials)
    if targets in (0, len(trials)):
        raise ValueError(
            f"{len(chosen)} speakers give {targets} target and {len(trials) - targets} nontarget trials: both are "
            "needed, of two speakers or more, one of them with two utterances"
        )
    of = f"{len(trials)} trials, {targets} target and {len(trials) - targets} nontarget, of {len(chosen)} speakers"
    if flags.dry_run:
        print(f"dry run: nothing is written; {flags.output} would have {of}")
        return 0
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(flags.output) as new:
        new.write_text("".join(f"{int(target)} {one} {other}\n" for target, one, other in trials), encoding="utf-8")
    print(f"{flags.output}: {of}")
    return 0


def _chosen(flags: TrialFlags, speakers: Speakers) -> list[str]:
    """The speakers of the list, by name."""
    if flags.speakers is not None:
        return _listed(flags.speakers, speakers)
    if flags.first is None:
        return sorted(speakers.ids)
    sexes, chosen = speakers.known_sexes(), []
    groups: dict[str, list[str]] = {}
    for name in sorted(speakers.ids, key=text_order):
        groups.setdefault("" if sexes is None else sexes[name], []).append(name)
    for sex, names in groups.items():
        if len(names) < flags.first:
            kind = f" of {short(sex)}" if sexes is not None else ""
            raise ValueError(f"--first {flags.first}: there are {len(names)} speakers{kind}")
        chosen += names[: flags.first]
    return sorted(chosen)


def _listed(file: Path, speakers: Speakers) -> list[str]:
    names = set()
    for line, text in enumerate(read_text(file.expanduser()).removeprefix("\ufeff").split("\n"), 1):
        name = text.strip()
        if not name or name.startswith("#"):
            continue
        if name not in speakers.ids:
            some = cut(", ".join(sorted(speakers.ids)))
            raise ValueError(f"{file}: line {line}: no utterance of speaker {short(name)}; there are {some}")
        names.add(name)
    if not names:
        raise ValueError(f"{file}: no speaker in it: expected one a line")
    return sorted(names)
