"""Names that command lines offer; they load nothing."""

from typing import get_args

from utility.audio.kinds import Kind

FEATURE_TYPES = get_args(Kind)
PARTS = ("train", "dev", "test")  # what a corpus of several folders is divided into
TIMIT_EXTENSIONS = (".wav", ".sph", ".flac")
LAYOUTS = ("speech_commands", "iemocap", "voxceleb", "fsc")  # corpora that bring their labels with them
PATH_COLUMNS = ("path", "file", "wav", "audio")  # of tables of recordings and of texts
SPLIT_COLUMNS = ("split", "subset")
