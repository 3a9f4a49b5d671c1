"""The grammar of upstreams: what each form says, its label, the file it finds, and what is refused in one line."""

from pathlib import Path

import pytest

from commands.chosen import draws_weights, is_spec
from mockingjay.upstreams.spec import UpstreamSpec

FORMS = {  # text -> kind, source, file, label
    "pretrained:a/best.ckpt": ("pretrained", "a/best.ckpt", "", "pretrained"),
    "pretrained:run@200": ("pretrained", "run@200", "", "pretrained"),
    "transformer": ("pretrained", "", "", "transformer"),
    "pretrained_head:run": ("pretrained_head", "run", "", "pretrained_head"),
    "transformer_head": ("pretrained_head", "", "", "transformer_head"),
    "random:a/best.ckpt": ("random", "a/best.ckpt", "", "random"),
    "random:config/mine.yaml": ("random", "config/mine.yaml", "", "random"),
    "random:hf:models/hubert": ("random", "hf:models/hubert", "", "random"),
    "baseline": ("baseline", "", "", "baseline"),
    "hf:models/wav2vec2-base": ("hf", "models/wav2vec2-base", "", "hf_wav2vec2-base"),
    "hf:/abs/with:colon": ("hf", "/abs/with:colon", "", "hf_with:colon"),
    "s3prl:experts/apc": ("s3prl", "experts/apc", "", "s3prl_apc"),
    "s3prl:experts/apc:w/states.ckpt": ("s3prl", "experts/apc", "w/states.ckpt", "s3prl_apc"),
    "my.models:Encoder": ("own", "my.models:Encoder", "", "my.models:Encoder"),
    "my.models:Encoder:w/e.pt": ("own", "my.models:Encoder", "w/e.pt", "my.models:Encoder"),
    "models:Größe": ("own", "models:Größe", "", "models:Größe"),
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_is_read_named_and_typed_again(text):
    spec = UpstreamSpec.parse(text)
    kind, source, file, label = FORMS[text]
    assert (spec.kind, spec.source, spec.file, spec.name, spec.label) == (kind, source, file, "", label)
    assert str(spec) == text
    assert UpstreamSpec.parse(str(spec)) == spec
    named = UpstreamSpec.parse(f"my-own_1.2={text}")
    assert (named.label, named.kind, named.source, named.file) == ("my-own_1.2", kind, source, file)
    assert str(named) == f"my-own_1.2={text}"


def test_a_source_may_hold_equal_signs_and_blanks():
    spec = UpstreamSpec.parse("hf:my models/lr=1e-3")
    assert (spec.source, spec.name) == ("my models/lr=1e-3", "")
    spec = UpstreamSpec.parse("best=pretrained:lr=1/best.ckpt")
    assert (spec.source, spec.name) == ("lr=1/best.ckpt", "best")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown upstream ''"),
        ("bert", "unknown upstream 'bert'"),
        ("wav2vec2:folder/x", "unknown upstream 'wav2vec2:folder/x'"),
        ("hf", "needs a folder: hf:FOLDER"),
        ("s3prl", "needs a folder: s3prl:FOLDER"),
        ("hf:", "nothing stands behind the colon"),
        ("pretrained:", "nothing stands behind the colon"),
        ("name=", "unknown upstream 'name='"),
        ("baseline:data/x", "say baseline"),
        ("my models:Class", "unknown upstream"),
        ("models:1st", "unknown upstream"),
        ("a b=baseline", "unknown upstream"),
    ],
)
def test_what_is_no_spec_is_refused_in_one_line(text, said):
    with pytest.raises(ValueError, match=r".") as refused:
        UpstreamSpec.parse(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_a_step_and_a_file_are_found_below_the_folder_of_runs(tmp_path):
    run = tmp_path / "runs/mine"
    run.mkdir(parents=True)
    for name in ("best.ckpt", "mockingjay-200.ckpt", "mockingjay-400.ckpt"):
        (run / name).touch()

    def found(text: str) -> Path:
        return Path(UpstreamSpec.parse(text).located(tmp_path / "runs").source)

    for word in ("pretrained", "pretrained_head", "random"):
        assert found(f"{word}:mine") == run / "best.ckpt"
        assert found(f"{word}:mine@200") == run / "mockingjay-200.ckpt"
        assert found(f"{word}:mine/mockingjay-400.ckpt") == run / "mockingjay-400.ckpt"
        assert found(f"x={word}:{run}") == run / "best.ckpt"
    with pytest.raises(ValueError, match="has no checkpoint of that step, but of 200, 400"):
        found("pretrained:mine@300")
    with pytest.raises(ValueError, match=r"there is no such run, here or below .*runs; .*runs has mine"):
        found("pretrained:other@200")
    with pytest.raises(ValueError, match=r"upstream random: other does not exist.*has mine"):
        found("random:other")


@pytest.mark.parametrize(
    "text", ["hf:models/x", "s3prl:x", "m:C", "random:a.yaml", "random:hf:x", "baseline", "random"]
)
def test_what_is_no_checkpoint_stays_as_it_is(text):
    spec = UpstreamSpec.parse(text)
    assert spec.located(Path("nowhere")) == spec


def test_a_checkpoint_s_path_is_no_spec_and_a_spec_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [text for text in FORMS if not is_spec(text, Path("runs"))] == []
    assert is_spec("mine=baseline", Path("runs"))
    assert not is_spec("run@200", Path("runs"))
    assert not is_spec("absent.ckpt", Path("runs"))
    assert not is_spec("lr=1/absent.ckpt", Path("runs"))
    for path in (Path("runs/baseline/best.ckpt"), Path("odd:name/best.ckpt")):
        path.parent.mkdir(parents=True)
        path.touch()
    assert not is_spec("baseline", Path("runs"))  # a run of that name
    assert not is_spec("odd:name", Path("runs"))


def test_which_upstreams_the_seed_changes():
    drawn = {text for text in FORMS if draws_weights(UpstreamSpec.parse(text))}
    assert {text.partition(":")[0] for text in drawn} == {"random", "my.models", "models", "s3prl"}
    assert "my.models:Encoder:w/e.pt" not in drawn
