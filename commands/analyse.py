"""Look inside the layers of one or many upstreams."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.config import AnalysisConfig
from analysis.experiment_names import EXPERIMENTS
from analysis.experiments_units import NAME as UNITS
from analysis.figures.draw import draw_what_can_be
from analysis.report import (
    experiments_content,
    in_words,
    write_orders,
    write_original_files,
    write_samples,
    write_tables,
)
from analysis.study import Outcome, Plan, Study
from commands.analysis_probes import with_probes
from commands.analysis_subjects import open_subjects, with_controls
from commands.common import ELSEWHERE, now_and_then
from commands.dry_run import print_plan
from commands.settings import Analyse
from mockingjay.foreign.assumptions import in_words as assumed_in_words
from mockingjay.inputs import source_fingerprint
from mockingjay.upstreams.spec import UpstreamSpec
from utility.config import as_dict, differences, read_yaml, resolve, write_yaml
from utility.device import claim_device
from utility.files import check_folder, remove_leftovers
from utility.locks import LOCK, folder_below, held
from utility.peak_memory import peak_memory_mib
from utility.runs import Metric, Origin, header, write_json
from utility.text import short
from utility.threads import blas_in_the_calling_thread

ROOM = "result_analysis"
CONFIG = "config.yaml"


def analyse(settings: Analyse) -> int:
    """Run what the settings say, write it and print the best layers."""
    started = time.perf_counter()
    with ExitStack() as stack:
        directory = folder_below(settings.expdir / ROOM, settings.name, settings.resume)
        if not settings.dry_run:
            stack.enter_context(held(directory, ELSEWHERE))
        config = _config(settings, directory)
        specs = with_controls(settings.upstreams) if settings.controls else settings.upstreams
        cache = directory / "cache" if config.data.cache is None else Path(config.data.cache).expanduser()
        device = claim_device(settings.cpu)
        subjects = open_subjects(specs, config, settings, device)
        subjects = with_probes(subjects, specs, config, settings.run, device, cache)
        plan = Plan(
            settings.run,
            settings.everything,
            settings.samples,
            settings.bootstrap,
            settings.layer,
            settings.seed,
            cache,
            not settings.msg,
        )
        study = Study(subjects, config, plan, now_and_then(settings.msg))
        known = _say_skipped(study.outcome.skipped)
        check_folder(cache)
        if settings.dry_run:
            _print_plan(study, config, directory)
            return 0
        directory.mkdir(parents=True, exist_ok=True)
        remove_leftovers(directory)
        write_yaml(config, directory / CONFIG)
        with _nothing_left(directory), blas_in_the_calling_thread():
            outcome = study.run()
        _say_skipped(outcome.skipped, known)
        content = _write(settings, config, specs, study, outcome, directory, started)
        print(in_words(content["experiments"]))
        print(f"{directory}/result.json")
        return _drawn(content, directory)


@contextmanager
def _nothing_left(directory: Path) -> Iterator[None]:
    """A run that fails before it kept anything leaves no folder; one that did goes on with --resume."""
    try:
        yield
    except (ValueError, OSError):
        files = [path for path in directory.rglob("*") if path.is_file() and path.name != LOCK]
        if files == [directory / CONFIG]:
            files[0].unlink()
            for folder in sorted(filter(Path.is_dir, directory.rglob("*")), reverse=True):
                folder.rmdir()
        raise


def _say_skipped(skipped: Mapping[str, str], known: Sequence[str] = ()) -> tuple[str, ...]:
    """Say which experiments are not run and why, but for those that are known; gives the names of all."""
    for name, reason in skipped.items():
        if name not in known:
            print(f"{name}: skipped, it {reason}" if reason.startswith("needs") else f"{name}: skipped: {reason}")
    return tuple(skipped)


def _config(settings: Analyse, directory: Path) -> AnalysisConfig:
    """The config that is meant: of --config, or of a run that goes on, which may not change."""
    there = directory / CONFIG
    going_on = settings.resume is not None and there.is_file()
    source = settings.config if settings.config is not None else there if going_on else None
    config = resolve(AnalysisConfig, source, settings.overrides)
    if not settings.upstreams and any(word.startswith("data.store=") for word in settings.overrides):
        raise ValueError(f"data.store would change nothing: {settings.run[0]} runs no upstream, leave it out")
    if settings.upstreams and not config.data.store:
        raise ValueError(
            "data.store is empty: say what is looked at, as data.store=[data/NAME/SPLIT], here or in a YAML of --config"
        )
    if going_on:
        for name, was, now in sorted(differences(read_yaml(there), as_dict(config)), key=str):
            change = f"{name} was {short(was)}, now {short(now)}"
            raise ValueError(f"{directory} cannot be continued: {change}; give the run another --name")
    return config


def _print_plan(study: Study, config: AnalysisConfig, directory: Path) -> None:
    here = study.utterances
    lines = [f"{len(here.ids)} utterances, {here.durations.sum() / 3600:.4f} hours, {len(set(here.speakers))} speakers"]
    more = []
    for name, experiments in study.outcome.experiments.items():
        about = ", ".join(f"{key} {value}" for key, value in experiments[0].about().items() if isinstance(value, int))
        more.append(f"{name}: {about}")
        more += [f"  {subject.name}: {', '.join(study.labels[name, subject.name])}" for subject in study.subjects]
    for coded in study.coded:
        books = f"{coded.codebooks} codebook{'s' if coded.codebooks > 1 else ''}"
        more.append(f"{UNITS}: {coded.name}: {books} of {coded.size} codes")
    print_plan(config, lines, {subject.name: subject.upstream for subject in study.subjects}, directory, *more)


def _write(
    settings: Analyse,
    config: AnalysisConfig,
    specs: Sequence[UpstreamSpec],
    study: Study,
    outcome: Outcome,
    directory: Path,
    started: float,
) -> dict[str, Any]:
    """All files of a run but its figures; result.json last."""
    experiments = experiments_content(study, outcome)
    content = _header(settings, config, specs, study, outcome) | {
        "experiments": experiments,
        "curves": _curves(specs, study),
        "skipped": outcome.skipped,
        "samples": settings.samples,
        "bootstrap": settings.bootstrap,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mib": round(peak_memory_mib(), 1),
    }
    corpus = study.subjects[0].corpus if study.subjects else None
    if corpus is not None:
        write_samples(directory / "samples", study, dict(zip(corpus.ids, map(str, corpus.audio_paths))))
    write_tables(directory, experiments)
    write_orders(directory, experiments)
    if settings.original_files and corpus is not None:
        write_original_files(directory / "original", outcome, study.material, corpus.paths[0].name)
    write_json(directory / "result.json", content)
    return content


def _drawn(content: Mapping[str, Any], directory: Path) -> int:
    """The figures of a result that is kept already; the exit code, 1 where some cannot be drawn, which is said."""
    failed = draw_what_can_be(content, directory)
    for name, reason in failed.items():
        print(f"figure {name} cannot be drawn: {reason}; all else is there: go on with --resume", file=sys.stderr)
    return int(bool(failed))


def _header(
    settings: Analyse, config: AnalysisConfig, specs: Sequence[UpstreamSpec], study: Study, outcome: Outcome
) -> dict[str, Any]:
    names = [name for name in EXPERIMENTS if name in outcome.experiments or name in outcome.contents]
    first = names[0]
    entry = EXPERIMENTS[first]
    origins = {
        subject.name: Origin(subject.upstream.fingerprint, {"spec": str(spec), "step": subject.upstream.step})
        for spec, subject in zip(specs, study.subjects)
    }
    curves = [subject.name for subject in study.subjects]
    if study.units is not None:
        origins |= study.units.origins(study.plan.cache)
        curves = curves or study.units.names
    if study.subjects:
        corpus = study.subjects[0].corpus
        about: dict[str, Any] = {"paths": corpus.names}
        if any(corpus.lists):
            about["lists"] = [listed and listed.about() for listed in corpus.lists]
        origins["data"] = Origin(source_fingerprint(study.subjects[0].upstream, corpus, study.plan.cache), about)
    cca = config.cca
    return header(
        kind="analysis",
        task=",".join(names),
        upstream=",".join(curves),
        metric=Metric(first, entry.measure, entry.unit, entry.better),
        value=None,
        dev_value=None,
        division={
            "folds": cca.folds,
            "trials": cca.trials,
            "group": cca.group,
            "utterances": len(study.utterances.ids),
        },
        config=as_dict(config),
        seed=settings.seed,
        origins=origins,
        command=_command(settings),
    )


def _curves(specs: Sequence[UpstreamSpec], study: Study) -> dict[str, Any]:
    """What the curves are: the upstream's spec, layers, step, and whether it is a control."""
    curves = {}
    for spec, subject in zip(specs, study.subjects):
        series, _, step = subject.name.rpartition("@")
        curves[subject.name] = {
            "spec": str(replace(spec, name="")),
            "control": spec.kind in ("baseline", "random"),
            "layers": list(subject.labels),
            "series": series if series and step.isdecimal() else None,
            "step": subject.upstream.step,
            "widths": {label: subject.upstream.width(label) for label in subject.labels},
        }
    for coded in study.coded:
        curves[coded.name] = {
            "spec": ",".join(coded.store.names),
            "control": False,
            "layers": coded.labels,
            "series": None,
            "step": None,
            "widths": {},
        }
    return curves


def _command(settings: Analyse) -> str:
    """What repeats the run, but for its place."""
    words = ["python", "run_analysis.py", "--run", "all" if settings.everything else ",".join(settings.run)]
    for spec in settings.upstreams:
        words += ["--upstream", str(spec)]
    given: dict[str, Any] = {"--layer": settings.layer, "--online_config": settings.online_config}
    given |= {"--seed": settings.seed, "--samples": settings.samples if settings.upstreams else None}
    given |= {"--bootstrap": settings.bootstrap}
    given |= {"--assume": assumed_in_words(settings.assume) if settings.assume else None}
    for flag, value in given.items():
        words += [] if value is None else [flag, str(value)]
    words += ["--controls"] if settings.controls else []
    return shlex.join([*words, "--config", "config.yaml", *(["--cpu"] if settings.cpu else [])])
