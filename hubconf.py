"""torch.hub: `torch.hub.load(repository, "upstream", source="local", ckpt="result/.../best.ckpt")`."""

dependencies = ["torch", "numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "pydantic", "yaml", "safetensors"]


def upstream(ckpt, device="cpu", assume=None, seed=0):
    """Any upstream: a pre-training checkpoint, or a spec of `load_upstream` as "hf:FOLDER" or "pkg.module:Class".

    Features with lengths in where it takes them, or `from_waveforms`; hidden states out. `assume` says what a bare APC
    state dict does not: `{"residual": False}`. `seed` draws the weights of "random:..." and of a class of your own."""
    from pathlib import Path

    from mockingjay.upstream import load_upstream

    name, file = ("pretrained", ckpt) if Path(ckpt).is_file() else (ckpt, None)  # a file of any name
    return load_upstream(name, file, device=device, assume=assume, seed=seed)


def mockingjay_local(ckpt, *args, assume=None, **kwargs):
    """Any pre-training checkpoint behind S3PRL's interface: a list of 16 kHz waveforms in, `hidden_states` out."""
    from mockingjay.export.s3prl import WaveformExpert

    return WaveformExpert(upstream(ckpt, assume=assume))


tera_local = audio_albert_local = apc_local = mockingjay_local  # the checkpoint says which it is
