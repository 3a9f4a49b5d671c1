"""The table of bad inputs: what is wrong, the command that meets it, and what its one line must name."""
# ruff: noqa: E501

from dataclasses import dataclass

LIBRI, TIMIT, ANY = "preprocess_libri.py", "preprocess_timit.py", "preprocess_any.py"
ALIGN, DEMO, APC = "preprocess_alignment.py", "demo_corpus.py", "preprocess_apc.py"
LENGTHS = "generate_len_for_bucket.py"
NEW = "runner_mockingjay.py --train --cpu --ckpdir ckpt --name new"
ONLINE = f"{NEW} --config good.yaml --online_config online.yaml"
OLD = "runner_mockingjay.py --train --cpu --ckpdir ckpt --name old"
KILLED = "runner_mockingjay.py --train --cpu --ckpdir ckpt --name killed"
TEST, PLOT, EXTRACT = (f"runner_mockingjay.py --{mode} --cpu" for mode in ("test", "plot", "extract"))
RUN = "run_downstream.py --cpu --no-msg --expdir exp"
PICTURED = "--ckpt ckpt/good.ckpt --input data/mel/dev --output drawn --alignment"
ALTERED = "runner_mockingjay.py --plot --alterations"
DATA = "data.train=[data/mel/train] data.alignment=phones data.cache=cache"
PHONE = f"{RUN} --run phone_linear {DATA} --upstream"
CLASSIC = f"runner_mockingjay.py --cpu --expdir exp {DATA}"
SCORE, DONE = f"runner_mockingjay.py --cpu {DATA}", "exp/result_baseline_phone_linear/done/best.ckpt"
SPEAKER = f"{RUN} --run speaker_utterance data.train=[data/mel/train] data.cache=cache --upstream"


@dataclass(frozen=True)
class Case:
    """A command, run in the folder of `build_world`, and words that its line must hold."""

    what: str
    command: str
    names: tuple[str, ...]
    code: int = 2
    needs: str = ""  # a package without which the command ends otherwise
    without: str = ""  # a package that must not be there

    @property
    def id(self) -> str:
        """The name of the test."""
        return self.what.replace(" ", "_")


def case(what: str, command: str, *names: str, code: int = 2, needs: str = "", without: str = "") -> Case:
    """A row of the table."""
    return Case(what, command, names, code, needs, without)


FLAGS = [
    case("mistyped mode", "runner_mockingjay.py --tain", "--tain", "did you mean --train?"),
    case("nothing to do", "runner_mockingjay.py", "--train"),
    case("flag of another mode", f"{EXTRACT} --ckpt ckpt/good.ckpt --num 3", "--extract", "--num", "--plot"),
    case("override of another mode", f"{EXTRACT} --ckpt ckpt/good.ckpt trainer.steps=3", "--extract", "trainer.steps=3", "data.test"),
    case("override beside what it changes", f"{EXTRACT} --ckpt ckpt/good.ckpt --input data/mel/dev data.test=[data/mel/test]", "data.test", "--input"),
    case("TF32 on a CPU", f"{EXTRACT} --ckpt ckpt/good.ckpt --input data/mel/dev --precision tf32", "tf32 needs a GPU", "fp32 or bf16"),
    case("checkpoint that training would not use", f"{NEW} --ckpt ckpt/good.ckpt", "--ckpt", "--load"),
    case("folder without a checkpoint of a run", f"{EXTRACT} --ckpt empty", "empty", "no checkpoint"),
    case("flag of the originals", f"{NEW} --multi_gpu", "--multi_gpu", "torchrun"),
    case("flag of the originals for probes", f"{PHONE} baseline --phone_set montreal_phone", "--phone_set", "preprocess_alignment.py"),
    case("S3PRL's command line", "run_downstream.py -m train -u fbank -d phone_linear -n x", "run_downstream.py --upstream baseline --run phone_linear --name x"),
    case("APC for an upstream", f"{PHONE} apc", "--upstream pretrained --ckpt FILE"),
    case("no task", "run_downstream.py --upstream baseline", "--run", "phone_linear"),
    case("name of a resumed folder", f"{PHONE} baseline --resume exp/x --name y", "--resume exp/x", "--name"),
]  # fmt: skip

