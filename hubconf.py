"""torch.hub: `torch.hub.load(repository, "upstream", source="local", ckpt="result/.../best.ckpt")`."""

dependencies = ["torch", "numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "pydantic", "yaml", "safetensors"]


def upstream(ckpt, device="cpu", assume=None):
    """Any pre-training checkpoint as an upstream: features with lengths in, or `from_waveforms`; hidden states out.

    `assume` says what a bare APC state dict does not: `{"residual": False}`."""
    from mockingjay.upstream import load_upstream

    return load_upstream("pretrained", ckpt, device=device, assume=assume)


def mockingjay_local(ckpt, *args, assume=None, **kwargs):
    """Any pre-training checkpoint behind S3PRL's interface: a list of 16 kHz waveforms in, `hidden_states` out."""
    from mockingjay.export.s3prl import WaveformExpert

    return WaveformExpert(upstream(ckpt, assume=assume))


tera_local = audio_albert_local = apc_local = mockingjay_local  # the checkpoint says which it is
