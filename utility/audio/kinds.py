"""Kinds of features, ways to normalise them and windows, by name; it loads nothing."""

from typing import Literal

Cmvn = Literal["none", "utterance", "speaker", "speaker_mean", "global"]
WindowType = Literal["povey", "hamming", "hann"]

Kind = Literal[
    "mel", "fbank", "mfcc", "linear", "kaldi_fbank", "kaldi_mfcc", "s3prl_linear", "s3prl_mel", "s3prl_mfcc"
]  # fmt: skip