AUDIO = [
    case("corpus that does not exist", f"{LIBRI} --data_path nowhere", "nowhere", "no such folder"),
    case("a file for a corpus", f"{LIBRI} --data_path notes.txt", "notes.txt"),
    case("corpus without audio", f"{LIBRI} --data_path empty", "empty", "no audio", "<split>/<speaker>"),
    case("corpus of another layout", f"{LIBRI} --data_path flat", "flat", "<split>/<speaker>/<chapter>"),
    case("TIMIT without audio", f"{TIMIT} --data_path timit", "timit", "{TRAIN,TEST}"),
    case("folder without audio", f"{ANY} --data_path wordy", "wordy", ".flac"),
    case("no corpus named", ANY, "--data_path"),
    case("unknown split", f"{LIBRI} --data_path . --splits dev-clean dev-dirty", "dev-dirty", "test-clean"),
    case("unknown split of a folder", f"{ANY} --data_path twins --splits c", "no split c", "a, b, all"),
    case("unknown feature type", f"{LIBRI} --data_path . --feature_type mell", "--feature_type", "'mell'", "kaldi_fbank"),
    case("linear features with deltas", f"{LIBRI} --data_path . --feature_type linear --delta", "linear", "--delta"),
    case("second without first deltas", f"{LIBRI} --data_path . --no-delta --delta_delta", "--delta_delta needs --delta"),
    case("boolean that is none", f"{LIBRI} --data_path . --delta=maybe", "--delta", "'maybe'", "True or False"),
    case("shard beyond the last", f"{LIBRI} --data_path . --shard 3/2", "--shard", "3/2", "I/N"),
    case("zero jobs", f"{LIBRI} --data_path . --n_jobs 0", "--n_jobs", "'0'", "-1"),
    case("Dask scheduler without a port", f"{LIBRI} --data_path . --dask head", "--dask", "'head'", "tcp://host:8786"),
    case("unknown flag", f"{LIBRI} --data_path . --aply_cmvn", "--aply_cmvn"),
    case("sample rate out of range", f"{LIBRI} --data_path . --sample_rate 100", "sample_rate", "100", "4000"),
    case("two files of one id", f"{ANY} --data_path twins --id_from stem", "a/x.wav", "b/x.wav", "'x'"),
    case("speaker rule without group", f"{ANY} --data_path flat --speaker_from x.", "speaker_from", "'x.'", "group"),
    case("manifest without paths", f"{ANY} --data_path no_path.csv", "no_path.csv", "no column path", "id, name"),
    case("manifest with a short line", f"{ANY} --data_path ragged.csv", "ragged.csv", "line 3"),
    case("manifest with a bad split name", f"{ANY} --data_path split.csv", "'../up'", "letters"),
    case("recording for a manifest", f"{ANY} --data_path flat/good.flac", "flat/good.flac", "table"),
    case("store of other features there", f"{LIBRI} --data_path . --name fbank --delta=False", "data/fbank/features.yaml", "'fbank'", "'mel'"),
    case("store folder is a file", f"{LIBRI} --data_path . --output_path notes.txt", "notes.txt", "not a folder"),
]  # fmt: skip

APC_FILES = [
    case("APC features that do not exist", f"{APC} --data_path nowhere", "nowhere", "no such file or folder"),
    case("folder without APC features", f"{APC} --data_path empty", "empty", ".blogmel", "lengths.pkl"),
    case("APC text with a short frame", f"{APC} --data_path apc/narrow.blogmel", "apc/narrow.blogmel", "line 3", "1 numbers, expected 2"),
    case("APC text without its last dot", f"{APC} --data_path apc/unended.blogmel", "apc/unended.blogmel", "'a'"),
    case("APC text with an utterance twice", f"{APC} --data_path apc/twice.blogmel", "apc/twice.blogmel", "line 4", "'a'"),
    case("Kaldi's own text for APC's", f"{APC} --data_path apc/kaldi.blogmel", "apc/kaldi.blogmel", "line 1", "utterance id"),
    case("APC text cut off", f"{APC} --data_path apc/cut.blogmel.xz", "apc/cut.blogmel.xz", "cut off"),
    case("APC texts of two sizes", f"{APC} --data_path apc/partly.blogmel apc/wide.blogmel", "apc/wide.blogmel", "3 numbers", "2"),
    case("APC lengths that would run code", f"{APC} --data_path apc/runs", "apc/runs/lengths.pkl", "not a table of lengths"),
    case("APC folder without its tensors", f"{APC} --data_path apc/lost", "apc/lost", "lengths.pkl"),
    case("split that the APC features have not", f"{APC} --data_path apc/wide.blogmel --splits dev", "dev", "wide"),
    case("frames without duration", f"{APC} --data_path apc/wide.blogmel --frame_shift 0", "frame_shift", "0.0"),
]  # fmt: skip

