"""Names that command lines offer; they load nothing."""

from typing import Literal, get_args

FORMATS = ("textgrid", "ctm", "timit", "montreal", "cpc", "json", "kaldi")  # of alignment files
ORDERS = ("sorted", "first")  # of an alignment's labels
TIERS = ("phones", "words")
TEXT_FORMATS = ("librispeech", "kaldi", "csv", "timit", "trn")
Target = Literal["phoneme", "char", "subword", "word"]  # what a text is cut into
TARGETS = get_args(Target)
