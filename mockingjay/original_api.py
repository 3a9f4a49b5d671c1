"""The address of the originals' calls: `from mockingjay.original_api import get_apc_model`."""

from originals.mockingjay_api import get_apc_model, get_mockingjay_model

__all__ = ["get_apc_model", "get_mockingjay_model"]
