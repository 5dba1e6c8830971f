"""Each oddity of an image file against the pixels that were put into it."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, features

from stress_lab.data.sources import decoding
from stress_lab.data.sources.decoding import FORMATS, list_formats, list_suffixes, read_image
from stress_lab.errors import DataError

UPRIGHT = {  # by orientation tag: from the stored pixels to what is seen, as the EXIF standard describes them
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
BLOCK = 16  # pixels, so that lossy formats keep the middle of each block
COLOURS = np.array(
    [[[250, 10, 10], [10, 200, 10], [10, 10, 220]], [[240, 240, 10], [128, 128, 128], [20, 20, 20]]], dtype=np.uint8
)


def save(path, pixels, kind, orientation):
    """Write an image with an orientation tag, in one of the ways in which files hold it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(pixels)
    if kind in ("tiff", "tiff_lzw", "tiff_deflate", "tiff_jpeg"):
        compression = None if kind == "tiff" else {"tiff_deflate": "tiff_adobe_deflate"}.get(kind, kind)
        image.save(path, format="TIFF", tiffinfo={0x0112: orientation}, compression=compression)
    elif kind == "png_late":  # the standard lets eXIf follow the pixels
        image.save(path, format="PNG")
        content, payload = path.read_bytes(), exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(payload)) + b"eXIf" + payload + struct.pack(">I", zlib.crc32(b"eXIf" + payload))
        path.write_bytes(content[:-12] + chunk + content[-12:])
    else:
        options = {"webp": {"lossless": True}, "jpeg": {"quality": 95}, "avif": {"quality": 95}}.get(kind, {})
        image.save(path, format=kind, exif=exif, **options)


def blocks(pixels):
    """The colour in the middle of each block."""
    return pixels[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "kind", ["jpeg", "png", "png_late", "webp", "tiff", "tiff_lzw", "tiff_deflate", "tiff_jpeg", "avif"]
)
def test_every_orientation_of_every_format_is_seen_upright(tmp_path, kind, orientation):
    if kind == "avif" and "AVIF" not in list_formats():
        pytest.skip("Pillow has no AVIF here")
    stored = COLOURS.repeat(BLOCK, 0).repeat(BLOCK, 1)
    save(tmp_path / "a.bin", stored, kind, orientation)
    seen, _ = read_image(tmp_path / "a.bin")
    expected = UPRIGHT[orientation](COLOURS).astype(int)
    assert blocks(seen).shape == expected.shape
    assert np.abs(blocks(seen) - expected).max() <= (0 if kind in ("png", "png_late", "tiff", "tiff_lzw") else 12)


def test_a_tag_that_cannot_be_read_turns_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=b"Exif\0\0no EXIF at all")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], pixels)


def make_modes():
    """Name, image, and the pixels that must come out."""
    rng = np.random.default_rng(1)
    grey, colour = rng.integers(0, 256, (6, 5), dtype=np.uint8), rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (6, 5), dtype=np.uint8)
    palette = rng.integers(0, 256, (4, 3), dtype=np.uint8)
    places = rng.integers(0, 4, (6, 5), dtype=np.uint8)
    indexed = Image.fromarray(places)
    indexed.putpalette(palette.ravel().tolist())
    threefold = np.repeat(grey[..., None], 3, axis=2)
    yield "grey.png", Image.fromarray(grey), {}, grey
    yield "grey.pgm", Image.fromarray(grey), {}, grey
    yield "grey.jp2", Image.fromarray(grey), {"irreversible": False}, grey
    yield "bits.png", Image.fromarray(grey > 99), {}, np.where(grey > 99, 255, 0).astype(np.uint8)
    yield "grey_alpha.png", Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha))), {}, threefold
    yield "grey_hole.png", Image.fromarray(grey), {"transparency": 7}, grey
    yield "colour.bmp", Image.fromarray(colour), {}, colour
    yield "colour.ppm", Image.fromarray(colour), {}, colour
    yield "colour.tif", Image.fromarray(colour), {}, colour
    yield "colour_hole.png", Image.fromarray(colour), {"transparency": (1, 2, 3)}, colour
    yield "alpha.png", Image.fromarray(np.dstack([colour, alpha])), {}, colour
    yield "alpha.tif", Image.fromarray(np.dstack([colour, alpha])), {}, colour
    yield "palette.png", indexed, {}, palette[places]
    yield "palette_hole.png", indexed, {"transparency": 2}, palette[places]
    yield "palette_alpha.png", indexed, {"transparency": b"\x00\x80\xff\x01"}, palette[places]
    yield "palette.gif", indexed, {}, palette[places]
    yield "palette_hole.gif", indexed, {"transparency": 1}, palette[places]
    inks = np.dstack([colour, grey])
    under = 255 - grey.astype(int)
    paint = np.round((255 - colour.astype(int)) * under[..., None] / 255).astype(np.uint8)  # (1 - ink) (1 - black)
    yield "inks.tif", Image.frombytes("CMYK", (5, 6), inks.tobytes()), {}, paint


