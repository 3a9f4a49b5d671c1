"""Pictures that runs left behind, small enough for a page."""

import base64
import io
from pathlib import Path

from PIL import Image

WIDE = 1100  # pixels, at most
COLOURS = 96


def as_image(file: Path) -> str:
    """A PNG as data: of fewer pixels and colours."""
    with Image.open(file) as picture:
        small = picture.convert("RGB")
    if small.width > WIDE:
        small = small.resize((WIDE, round(small.height * WIDE / small.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
