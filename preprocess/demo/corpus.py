"""The built-in corpus: synthesised English of many speakers in LibriSpeech's layout, with exact phone times."""

import fcntl
import glob
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import yaml
from praatio import textgrid
from tqdm import tqdm

from preprocess.demo.material import Kind, Material, Texts, choose_material
from preprocess.demo.sentence_pairs import distinct_sentences, write_pairs
from preprocess.demo.speech import Speech, Synthesiser, synthesiser
from preprocess.demo.voices import Speaker, write_voices
from preprocess.parts.workers import in_fresh_processes
from utility.config import read_yaml
from utility.files import check_folder, naming
from utility.seeds import numpy_generator

SAMPLE_RATE = 16000
SPLITS = ("train", "dev", "test")
SETTINGS = "demo.yaml"  # written last: a folder that has it is finished
PAIRS = "pairs.csv"  # which utterances are pairs, and their scores
UNFINISHED = ".unfinished."  # in the name of the folder beside it
USUAL: Kind = "grammar"  # the sentences of a corpus that does not say which it has
CHAPTER = 1
LEAD = (0.05, 0.3)  # seconds of silence added before the speech
PEAK = (-15.0, -3.0)  # dB below full scale
NOISE = (-55.0, -35.0)  # dB, root mean square against the speech's peak


@dataclass(frozen=True)
class SpeakerPart:
    """One speaker's part of the corpus: `seconds` of `texts`, written under `root` by `data`'s voices."""

    root: Path
    data: Path
    speaker: Speaker
    texts: Texts
    seconds: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class CorpusFlags:
    """Which corpus is made, and where; `sts_pairs` is a user's file of sentence pairs."""

    output_path: Path
    minutes: float
    speakers: int
    seed: int
    n_jobs: int
    dry_run: bool
    sentences: Kind = "grammar"
    sts_pairs: Path | None = None


def make(flags: CorpusFlags) -> int:
    """Make the corpus, or find it made; a folder of the same name that is something else is a `ValueError`."""
    root = flags.output_path.expanduser()
    material = choose_material(flags.sentences, flags.sts_pairs, flags.minutes, flags.speakers, flags.seed)
    settings = {**material.settings, "seed": flags.seed, "synthesiser": synthesiser(), "format": 1}
    if is_made(root, settings):
        if not flags.dry_run:
            remove_unfinished(root)
        print(f"{root}: already made with these settings")
        return 0
    if flags.dry_run:
        print(f"config:\n  {', '.join(f'{name}: {value}' for name, value in settings.items())}")
        print(f"dry run: nothing is written; the output would go to {root}")
        return 0
    began = time.perf_counter()
    scratch = scratch_beside(root)
    try:
        made = synthesise_corpus(scratch / "corpus", scratch / "voices", material, flags.seed, flags.n_jobs)
        if material.pairs:
            write_pairs(scratch / "corpus" / PAIRS, material.pairs, utterances_of_pairs(material))
        written = {name: value for name, value in settings.items() if (name, value) != ("sentences", USUAL)}
        with naming(scratch):
            (scratch / "corpus" / SETTINGS).write_text(yaml.safe_dump(written, sort_keys=False))
        try:
            os.replace(scratch / "corpus", root)
        except OSError:
            if not is_made(root, settings):
                raise
            print(f"{root}: another process has made it meanwhile, with these settings")
            return 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report(root, material.cast, made, time.perf_counter() - began)
    return 0


def scratch_beside(root: Path) -> Path:
    """A new folder beside `root`, locked while this process lives; what killed runs left there is removed."""
    check_folder(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(root)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}{UNFINISHED}", dir=root.parent))
    _lock(scratch)
    return scratch


def remove_unfinished(root: Path) -> None:
    """Remove what killed runs left beside `root`."""
    for left in root.parent.glob(f".{glob.escape(root.name)}{UNFINISHED}*"):
        with suppress(OSError):
            if _lock(left):
                shutil.rmtree(left, ignore_errors=True)


