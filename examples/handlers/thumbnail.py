"""A picture made small: bytes come in as base64 and go out as base64.

    pip install pillow
    ASYA_PROCESS_MODULE=thumbnail python3 asya_runtime.py

Send {"image": "<base64>", "size": 128} and get {"image": "<base64 of a PNG>", "width": 128, "height": 85}. The result holds
plain bytes; the runtime writes them as base64.
"""

import base64
import binascii
import io

from PIL import Image, UnidentifiedImageError

Image.MAX_IMAGE_PIXELS = 50_000_000  # a small file may claim to be a huge picture


def process(payload: dict) -> dict:
    """Shrink a picture until neither side is longer than `size`; its shape is kept."""
    size = payload.get("size", 128)
    if not isinstance(size, int) or not 1 <= size <= 4096:
        raise ValueError("size must be a whole number from 1 to 4096")
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(payload["image"], validate=True)))
        picture.thumbnail((size, size))
    except (KeyError, TypeError, binascii.Error):
        raise ValueError("image must be a picture in base64") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise ValueError(f"image is no picture that can be read: {error}") from None
    out = io.BytesIO()
    picture.convert("RGB").save(out, "PNG")
    return {"image": out.getvalue(), "width": picture.width, "height": picture.height}
