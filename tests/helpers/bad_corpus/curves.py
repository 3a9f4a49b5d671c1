"""The bad inputs of curves."""
# ruff: noqa: E501

from pathlib import Path

from tests.helpers.bad_input_cases import PHONE, RUN, SPEAKER, Case, case

BASELINE, EACH = f"{PHONE} baseline", "--each data.label_fraction=1,0.5"
FILE = f"{RUN} --run phone_linear --config curves"

CASES: list[Case] = [
    case("curve over no values", f"{BASELINE} --each data.label_fraction", "--each 'data.label_fraction'", "key=value"),
    case("curve over an unknown key", f"{BASELINE} --each label_fracton=1,0.5", "'label_fracton'", "did you mean 'data.label_fraction'?"),
    case("curve with a wrong value", f"{BASELINE} --each data.label_fraction=1,0", "'data.label_fraction'", "0", "greater than 0"),
    case("curve with a value of another kind", f"{BASELINE} --each data.label_fraction=1,all", "'data.label_fraction'", "'all'"),
    case("curve with a value twice", f"{BASELINE} --each data.label_fraction=1,0.5,0.50", "--each", "label_fraction=0.50", "twice"),
    case("curve over two keys", f"{BASELINE} {EACH} --each lr=1e-3,1e-2", "--each lr=1e-3,1e-2", "one key"),
    case("curve and sweep over one key", f"{BASELINE} {EACH} --sweep label_fraction=1,0.5", "--sweep and --each", "data.label_fraction"),
    case("curve over a key that a word sets", f"{BASELINE} {EACH} data.label_fraction=0.5", "data.label_fraction=0.5 and --each"),
    case("curve over layers of which one is not there", f"{BASELINE} --each layer=0,1", "baseline, layer=1: ", "only hidden state 0"),
    case("curve of several upstreams over one's layers", f"{PHONE} baseline --upstream net=random:good.yaml --each layer=0,1", "baseline, layer=1: "),
    case("curve of two upstreams of one name", f"{BASELINE} --upstream baseline {EACH}", "two upstreams are called baseline", "NAME=SPEC"),
    case("several upstreams without a curve", f"{BASELINE} --upstream net=random:good.yaml", "--upstream baseline and net=random:good.yaml", "--each"),
    case("checkpoint of a curve's upstreams that take none", f"{BASELINE} --upstream mel=baseline {EACH} --ckpt ckpt/good.ckpt", "--ckpt ckpt/good.ckpt", "takes none"),
    case("curve with an upstream that is not there", f"{BASELINE} --upstream a=pretrained:nowhere {EACH}", "nowhere does not exist"),
    case("labels of less than an utterance of a speaker", f"{SPEAKER} baseline --each data.label_fraction=1,0.05", "label_fraction=0.05", "less than one for each of the 4 speakers"),
    case("curve that is in folds of nothing", f"{BASELINE} --folds --each data.dev_groups=1,9", "dev_groups=9", "data.dev_groups=9"),
    case("curve of a file and a checkpoint", f"{FILE}/good.yaml --ckpt ckpt/good.ckpt", "--ckpt ckpt/good.ckpt", "curves/good.yaml", "curve.upstreams"),
    case("section of curves without a curve's keys", f"{FILE}/keys.yaml", "curves/keys.yaml", "'curve.value'"),
    case("section of curves that is a list", f"{FILE}/list.yaml", "curves/list.yaml", "'curve'", "section"),
    case("section of curves without seeds", f"{FILE}/seeds.yaml", "curves/seeds.yaml", "'curve.seeds'", "0"),
    case("section of curves on the command line", f"{BASELINE} curve.seeds=3", "curve.seeds=3", "--seeds"),
]  # fmt: skip


def build(root: Path) -> None:
    """Write what the cases need under `root`."""
    (root / "curves").mkdir()
    sections = {"good": "{upstreams: [baseline]}", "keys": "{value: [1]}", "list": "[1, 2]", "seeds": "{seeds: 0}"}
    for name, section in sections.items():
        (root / "curves" / f"{name}.yaml").write_text(f"curve: {section}\n")