def _lock(folder: Path) -> bool:
    """Lock `folder` until this process and those it forks end; False when another process holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    return True


def is_made(root: Path, settings: dict) -> bool:
    """Whether `root` holds the corpus of `settings`; `ValueError` when it holds anything else."""
    if not root.exists():
        return False
    if not (root / SETTINGS).is_file():
        raise ValueError(f"{root}: exists and is no finished demo corpus; remove it or choose another --output_path")
    there = {"sentences": USUAL, **read_yaml(root / SETTINGS)}
    for key, value in settings.items():
        if there.get(key) != value:
            raise ValueError(
                f"{root}: holds a corpus with {key} {there.get(key)}, not {value}; "
                f"remove it or choose another --output_path"
            )
    return True


def synthesise_corpus(root: Path, data: Path, material: Material, seed: int, n_jobs: int) -> dict:
    """Write the corpus of `material` under `root`; returns (utterances, seconds) of each reader.

    The synthesiser's state runs on from one utterance to the next, so a fresh process speaks each group of speakers.
    """
    cast, group = material.cast, material.group
    with naming(data):
        write_voices(data, cast)
    tasks = [
        SpeakerPart(root, data, speaker, texts, material.seconds, seed) for speaker, texts in zip(cast, material.texts)
    ]
    processes = min(len(tasks), os.cpu_count() or 1 if n_jobs == -1 else n_jobs)
    groups = [tasks[start : start + group] for start in range(0, len(tasks), group)]
    made: dict[int, tuple[int, float]] = {}
    with tqdm(total=len(tasks), unit="speaker", disable=not sys.stderr.isatty()) as bar:
        for spoken in in_fresh_processes(speak_all, groups, processes):
            made.update(spoken)
            bar.update(len(spoken))
    lines = ["; reader | sex | split | minutes | name"]
    lines += [
        f"{speaker.reader:<6} | {speaker.sex} | {speaker.split:<5} | {made[speaker.reader][1] / 60:5.2f} | "
        f"voice of {speaker.pitch[0]} Hz"
        for speaker in cast
    ]
    with naming(root):
        (root / "LibriSpeech" / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    return made


def speak_all(tasks: Sequence[SpeakerPart]) -> dict[int, tuple[int, float]]:
    """Write the utterances of some speakers; (utterances, seconds) of each reader."""
    return dict(map(speak, tasks))


def speak(task: SpeakerPart) -> tuple[int, tuple[int, float]]:
    """Write one speaker's utterances, transcripts and alignments; returns reader, (utterances, seconds)."""
    speaker = task.speaker
    chapter = Path(speaker.split, str(speaker.reader), str(CHAPTER))
    audio, alignments = task.root / "LibriSpeech" / chapter, task.root / "alignments" / chapter
    audio.mkdir(parents=True)
    alignments.mkdir(parents=True)
    generator = numpy_generator(task.seed, speaker.reader)
    voice = Synthesiser(task.data, speaker.voice)
    transcripts: list[str] = []
    seconds = 0.0
    for text in task.texts(speaker.split, generator):
        key = utterance_id(speaker, len(transcripts))
        rate = round(speaker.rate * generator.uniform(0.92, 1.08))
        pitch, pitch_range = generator.integers(44, 57), generator.integers(35, 66)
        speech = voice.say(f"{text}.", rate, int(pitch), int(pitch_range))
        lead = generator.uniform(*LEAD)
        waveform = recorded(speech.samples, voice.sample_rate, lead, speaker.colour, generator)
        write_flac(audio / f"{key}.flac", waveform)
        write_textgrid(alignments / f"{key}.TextGrid", text, speech, voice.sample_rate, lead, len(waveform))
        transcripts.append(f"{key} {text.replace(',', '').upper()}\n")
        seconds += len(waveform) / SAMPLE_RATE
        if seconds >= task.seconds:
            break
    names = audio / f"{speaker.reader}-{CHAPTER}.trans.txt"
    with naming(names):
        names.write_text("".join(transcripts))
    return speaker.reader, (len(transcripts), seconds)


