"""Names that command lines offer; they load nothing."""

FORMATS = ("textgrid", "ctm", "timit", "montreal", "cpc", "json")  # of alignment files
TIERS = ("phones", "words")
TEXT_FORMATS = ("librispeech", "kaldi", "csv", "timit", "trn")