ALIGNMENTS = [
    case("alignment files that do not exist", f"{ALIGN} --data_path nowhere", "nowhere", "no such file or folder"),
    case("folder without alignment files", f"{ALIGN} --data_path empty", "empty", "no alignment files"),
    case("broken TextGrid", f"{ALIGN} --data_path grids_bad", "grids_bad/broken.TextGrid", "not a readable TextGrid"),
    case("segments that overlap", f"{ALIGN} --data_path grids_overlap", "overlap.TextGrid", "overlap in time", "0.6"),
    case("segments that overlap in a CTM", f"{ALIGN} --data_path overlap.ctm", "utt: segment 2", "0.6 s"),
    case("tier that is not there", f"{ALIGN} --data_path grids_sound --tier words", "sound.TextGrid", "'words'", "'phones'"),
    case("CTM line with too few fields", f"{ALIGN} --data_path wrong.ctm", "wrong.ctm:1", "utterance channel start"),
    case("CTM line without a time", f"{ALIGN} --data_path times.ctm", "times.ctm:1", "'zero'"),
    case("utterance twice in a CTM", f"{ALIGN} --data_path twice.ctm", "'u'", "twice.ctm"),
    case("JSON of another form", f"{ALIGN} --data_path labels.json", "labels.json", "{token:"),
    case("unknown phone set", f"{ALIGN} --data_path grids --phone_set ipa", "--phone_set", "'ipa'", "arpabet39"),
    case("phone set of words", f"{ALIGN} --data_path grids --tier words --phone_set arpabet39", "--phone_set", "--tier=phones"),
    case("alignment over a foreign folder", f"{ALIGN} --data_path twice.ctm --output_path . --name demo", "demo", "notes.txt"),
    case("alignment folder is a file", f"{ALIGN} --data_path grids --output_path notes.txt", "notes.txt", "not a folder"),
    case("demo corpus of no length", f"{DEMO} --minutes 0", "--minutes", "0"),
    case("demo corpus of two speakers", f"{DEMO} --speakers 2", "--speakers", "2", "3"),
    case("demo corpus over a foreign folder", f"{DEMO} --output_path demo", "demo", "remove it or choose another"),
    case("demo corpus made otherwise", f"{DEMO} --output_path demo_other", "demo_other", "minutes 1.0, not 30.0"),
    case("demo corpus with broken settings", f"{DEMO} --output_path demo_broken", "demo_broken/demo.yaml"),
    case("demo corpus below a file", f"{DEMO} --output_path notes.txt/demo", "notes.txt", "not a folder"),
    case("demo corpus of unknown sentences", f"{DEMO} --sentences letters", "--sentences", "'letters'", "words"),
    case("length of a corpus of pairs", f"{DEMO} --sentences sts --minutes 5", "--minutes", "leave it out"),
    case("sentence pairs that do not exist", f"{DEMO} --sts_pairs nowhere.csv", "nowhere.csv"),
    case("sentence pairs without their columns", f"{DEMO} --sts_pairs notes.txt", "notes.txt", "pair,sentence_a,sentence_b,score"),
    case("sentence pairs beside other sentences", f"{DEMO} --sts_pairs notes.txt --sentences words", "--sts_pairs", "--sentences words"),
]  # fmt: skip

