"""Names that command lines offer; they load nothing."""

FORMATS = ("textgrid", "ctm", "timit", "montreal", "cpc", "json", "kaldi")  # of alignment files
ORDERS = ("sorted", "first")  # of an alignment's labels
TIERS = ("phones", "words")
