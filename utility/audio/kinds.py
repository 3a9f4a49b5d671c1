"""Kinds of features, by name; it loads nothing."""

from typing import Literal

Kind = Literal[
    "mel", "fbank", "mfcc", "linear", "kaldi_fbank", "kaldi_mfcc", "s3prl_linear", "s3prl_mel", "s3prl_mfcc"
]  # fmt: skip