CONFIGS = [
    case("config that does not exist", f"{NEW} --config nowhere.yaml", "nowhere.yaml"),
    case("folder for a config", f"{NEW} --config data", "data: Is a directory"),
    case("broken YAML", f"{NEW} --config broken.yaml", "broken.yaml", "not valid YAML", "line 2"),
    case("config in another encoding", f"{NEW} --config latin.yaml", "latin.yaml", "UTF-8"),
    case("YAML that is a list", f"{NEW} --config list.yaml", "list.yaml", "expected sections and keys", "list"),
    case("unknown section", f"{NEW} --config section.yaml", "section.yaml", "'modle'", "'model'"),
    case("unknown key", f"{NEW} --config key.yaml", "key.yaml", "'model.hiden_size'", "'hidden_size'"),
    case("value of the wrong type", f"{NEW} --config type.yaml", "type.yaml", "'model.layers'", "'three'", "integer"),
    case("scalar for a section", f"{NEW} --config scalar.yaml", "scalar.yaml", "'model'", "3", "keys"),
    case("section without keys", f"{NEW} --config null.yaml", "null.yaml", "'model'", "None", "keys"),
    case("value out of range", f"{NEW} --config range.yaml", "range.yaml", "'masking.proportion'", "1.5", "less than or equal to 1"),
    case("override without a value", f"{NEW} --config good.yaml trainer.steps", "'trainer.steps'", "section.key=value"),
    case("override of a section", f"{NEW} --config good.yaml model=3", "'model'", "3", "keys"),
    case("override below a value", f"{NEW} --config good.yaml model.layers.x=3", "model.layers.x", "not a section"),
    case("override of an unknown key", f"{NEW} --config good.yaml optimizer.rl=1", "'optimizer.rl'", "'lr'"),
    case("override that is no YAML", f"{NEW} --config good.yaml data.train=[a", "'data.train=[a'", "not valid YAML"),
    case("choice that there is not", f"{NEW} --config good.yaml optimizer.name=adamax", "'optimizer.name'", "'adamax'", "'adamw'", "'bertadam'"),
    case("heads that do not divide", f"{NEW} --config good.yaml model.heads=3", "'model'", "hidden_size 8", "heads 3"),
    case("a model beyond memory", f"{NEW} --config good.yaml model.ffn_size=100000000000000", "model.ffn_size", "1048576"),
    case("betas of one number", f"{NEW} --config good.yaml optimizer.betas=[0.9]", "optimizer.betas"),
    case("beta above one", f"{NEW} --config good.yaml optimizer.betas=[0.9,1.5]", "optimizer.betas", "1.5"),
    case("path where a list belongs", f"{NEW} --config good.yaml data.train=data/mel/train", "'data.train'", "'data/mel/train'", "list"),
    case("nothing to train on", f"{NEW} --config good.yaml data.train=[]", "data.train", "empty"),
    case("spans longer than their limit", f"{NEW} --config good.yaml masking.consecutive_min=9", "consecutive_min 9", "consecutive_max 7"),
    case("betas of an optimiser without any", f"{NEW} --config good.yaml optimizer.name=sgd optimizer.betas=[0.9,0.99]", "sgd has no betas", "adam"),
    case("usual betas of an optimiser without any", f"{NEW} --config good.yaml optimizer.name=sgd optimizer.betas=[0.9,0.999]", "optimizer.betas=[0.9,0.999]", "would change nothing"),
    case("momentum of an optimiser without any", f"{NEW} --config good.yaml optimizer.name=adam optimizer.momentum=0.9", "adam has no momentum", "rmsprop"),
    case("steps and epochs", f"{NEW} --config good.yaml trainer.steps=7 trainer.epochs=2", "steps 7", "epochs 2", "null"),
    case("no epoch", f"{NEW} --config good.yaml trainer.steps=null trainer.epochs=0", "'trainer.epochs'", "0", "greater than or equal to 1"),
    case("dropout of no prenet", f"{NEW} --config good.yaml objective=apc encoder=gru gru.prenet_dropout=0.1", "prenet_dropout 0.1", "prenet_layers 0"),
    case("learning rate that is a word", f"{NEW} --config good.yaml optimizer.lr=fast", "'optimizer.lr'", "'fast'", "number"),
    case("learning rate that is infinite", f"{NEW} --config good.yaml optimizer.lr=.inf", "'optimizer.lr'", "inf"),
    case("negative seed", f"{NEW} --config good.yaml --seed -1", "--seed", "-1"),
    case("unknown key of a probe", f"{PHONE} baseline probe.hiden=3", "'probe.hiden'", "'hidden_size'"),
    case("probe config that does not exist", f"{PHONE} baseline --config nowhere.yaml", "nowhere.yaml"),
    case("label fraction of zero", f"{PHONE} baseline data.label_fraction=0", "'data.label_fraction'", "0", "greater than 0"),
    case("probe by steps and epochs", f"{PHONE} baseline trainer.steps=7 trainer.epochs=2", "steps 7", "epochs 2", "null"),
    case("sweep of an unknown key", f"{PHONE} baseline --sweep lrr=1", "'lrr'", "'optimizer.lr'"),
    case("sweep without values", f"{PHONE} baseline --sweep lr", "--sweep", "key=value,value"),
    case("sweep of one key twice", f"{PHONE} baseline --sweep lr=1 --sweep lr=2", "--sweep", "optimizer.lr", "twice"),
]  # fmt: skip

THEIRS = [
    case("original's config with an unknown key", f"{NEW} --config theirs_key.yaml", "theirs_key.yaml", "'transformer.mask_propotion'", "'mask_proportion'"),
    case("original's config of another model", f"{NEW} --config theirs_dual.yaml", "theirs_dual.yaml", "'transformer.dual_transformer'", "no such model"),
    case("original's config of data that are elsewhere", f"{NEW} --config theirs_elsewhere.yaml", "theirs_elsewhere.yaml", "data/libri_mel160_subword5000", "data.train=[data/NAME/SPLIT]"),
    case("original's config for frames of another size", f"{NEW} --config theirs_wide.yaml", "theirs_wide.yaml", "160", "80"),
    case("original's config with a bad override", f"{NEW} --config theirs.yaml trainer.stps=3", "'trainer.stps'", "'steps'"),
    case("original's features that are not computed here", f"{NEW} --config good.yaml --online_config theirs_online.yaml", "theirs_online.yaml", "'online.input'", "linear, mel, mfcc"),
    case("original's config of pre-training for a probe", f"{PHONE} baseline --config theirs.yaml", "theirs.yaml", "pre-training", "probe"),
    case("original's config of a probe with an unknown key", f"{PHONE} baseline --config theirs_probe.yaml", "theirs_probe.yaml", "'runner.lerning_step'", "'learning_rate'"),
    case("original's config of a probe for pre-training", f"{NEW} --config theirs_probe.yaml", "theirs_probe.yaml", "no section transformer"),
]  # fmt: skip

