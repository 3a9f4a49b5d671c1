"""The commands that campaigns disturb: what is typed, what is typed to go on, and what was there before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PRETRAIN = "runner_mockingjay.py --train --cpu --no-msg --ckpdir ckpt --logdir log --name run --config {w}/config"
EXTRACT = "runner_mockingjay.py --extract --cpu --no-msg --output states --ckpt {w}/ckpt"
PHONES = "--run phone_linear --ckpt {w}/ckpt/mel/best.ckpt"
PROBE = "run_downstream.py --cpu --no-msg --expdir exp --name run --config {w}/config/probe.yaml"
EXPORT = "runner_mockingjay.py --no-msg --output folder --ckpt {w}/ckpt/base/best.ckpt --export"
ALIGN = "preprocess/preprocess_alignment.py --data_path {w}/ctm_new --name phones"


@dataclass(frozen=True)
class Scenario:
    """`commands` run one after the other in an empty folder, after those of `before`, which are never disturbed.

    With `resumes` a command that is repeated says `--resume`, unless there is nothing to resume yet. In the words, {w}
    is the folder of the world."""

    name: str
    commands: tuple[str, ...]
    resumes: bool = False
    before: tuple[str, ...] = ()
    draws: bool = False  # else its pictures stay blank

    @property
    def prepare(self) -> str | None:
        """What the child calls before its script."""
        return None if self.draws else "tests.campaign.pictures:leave_blank"

    def words(self, number: int, world: Path) -> list[str]:
        """The words of a command."""
        return split(self.commands[number], world)


def split(command: str, world: Path) -> list[str]:
    """The words of a command line that holds {w}."""
    return [word.replace("{w}", str(world)) for word in command.split()]


def scenario(
    name: str, *commands: str, resumes: bool = False, before: Sequence[str] = (), draws: bool = False
) -> Scenario:
    """A row of the table."""
    return Scenario(name, commands, resumes, tuple(before), draws)


SCENARIOS = (
    scenario("any_jobs2", "preprocess/preprocess_any.py --data_path {w}/flat --name out --n_jobs 2"),
    scenario("any_shards", *(
        f"preprocess/preprocess_any.py --data_path {{w}}/flat --name out --n_jobs 1 --shard {n}/2" for n in (1, 2)
    )),
    scenario("libri_jobs2", "preprocess/preprocess_libri.py --data_path {w}/libri --name out --n_jobs 2"),
    scenario("libri_f16_linear", "preprocess/preprocess_libri.py --data_path {w}/libri --name out --n_jobs 1 "
             "--feature_type linear --dtype float16"),
    scenario("timit_deltas", "preprocess/preprocess_timit.py --data_path {w}/timit --name out --n_jobs 2 --delta "
             "--feature_type mfcc"),
    scenario("train_w0", f"{PRETRAIN}/train.yaml", resumes=True),
    scenario("train_w0_accum", f"{PRETRAIN}/train.yaml trainer.accumulation=2 trainer.save_every=1", resumes=True),
    scenario("train_w2", f"{PRETRAIN}/train.yaml loader.workers=2", resumes=True),
    scenario("train_apc_gru", f"{PRETRAIN}/apc.yaml", resumes=True),
    scenario("online_w0", f"{PRETRAIN}/online.yaml", resumes=True),
    scenario("online_w2", f"{PRETRAIN}/online.yaml loader.workers=2", resumes=True),
    scenario("extract_store", f"{EXTRACT}/mel/best.ckpt --input {{w}}/data/mel/train --layer all"),
    scenario("extract_audio", f"{EXTRACT}/base/best.ckpt --input {{w}}/libri --layer all"),
    scenario("extract_audio_shards", *(
        f"{EXTRACT}/base/best.ckpt --input {{w}}/libri --shard {n}/2" for n in (1, 2)
    )),
    scenario("extract_audio_gru", f"{EXTRACT}/gru/best.ckpt --input {{w}}/flat --layer all"),
    scenario("extract_ark", f"{EXTRACT}/mel/best.ckpt --input {{w}}/data/mel/train --format ark"),
    scenario("test_mode", "runner_mockingjay.py --test --cpu --no-msg --output states --ckpt {w}/ckpt/mel/best.ckpt "
             "--input {w}/data/mel/test"),
    scenario("plot", "runner_mockingjay.py --plot --cpu --no-msg --output pictures --ckpt {w}/ckpt/mel/best.ckpt "
             "--input {w}/data/mel/test --num 1", draws=True),
    scenario("probe_ws_cache", f"{PROBE} {PHONES} --weighted_sum", resumes=True),
    scenario("probe_baseline", f"{PROBE} --run phone_1hidden --upstream baseline", resumes=True),
    scenario("probe_fine_tune", f"{PROBE} {PHONES} --fine_tune", resumes=True),
    scenario("probe_speaker", f"{PROBE} --run speaker_utterance --upstream baseline data.split=utterance "
             "data.dev=[] data.test=[] data.dev_share=0.34 data.test_share=0.34", resumes=True),
    scenario("probe_sweep", f"{PROBE} --run phone_linear --upstream baseline --sweep lr=0.01,0.02", resumes=True),
    scenario("alignment", ALIGN),
    scenario("alignment_again", ALIGN, before=[ALIGN.replace("ctm_new", "ctm_old")]),
    scenario("demo_corpus", "preprocess/demo_corpus.py --output_path demo --minutes 0.1 --speakers 3 --n_jobs 2"),
    scenario("apc", "preprocess/preprocess_apc.py --data_path {w}/apc --name out"),
    scenario("lengths", "preprocess/generate_len_for_bucket.py --data_path {w}/libri --n_jobs 1"),
    scenario("export_hf", f"{EXPORT} hf"),
    scenario("export_s3prl", f"{EXPORT} s3prl"),
    scenario("export_safetensors", f"{EXPORT} safetensors"),
)  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