MODES = {name: rest for name, *rest in make_modes()}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_grey_or_colour_with_its_own_values(tmp_path, name):
    image, options, expected = MODES[name]
    image.save(tmp_path / name, **options)
    got, _ = read_image(tmp_path / name)
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).max() <= (1 if name == "inks.tif" else 0)


def save_deep(path, channels):
    """A PNG of 16 bits per channel, which Pillow opens as RGB where it has three."""
    rows = b"".join(b"\0" + bytes(6 * 2 * channels) for _ in range(6))
    head = struct.pack(">IIBBBBB", 6, 6, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_refused_rather_than_saturated(tmp_path, channels):
    save_deep(tmp_path / "a.png", channels)
    with pytest.raises(DataError, match="more than 8 bits per channel"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_deep_tiffs_are_refused(tmp_path, kind, compression):
    Image.fromarray(np.full((6, 6), 300, kind)).save(tmp_path / "a.tif", compression=compression)
    with pytest.raises(DataError, match="more than 8 bits per channel"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_the_first_of_several_images_is_taken_and_that_is_told(tmp_path, kind):
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if kind == "WEBP" else {}
    red.save(tmp_path / "two", format=kind, save_all=True, append_images=[blue], **options)
    red.save(tmp_path / "one", format=kind, **options)
    (two, several), (one, single) = read_image(tmp_path / "two"), read_image(tmp_path / "one")
    assert (several, single) == (True, False)
    assert (two == (255, 0, 0)).all()
    np.testing.assert_array_equal(one, two)


def test_a_photograph_with_a_preview_is_one_image(tmp_path):
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    red.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[blue])
    pixels, several = read_image(tmp_path / "a.jpg")
    assert np.abs(pixels.astype(int) - (254, 0, 0)).max() <= 2
    assert not several


def test_the_content_decides_and_not_the_suffix(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg")[0], pixels)


def broken_files():
    """Bytes that are not a whole image."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, format="TIFF")
    tiff = buffer.getvalue()
    yield b""
    yield b"II*\0\x08\0\0\0\0\0\0\0\0\0"  # a TIFF without a tag
    yield tiff[: len(tiff) // 2]
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "JPEG2000"):
        buffer = io.BytesIO()
        Image.effect_noise((40, 40), 90).convert("RGB").save(buffer, format=kind)
        yield buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize("content", list(broken_files()), ids=lambda content: str(content[:4]))
def test_half_a_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        read_image(tmp_path / "a.png")


def test_what_pillow_reads_here_is_read_and_nothing_else():
    assert {"PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM"} <= set(list_formats()) <= set(FORMATS)
    assert ("JPEG2000" in list_formats()) == features.check_codec("jpg_2000")
    assert {".jfif", ".jpe", ".webp", ".tiff", ".pnm"} <= list_suffixes()
    assert not {".eps", ".ps", ".pdf", ".svg", ".txt", ""} & list_suffixes()


def test_heic_is_read_where_its_plugin_is_installed(tmp_path, monkeypatch):
    """A stand-in for pillow-heif, which opens what begins with ``ftypheic``."""
    (tmp_path / "pillow_heif.py").write_text(
        "from PIL import Image, ImageFile\n"
        "class Heif(ImageFile.ImageFile):\n"
        "    format = 'HEIF'\n"
        "    def _open(self):\n"
        "        self._size, self._mode = (2, 1), 'RGB'\n"
        "        self.tile = [ImageFile._Tile('raw', (0, 0, 2, 1), 8, 'RGB')]\n"
        "def register_heif_opener():\n"
        "    Image.register_open('HEIF', Heif, lambda head: head[:8] == b'ftypheic')\n"
    )
    (tmp_path / "a.heic").write_bytes(b"ftypheic" + bytes([1, 2, 3, 4, 5, 6]))
    monkeypatch.syspath_prepend(tmp_path)
    known, order = dict(Image.OPEN), list(Image.ID)
    monkeypatch.setattr(Image, "OPEN", known)
    monkeypatch.setattr(Image, "ID", order)
    for one in (list_formats, list_suffixes):
        one.cache_clear()
    try:
        assert {".heic", ".heif"} <= decoding.list_suffixes()
        assert read_image(tmp_path / "a.heic")[0].tolist() == [[[1, 2, 3], [4, 5, 6]]]
    finally:
        sys.modules.pop("pillow_heif", None)
        for one in (list_formats, list_suffixes):
            one.cache_clear()