STORES = [
    case("store that does not exist", f"{NEW} --config good.yaml data.train=[data/nowhere/train]", "data/nowhere/train", "no feature store"),
    case("split that the store has not", f"{NEW} --config good.yaml data.train=[data/mel/trian]", "data/mel/trian", "dev, test, train"),
    case("store without its split", f"{NEW} --config good.yaml data.train=[data/mel]", "data/mel", "dev, test, train"),
    case("unfinished store", f"{NEW} --config good.yaml data.train=[data/unfinished/train]", "data/unfinished/train", "not finished", "again"),
    case("array cut off", f"{NEW} --config good.yaml data.train=[data/cut/train]", "data/cut/train.npy", "cut off"),
    case("array that is text", f"{NEW} --config good.yaml data.train=[data/text/train]", "data/text/train.npy", "not an array"),
    case("table without its columns", f"{NEW} --config good.yaml data.train=[data/table/train]", "data/table/train.csv", "no column length"),
    case("length that is a word", f"{NEW} --config good.yaml data.train=[data/table/dev]", "data/table/dev.csv", "'many'"),
    case("offset below zero", f"{NEW} --config good.yaml data.train=[data/table/test]", "data/table/test.csv", "-4"),
    case("store of another format", f"{NEW} --config good.yaml data.train=[data/info/train]", "data/info/features.yaml", "'format'", "2", "1"),
    case("originals' directory without its arrays", f"{NEW} --config good.yaml data.train=[data/legacy/train]", "data/legacy/train/1-2-3.npy"),
    case("stores of two kinds of features", f"{NEW} --config good.yaml data.train=[data/mel/train,data/fbank/dev]", "data/mel/train", "data/fbank/dev", "'fbank'"),
    case("one id in two stores", f"{NEW} --config good.yaml data.train=[data/mel/train,data/again/train]", "'s0-0'", "data/again/train"),
    case("dev of other features", f"{NEW} --config good.yaml data.dev=[data/fbank/dev]", "data.train", "data.dev", "'mel'", "'fbank'"),
    case("target without some utterances", f"{NEW} --config good.yaml data.target=[data/linear/train]", "data.target", "2 utterances", "s3-4"),
    case("target of other lengths", f"{NEW} --config good.yaml data.target=[data/longer/train]", "data.target", "31 frames", "30"),
    case("run folder below a file", "runner_mockingjay.py --train --cpu --config good.yaml --ckpdir notes.txt", "notes.txt", "not a folder"),
    case("log folder below a file", f"{NEW} --config good.yaml --logdir notes.txt", "notes.txt", "not a folder"),
]  # fmt: skip

RECORDINGS = [
    case("lengths of a corpus that does not exist", f"{LENGTHS} --data_path nowhere", "nowhere", "no such folder"),
    case("lengths over a feature store", f"{LENGTHS} --data_path flat --name mel", "data/mel", "--name"),
    case("lengths below a file", f"{LENGTHS} --data_path flat --output_path notes.txt", "notes.txt", "not a folder"),
    case("online config that does not exist", f"{NEW} --config good.yaml --online_config nowhere.yaml", "nowhere.yaml"),
    case("online config without its section", f"{NEW} --config good.yaml --online_config good.yaml", "good.yaml", "no section online"),
    case("unknown key of online training", f"{ONLINE} online.target_levl=-20", "'online.target_levl'", "'target_level'"),
    case("level above full scale", f"{ONLINE} online.target_level=5", "'online.target_level'", "5", "less than or equal to 0"),
    case("level without normalisation", f"{ONLINE} online.input.cmvn=none", "'online'", "target_level", "input.cmvn"),
    case("no SNR to choose from", f"{ONLINE} online.snrs=[]", "online.snrs"),
    case("predicted features of other frames", f"{ONLINE} online.target.kind=fbank", "fbank", "mel", "frames"),
    case("stored target of recordings", f"{ONLINE} data.target=[data/linear/train]", "online.target", "data.target"),
    case("noise under the objective of APC", f"{ONLINE} objective=apc online.noise_proportion=0.5", "'apc'", "online.noise_proportion"),
    case("noise in no folder", f"{ONLINE} online.noise_proportion=0.5 online.noise_type=nowhere", "'nowhere'", "gaussian", "folder"),
    case("table of recordings that does not exist", f"{ONLINE} data.train=[nowhere.csv]", "nowhere.csv", "generate_len_for_bucket.py"),
    case("store for recordings", f"{ONLINE} data.train=[data/mel/train]", "data/mel/train", "generate_len_for_bucket.py"),
    case("recordings for a store", f"{NEW} --config good.yaml data.train=[lengths.csv]", "lengths.csv", "--online_config"),
    case("table of recordings without its columns", f"{ONLINE} data.train=[no_path.csv]", "no_path.csv", "no column path"),
    case("table of recordings with a rate of 0", f"{ONLINE} data.train=[rates.csv]", "rates.csv", "line 2", "rate"),
    case("table of no recordings", f"{ONLINE} data.train=[nothing.csv]", "nothing.csv", "no recordings"),
    case("folder with a broken recording", f"{ONLINE} data.train=[mixed]", "mixed/corrupt.flac"),
    case("recording too short for a frame", f"{ONLINE} data.train=[mixed/short.wav] online.input.kind=kaldi_fbank", "mixed/short.wav", "too short", "samples", "kaldi_fbank"),
    case("one id in two folders of recordings", f"{ONLINE} data.train=[twins/a,twins/b]", "'x'", "twins/b"),
]  # fmt: skip

