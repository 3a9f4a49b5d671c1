"""Names that command lines offer; they load nothing."""

FEATURE_TYPES = (
    "mel", "fbank", "mfcc", "linear", "kaldi_fbank", "kaldi_mfcc", "s3prl_linear", "s3prl_mel", "s3prl_mfcc"
)  # fmt: skip
PARTS = ("train", "dev", "test")  # what a corpus of several folders is divided into
TIMIT_EXTENSIONS = (".wav", ".sph", ".flac")
