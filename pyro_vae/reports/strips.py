"""Strips: rows of small pictures as PNG, one data URI each, and sheets of them as files."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__: list[str] = []

_GAP = 1
"""Pixels between two pictures, transparent."""
_SCALE, _MARGIN = 2, 110


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """A data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def strip(pictures: Tensor) -> bytes:
    """A row of pictures as a PNG, a pixel for each of theirs, on one scale from 0 to 1.

    Args:
        pictures: (N, C, H, W) with one channel or three, or vectors (N, D), on [0, 1].
    """
    return _png(_strip(pictures))


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _strip(pictures: Tensor) -> Image.Image:
    values = pictures.detach().cpu().float().clamp(0, 1).mul(255).round().byte()
    if values.dim() == 2:
        values = values[:, None, None]
    grey = values[:, :1] if values.shape[1] != 3 else values
    n, channels, height, width = grey.shape
    row = np.zeros((height, n * (width + _GAP) - _GAP, channels + 1), dtype=np.uint8)
    for i, picture in enumerate(grey.numpy()):
        place = slice(i * (width + _GAP), i * (width + _GAP) + width)
        row[:, place, :channels] = picture.transpose(1, 2, 0)
        row[:, place, channels] = 255
    return Image.fromarray(row, "LA" if channels == 1 else "RGBA")


@dataclass(frozen=True)
class _Sheet:
    """Where everything stands: (label, row, its top), and how large a pixel of theirs is."""

    title: str
    rows: tuple[tuple[str, Image.Image, int], ...]
    scale: int
    width: int
    height: int


def write_sheet(rows: Sequence[tuple[str, Tensor]], title: str, path: Path) -> None:
    """Write labelled rows of pictures as PATH.png and PATH.svg.

    Args:
        rows: (label, pictures) from top to bottom.
        title: Above them.
        path: Without its suffix.
    """
    strips = [(label, _strip(pictures)) for label, pictures in rows]
    scale = max(_SCALE, 56 // max(1, strips[0][1].height))
    width = _MARGIN + scale * max(image.width for _, image in strips) + 8
    placed, top = [], 30
    for label, image in strips:
        placed.append((label, image, top))
        top += scale * image.height + 6
    sheet = _Sheet(title, tuple(placed), scale, width, top)
    _write_png(sheet, path.with_name(f"{path.name}.png"))
    _write_svg(sheet, path.with_name(f"{path.name}.svg"))


def _write_png(sheet: _Sheet, path: Path) -> None:
    canvas = Image.new("RGB", (sheet.width, sheet.height), "white")
    pen, font = ImageDraw.Draw(canvas), _font()
    pen.text((6, 6), sheet.title, fill="black", font=font)
    for label, image, top in sheet.rows:
        size = sheet.scale * image.width, sheet.scale * image.height
        pen.text((6, top + size[1] // 2 - 7), label, fill="black", font=font)
        large = image.resize(size, Image.Resampling.NEAREST)
        canvas.paste(large.convert("RGB"), (_MARGIN, top), large.getchannel("A"))
    canvas.save(path)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)


def _write_svg(sheet: _Sheet, path: Path) -> None:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sheet.width} {sheet.height}" '
        f'width="{sheet.width}" height="{sheet.height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="6" y="19">{escape(sheet.title)}</text>',
    ]
    for label, image, top in sheet.rows:
        width, height = sheet.scale * image.width, sheet.scale * image.height
        parts += [
            f'<text x="6" y="{top + height // 2 + 5}">{escape(label)}</text>',
            f'<image x="{_MARGIN}" y="{top}" width="{width}" height="{height}" '
            f'style="image-rendering:pixelated" href="{data_uri(_png(image))}"/>',
        ]
    path.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8", newline="\n")
