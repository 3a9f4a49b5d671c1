"""The bad inputs of `--upstream`: a section of the table beside those of bad_input_cases.py."""
# ruff: noqa: E501

from tests.helpers.bad_input_cases import EXTRACT, Case, case

ANY = "runner_mockingjay.py --extract --cpu --upstream"
INFO = "runner_mockingjay.py --info"
OWN = "tests.helpers.bad_upstream_world"

UPSTREAMS: list[Case] = [
    case("kind of upstream that there is not", f"{ANY} wav2vec2:models/text/x --input flat", "'wav2vec2:models/text/x'", "hf:FOLDER"),
    case("upstream without its folder", f"{ANY} hf: --input flat", "'hf:'", "behind the colon"),
    case("expert without its folder", f"{ANY} s3prl --input flat", "s3prl:FOLDER"),
    case("file for the features themselves", f"{ANY} baseline:data/mel/train --input flat", "say baseline"),
    case("name of an upstream with a blank", f"{ANY} 'my own=baseline' --input flat", "'my own=baseline'"),
    case("step that a run has not", f"{EXTRACT} --ckpdir ckpt --upstream pretrained:old@7", "ckpt/old", "no checkpoint of that step", "1"),
    case("run that there is not", f"{EXTRACT} --ckpdir ckpt --upstream random:absent", "absent", "ckpt has killed, old"),
    case("checkpoint beside an upstream that names one", f"{ANY} pretrained:ckpt/good.ckpt --ckpt ckpt/good.ckpt", "--ckpt ckpt/good.ckpt", "leave"),
    case("checkpoint beside an upstream that takes none", f"{ANY} hf:models/bare --ckpt ckpt/good.ckpt", "--ckpt ckpt/good.ckpt", "leave"),
    case("fresh weights of nothing", f"{ANY} random --input flat", "random:FILE", "--ckpt FILE"),
    case("name of a run beside an upstream", f"{ANY} baseline --input data/mel/train --name old", "--name old", "leave"),
    case("seed of an upstream that draws nothing", f"{ANY} pretrained:ckpt/good.ckpt --seed 3", "--seed 3", "draws no weights"),
    case("assumption on an upstream that is no checkpoint", f"{ANY} baseline --input data/mel/train --assume shift=3", "--assume", "shift=3"),
    case("override of an upstream that is no checkpoint", f"{ANY} baseline --input data/mel/train model.max_input_length=9", "model.max_input_length=9", "would change nothing"),
    case("upstream of another mode", "runner_mockingjay.py --test --upstream baseline", "--test", "--upstream", "--extract"),
    case("upstream without data", f"{ANY} baseline", "--input", "store/split"),
    case("recordings for features that nobody states", f"{ANY} baseline --input flat", "which features?", "--online_config"),
    case("recordings for the config of a model", f"{ANY} random:good.yaml --input flat", "which features?", "--online_config"),
    case("features for a store", f"{ANY} baseline --input data/mel/train --online_config online.yaml", "data/mel/train", "--online_config"),
    case("other features than a checkpoint's", f"{EXTRACT} --ckpt ckpt/good.ckpt --input flat --online_config online_fbank.yaml", "--online_config", "'fbank'", "'mel'"),
    case("features in a config without them", f"{ANY} baseline --input flat --online_config good.yaml", "good.yaml", "no section online"),
    case("features with noise", f"{ANY} baseline --input flat --online_config noisy.yaml", "noisy.yaml", "dev_noise"),
    case("store and upstream of other features", f"{ANY} random:ckpt/good.ckpt --input data/fbank/train", "'fbank'", "'mel'"),
    case("layer of the features themselves", f"{ANY} baseline --input data/mel/train --layer T3", "layer T3", "(F)"),
    case("layer of odd signs", f"{ANY} random:ckpt/good.ckpt --input data/mel/train --layer 'T1?'", "--layer", "'T1?'", "ws:FILE"),
    case("layer listed twice", f"{ANY} random:ckpt/good.ckpt --input data/mel/train --layer 1,T1", "T1", "twice"),
    case("all layers in a list", f"{ANY} random:ckpt/good.ckpt --input data/mel/train --layer 0,all", "--layer", "'0,all'", "alone"),
    case("two layers into an archive", f"{ANY} random:ckpt/good.ckpt --input data/mel/train --layer 0,1 --format ark", "--format ark", "--layer 0,1"),
    case("states that are not finite", f"{ANY} {OWN}:NotFinite --input data/mel/train", "not finite", f"{OWN}:NotFinite"),
    case("module of one's own that is not there", f"{ANY} {OWN}:Absent --input data/mel/train", f"{OWN}:Absent", "Absent"),
    case("upstream over its own input", f"{ANY} baseline --input data/mel/train --output data/mel --overwrite", "data/mel/train", "--output"),
    case("description without features", f"{INFO} baseline", "--info baseline", "--input"),
    case("dry run of a description", f"{INFO} random:ckpt/good.ckpt --dry_run", "--info", "--dry_run"),
    case("description with a store of other features", f"{INFO} ckpt/good.ckpt --input data/fbank/train", "'fbank'", "'mel'"),
]  # fmt: skip
