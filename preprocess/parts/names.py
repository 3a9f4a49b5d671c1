"""Names that command lines offer; they load nothing."""

from typing import get_args

from utility.audio.kinds import Kind

APC_FBANK = "apc_fbank"  # how APC's authors made their features
FEATURE_TYPES = (*get_args(Kind), APC_FBANK)
PARTS = ("train", "dev", "test")  # what a corpus of several folders is divided into
TIMIT_EXTENSIONS = (".wav", ".sph", ".flac")
LAYOUTS = ("speech_commands", "iemocap", "voxceleb", "fsc")  # corpora that bring their labels with them
PATH_COLUMNS = ("path", "file", "wav", "audio")  # of tables of recordings and of texts
SPLIT_COLUMNS = ("split", "subset")