CHECKPOINTS = [
    case("no checkpoint named", TEST, "--ckpt"),
    case("checkpoint that does not exist", f"{TEST} --ckpt nowhere.ckpt", "nowhere.ckpt", "does not exist"),
    case("folder for a checkpoint", f"{TEST} --ckpt data", "data", "folder"),
    case("checkpoint cut off", f"{TEST} --ckpt ckpt/cut.ckpt", "ckpt/cut.ckpt", "damaged"),
    case("empty checkpoint", f"{TEST} --ckpt ckpt/empty.ckpt", "ckpt/empty.ckpt", "damaged"),
    case("text for a checkpoint", f"{TEST} --ckpt ckpt/text.ckpt", "ckpt/text.ckpt", "not a checkpoint"),
    case("original's checkpoint without its tensors", f"{TEST} --ckpt ckpt/foreign.ckpt", "ckpt/foreign.ckpt", "'input_representations.spec_transform.weight'"),
    case("tensor for a checkpoint", f"{TEST} --ckpt ckpt/tensor.ckpt", "ckpt/tensor.ckpt", "'mockingjay-1'"),
    case("pickle that would run code", f"{TEST} --ckpt ckpt/runs.ckpt", "ckpt/runs.ckpt", "not a checkpoint"),
    case("torch file that would run code", f"{TEST} --ckpt ckpt/runs_zip.ckpt", "ckpt/runs_zip.ckpt", "not a checkpoint"),
    case("checkpoint of a probe", f"{TEST} --ckpt ckpt/probe.ckpt", "ckpt/probe.ckpt", "'probe'", "'pretrain'"),
    case("checkpoint without a tensor", f"{TEST} --ckpt ckpt/lacking.ckpt", "ckpt/lacking.ckpt", "missing"),
    case("checkpoint with one tensor too many", f"{TEST} --ckpt ckpt/extra.ckpt", "ckpt/extra.ckpt", "'encoder.more'"),
    case("tensor of another shape", f"{TEST} --ckpt ckpt/shape.ckpt", "ckpt/shape.ckpt", "[3]", "[8, 80]"),
    case("checkpoint without its config", f"{TEST} --ckpt ckpt/keyless.ckpt", "ckpt/keyless.ckpt", "'config'"),
    case("weights that are a list", f"{TEST} --ckpt ckpt/listed.ckpt", "ckpt/listed.ckpt", "'model'"),
    case("config of a newer version", f"{TEST} --ckpt ckpt/newer.ckpt", "ckpt/newer.ckpt", "'model.rotary'"),
    case("test set of other features", f"{TEST} --ckpt ckpt/good.ckpt --input data/fbank/train", "data/fbank/train", "'fbank'", "'mel'"),
    case("no test set", f"{TEST} --ckpt ckpt/untested.ckpt", "--input", "data.test"),
    case("test set that does not exist", f"{TEST} --ckpt ckpt/good.ckpt --input data/nowhere/test", "data/nowhere/test"),
    case("layer that there is not", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer 9", "9", "0 to 1"),
    case("layer that is a word", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer top", "layer top", "0 to 1 (T0, T1)"),
    case("layer of a test that there is not", f"{TEST} --ckpt ckpt/good.ckpt --layer 9", "9", "0 to 1"),
    case("weights of a probe without any", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer ws:exp/unweighted.json", "exp/unweighted.json", "--weighted_sum"),
    case("weights in no file", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer ws:nowhere.json", "nowhere.json"),
    case("weights in a file of another kind", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer ws:good.yaml", "good.yaml", "layer_weights"),
    case("weights that are words", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer ws:exp/words.json", "exp/words.json", "numbers"),
    case("weights of another model", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer ws:exp/three.json", "3 layer weights", "2 hidden states"),
    case("weights of another model in pictures", f"{PLOT} --ckpt ckpt/good.ckpt --layer ws:exp/three.json", "3 layer weights", "2 hidden states"),
    case("all layers into an archive", f"{EXTRACT} --ckpt ckpt/good.ckpt --layer all --format ark", "--format", "--layer"),
    case("audio for a model of unknown features", f"{EXTRACT} --ckpt ckpt/silent.ckpt --input flat", "ckpt/silent.ckpt", "store"),
    case("audio that does not exist", f"{EXTRACT} --ckpt ckpt/good.ckpt --input nowhere", "--input nowhere"),
    case("folder without recordings", f"{EXTRACT} --ckpt ckpt/good.ckpt --input empty", "empty", ".flac"),
    case("representations of other features there", f"{EXTRACT} --ckpt ckpt/good.ckpt --output data/fbank", "data/fbank/features.yaml", "kind"),
    case("output folder is a file", f"{EXTRACT} --ckpt ckpt/good.ckpt --output notes.txt", "notes.txt", "not a folder"),
    case("pictures into a file", f"{PLOT} --ckpt ckpt/good.ckpt --output notes.txt", "notes.txt", "not a folder"),
    case("test results into a file", f"{TEST} --ckpt ckpt/good.ckpt --output notes.txt", "notes.txt", "not a folder"),
    case("pictures of nothing", f"{PLOT} --ckpt ckpt/good.ckpt --num 0", "--num", "0"),
    case("phones of other utterances in pictures", f"{PLOT} {PICTURED} foreign", "foreign", "no alignment of utterance 'd0-0'"),
    case("phones of some utterances in pictures", f"{PLOT} --output_attention {PICTURED} phones_of_two", "phones_of_two", "'d0-2'"),
    case("phones longer than the audio in pictures", f"{PLOT} --with_head {PICTURED} longer", "longer", "d0-0", "9.000 s"),
    case("phones without a name in pictures", f"{PLOT} {PICTURED} unnamed", "unnamed/labels.txt", "2 labels"),
    case("phones that are no alignment", f"{ALTERED} {PICTURED} notes.txt", "notes.txt", "no alignment here", "preprocess_alignment.py"),
    case("two modes at once", "runner_mockingjay.py --train --test", "--train", "--test"),
    case("no mode", "runner_mockingjay.py --cpu", "--train"),
    case("config for a test", f"{TEST} --ckpt ckpt/good.ckpt --config good.yaml", "--config", "--train"),
    case("resume without a checkpoint", f"{NEW} --config good.yaml --resume", "ckpt/new", "--resume"),
    case("resume of a checkpoint cut off", f"{KILLED} --config good.yaml --resume", "killed/mockingjay-1.ckpt", "damaged"),
    case("resume with another seed", f"{OLD} --config good.yaml --seed 7 --resume", "--seed 1337", "7"),
    case("resume without optimiser", f"{OLD} --config good.yaml --resume", "old/mockingjay-1.ckpt", "optimi"),
    case("resume with another optimiser", f"{OLD} --config good.yaml --resume optimizer.name=sgd", "old/mockingjay-1.ckpt", "adamw", "'sgd'"),
    case("resume as another model", f"{OLD} --config good.yaml --resume model.layers=2", "old/mockingjay-1.ckpt"),
    case("training over a run", f"{OLD} --config good.yaml", "old/mockingjay-1.ckpt", "--resume", "--name"),
    case("load of a checkpoint that does not exist", f"{NEW} --load --ckpt nowhere.ckpt", "nowhere.ckpt"),
]  # fmt: skip

PROBES = [
    case("unknown task", f"{RUN} --run phones --upstream baseline", "'phones'", "phone_linear"),
    case("unknown upstream", f"{PHONE} bert", "'bert'", "pretrained", "package.module:Class"),
    case("upstream without a checkpoint", f"{PHONE} transformer", "--ckpt"),
    case("upstream checkpoint cut off", f"{PHONE} transformer --ckpt ckpt/cut.ckpt", "ckpt/cut.ckpt", "damaged"),
    case("upstream of a probe", f"{PHONE} transformer --ckpt ckpt/probe.ckpt", "ckpt/probe.ckpt", "'probe'"),
    case("own upstream in no module", f"{PHONE} no_such_module:Class", "no_such_module"),
    case("own upstream that is not in its module", f"{PHONE} tests.helpers.bad_input_world:Nothing", "Nothing"),
    case("own upstream without out_dim", f"{PHONE} tests.helpers.bad_input_world:Silent", "out_dim"),
    case("own upstream for other features", f"{PHONE} tests.helpers.bad_input_world:Narrow", "Narrow", "features of shape [80]"),
    case("own upstream that drops frames", f"{PHONE} tests.helpers.bad_input_world:Halving", "50 frames for 100"),
    case("layer of a model that there is not", f"{PHONE} transformer --ckpt ckpt/good.ckpt --layer 9", "layer 9", "0 to 1"),
    case("store of features foreign to the checkpoint", f"{PHONE} transformer --ckpt ckpt/good.ckpt data.train=[data/fbank/train]", "'fbank'", "'mel'"),
    case("no alignment named", f"{PHONE} baseline data.alignment=null", "data.alignment"),
    case("alignment that does not exist", f"{PHONE} baseline data.alignment=nowhere", "nowhere", "preprocess_alignment.py"),
    case("alignment of other utterances", f"{PHONE} baseline data.alignment=foreign", "foreign", "'elsewhere'", "'s0-0'"),
    case("alignment of some utterances", f"{PHONE} baseline data.alignment=partly", "partly", "23 of the 24", "leave_out"),
    case("alignment longer than the audio", f"{PHONE} baseline data.alignment=longer", "9.000 s", "longer"),
    case("alignment with damaged segments", f"{PHONE} baseline data.alignment=damaged", "damaged/segments.npy"),
    case("alignment that does not fit together", f"{PHONE} baseline data.alignment=misfit", "misfit/segments.npy", "utterances.csv"),
    case("alignment with too few labels", f"{PHONE} baseline data.alignment=unnamed", "unnamed/labels.txt", "2 labels"),
    case("alignment with a broken table", f"{PHONE} baseline data.alignment=counts", "counts/utterances.csv", "line 2"),
    case("store without speakers", f"{SPEAKER} baseline data.train=[data/nameless/train]", "speaker", "'a'"),
    case("test speakers not in train", f"{SPEAKER} baseline data.dev=[data/mel/dev] data.test=[data/mel/test]", "4 speakers", "'d0'"),
    case("no utterance for dev", f"{PHONE} baseline data.split=given", "data.dev"),
    case("speakers with too few utterances", f"{SPEAKER} baseline data.min_utterances=99", "data.min_utterances", "99"),
    case("dev speaker that there is not", f"{PHONE} baseline data.dev_speakers=[me]", "data.dev_speakers", "'me'"),
    case("zero seeds", f"{PHONE} baseline --seeds 0", "--seeds 0", "at least 1"),
    case("result folder is a file", f"{PHONE} baseline --expdir notes.txt", "notes.txt", "not a folder"),
    case("log folder of a probe is a file", f"{PHONE} baseline --logdir notes.txt", "notes.txt", "not a folder"),
    case("cache folder is a file", f"{PHONE} random --ckpt ckpt/good.ckpt data.cache=notes.txt", "notes.txt", "not a folder"),
    case("probe over a run", f"{PHONE} baseline --name taken", "taken", "--resume"),
    case("resume of no run", f"{PHONE} baseline --name new --resume", "new", "holds no run"),
    case("resume of a probe made otherwise", f"{PHONE} baseline --name done --resume probe.dropout=0.5", "done", "probe.dropout", "0.0", "0.5"),
    case("resume of a probe with a damaged result", f"{PHONE} baseline --name marred --resume", "marred/result.json", "damaged"),
    case("classic flag without its table", f"{CLASSIC} --train_sentiment", "sentiment", "data.labels"),
    case("classic probe without its upstream", f"{CLASSIC} --train_phone --run_mockingjay", "--run_mockingjay", "--ckpt"),
    case("classic probe of APC without its path", f"{CLASSIC} --train_phone --run_apc", "--run_apc", "--apc_path"),
    case("classic probe of two upstreams", f"{CLASSIC} --train_phone --run_apc --run_mockingjay", "--run_apc", "--run_mockingjay"),
    case("classic checkpoint without its flag", f"{CLASSIC} --train_phone --ckpt ckpt/good.ckpt", "ckpt/good.ckpt", "--run_mockingjay"),
    case("classic test without a probe", f"{SCORE} --test_phone", "--test_phone", "--dckpt"),
    case("classic test of another task's probe", f"{SCORE} --test_speaker --dckpt {DONE}", "'phone_linear'", "'speaker_utterance'"),
    case("classic test of another upstream's probe", f"{SCORE} --test_phone --run_mockingjay --ckpt ckpt/good.ckpt --dckpt {DONE}", "another upstream", "ckpt/good.ckpt"),
    case("classic test of no probe", f"{SCORE} --test_phone --dckpt ckpt/good.ckpt", "ckpt/good.ckpt", "'pretrain'", "'probe'"),
    case("preprocessing of an unknown corpus", "runner_mockingjay.py --preprocess voxceleb", "voxceleb", "libri, timit"),
    case("resume of a probe cut off", f"{PHONE} baseline --name taken --resume", "taken/probe-10.ckpt", "damaged"),
]  # fmt: skip

FINISHED = [
    case("recordings that cannot be used", f"{ANY} --data_path mixed --name out --n_jobs 1", "data/out/errors.csv", "7 not used", code=1),
    case("recordings without lengths", f"{LENGTHS} --data_path mixed --name out_lengths", "data/out_lengths/errors.csv", "5 not used", code=1),
    case("alignment files that cannot be used", f"{ALIGN} --data_path grids --output_path . --name unused", "unused/errors.csv", "2 not used", code=1),
    case("APC utterances that cannot be used", f"{APC} --data_path apc/partly.blogmel --name out_apc", "data/out_apc/errors.csv", "2 not used", code=1),
    case("representations of broken recordings", f"{EXTRACT} --ckpt ckpt/good.ckpt --input mixed --output out", "out/errors.csv", "7 recordings", code=1),
]  # fmt: skip

TABLE = {
    "Flags": FLAGS,
    "Audio, corpora and features": AUDIO,
    "Features of the originals' APC": APC_FILES,
    "Alignment files and the built-in corpus": ALIGNMENTS,
    "Config keys and values": CONFIGS,
    "Configs of the originals": THEIRS,
    "Stores": STORES,
    "Training from audio": RECORDINGS,
    "Checkpoints, and what is made of them": CHECKPOINTS,
    "Probing": PROBES,
    "Finished, but some files could not be used (exit code 1)": FINISHED,
}
