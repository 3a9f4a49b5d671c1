"""The address that S3PRL's users know: `from mockingjay.nn_transformer import TRANSFORMER`."""

from originals.s3prl_api import SPEC_TRANSFORMER, TRANSFORMER

__all__ = ["SPEC_TRANSFORMER", "TRANSFORMER"]
