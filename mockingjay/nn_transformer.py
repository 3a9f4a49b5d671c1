"""The address that S3PRL's users know: `from mockingjay.nn_transformer import TRANSFORMER`."""

from originals.s3prl_api import LIN, SPEC_TRANSFORMER, TRANSFORMER
from originals.s3prl_audio import load_data

__all__ = ["LIN", "SPEC_TRANSFORMER", "TRANSFORMER", "load_data"]