def utterance_id(speaker: Speaker, number: int) -> str:
    """The id of a speaker's utterance, from 0."""
    return f"{speaker.reader}-{CHAPTER}-{number:04d}"


def utterances_of_pairs(material: Material) -> dict[str, list[str]]:
    """The utterances of each sentence of the pairs, one by each speaker; all speakers say them in one order."""
    spoken = distinct_sentences(material.pairs)
    return {text: [utterance_id(one, number) for one in material.cast] for number, text in enumerate(spoken)}


def write_flac(file: Path, waveform: np.ndarray) -> None:
    """Write int16 samples [N]; OSError names the file."""
    try:
        soundfile.write(file, waveform, SAMPLE_RATE, "PCM_16", compression_level=0)
    except soundfile.LibsndfileError:  # it says `System error.`
        raise OSError(f"{file}: cannot be written, perhaps the disk is full: choose another --output_path") from None


def recorded(
    samples: np.ndarray, sample_rate: int, lead: float, colour: float, generator: np.random.Generator
) -> np.ndarray:
    """int16 samples [N] at `sample_rate` -> int16 at 16 kHz with silence before, another level, and a little noise."""
    padded = np.zeros(round(lead * sample_rate) + len(samples), dtype=np.float32)
    padded[-len(samples) :] = samples
    speech = soxr.resample(padded, sample_rate, SAMPLE_RATE)
    peak = 32767 * 10 ** (generator.uniform(*PEAK) / 20)
    speech *= np.float32(peak / max(speech.max(), -speech.min()))
    white = generator.standard_normal(len(speech) + 1, dtype=np.float32)
    white *= np.float32(peak * 10 ** (generator.uniform(*NOISE) / 20) / np.hypot(1, colour))
    speech += white[1:]
    white *= np.float32(colour)
    speech += white[:-1]
    np.rint(speech, out=speech)
    return np.clip(speech, -32768, 32767, out=speech).astype(np.int16)


def write_textgrid(file: Path, text: str, speech: Speech, sample_rate: int, lead: float, num_samples: int) -> None:
    """Write the tiers `words` (silence empty) and `phones` (silence `sil`), both over the whole utterance."""
    end = num_samples / SAMPLE_RATE
    added = round(lead * sample_rate)
    starts = [round((added + phone.start) / sample_rate, 6) for phone in speech.phones]
    labels = [phone.label for phone in speech.phones]
    words = [phone.word for phone in speech.phones]
    if labels[0] == "sil":
        starts[0] = 0.0
    else:
        starts, labels, words = [0.0, *starts], ["sil", *labels], [None, *words]
    phones = list(zip(starts, [*starts[1:], end], labels))
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("words", list(word_intervals(text, words, phones)), 0, end))
    grid.addTier(textgrid.IntervalTier("phones", phones, 0, end))
    with naming(file):
        grid.save(str(file), format="long_textgrid", includeBlankSpaces=True)


def word_intervals(
    text: str, words: Sequence[int | None], phones: Sequence[tuple[float, float, str]]
) -> Iterator[tuple[float, float, str]]:
    """Each word from the start of its first phone to the end of its last; words that are spoken as one, together."""
    spoken = text.replace(",", "").lower().split()
    indices = sorted({word for word in words if word is not None})
    for index, following in zip(indices, [*indices[1:], len(spoken)]):
        first = words.index(index)
        last = first + words.count(index) - 1
        yield phones[first][0], phones[last][1], " ".join(spoken[index:following])


def report(root: Path, cast: Sequence[Speaker], made: dict[int, tuple[int, float]], seconds: float) -> None:
    """Print what was made, and how fast."""
    for split in SPLITS:
        parts = [made[speaker.reader] for speaker in cast if speaker.split == split]
        if not parts:
            continue
        print(
            f"{root / 'LibriSpeech' / split}: {sum(n for n, _ in parts)} utterances, "
            f"{sum(s for _, s in parts) / 60:.1f} minutes, {len(parts)} speakers"
        )
    total = sum(s for _, s in made.values())
    print(f"{total / 60:.1f} minutes in {seconds:.1f} s: {total / seconds:.0f} times faster than real time")
