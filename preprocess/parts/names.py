"""Names that command lines offer; they load nothing."""

FEATURE_TYPES = ("mel", "fbank", "mfcc", "linear", "kaldi_fbank", "kaldi_mfcc")
PARTS = ("train", "dev", "test")  # what a corpus of several folders is divided into
TIMIT_EXTENSIONS = (".wav", ".sph", ".flac")
