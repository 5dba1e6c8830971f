"""The 19 corruptions once more, slowly: one image, float64, loops, SciPy and Pillow.

Images are (H, W, C) floats from 0 to 255. What is random comes in as ``draws``, whole numbers from 0 to 65,535, in the
order that each function takes them.
"""

import colorsys
import math
from io import BytesIO

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage, stats


def gauss(draws):
    return stats.norm.ppf((draws + 0.5) / 65536)


def spread(draws, low, high):
    return low + (high - low) * (draws + 0.5) / 65536


def channels_first(draws, x):
    """Draws of every value, which come channel by channel, in the order of an image."""
    return draws.reshape(x.shape[2], *x.shape[:2]).transpose(1, 2, 0)


def blur(x, sigma):
    return ndimage.gaussian_filter(x, (sigma, sigma, 0)[: x.ndim], mode="nearest", truncate=4)


def grey(x):
    return x[..., 0] if x.shape[2] == 1 else x @ np.array([0.299, 0.587, 0.114])


def gaussian_noise(x, c, draws):
    return x + 255 * c * gauss(channels_first(draws, x))


def speckle_noise(x, c, draws):
    return x + x * c * gauss(channels_first(draws, x))


def shot_noise(x, c, draws):
    counts = stats.poisson.ppf((channels_first(draws, x) + 0.5) / 65536, x / 255 * c)
    return np.minimum(counts / c, 1) * 255


def impulse_noise(x, c, draws):
    drawn = channels_first(draws, x) / 65536
    return np.where(drawn < c / 2, 255, np.where(drawn < c, 0, x))


def gaussian_blur(x, c, draws):
    return blur(x, c)


def defocus_blur(x, c, draws):
    radius, alias = c
    reach = 8 if radius <= 8 else math.ceil(radius)
    y, z = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (y**2 + z**2 <= radius**2).astype(np.float64)
    size = 1 if radius <= 8 else 2
    line = np.exp(-(np.arange(-size, size + 1) ** 2) / (2 * alias**2))
    smooth = np.outer(line, line) / line.sum() ** 2
    kernel = ndimage.correlate(np.pad(disk / disk.sum(), 2), smooth, mode="constant")
    return np.stack([ndimage.correlate(part, kernel, mode="mirror") for part in np.moveaxis(x, 2, 0)], axis=2)


def glass_blur(x, c, draws):
    sigma, move, repeats = c[0], max(1, round(c[1])), c[2]
    x = blur(x, sigma)
    x = np.floor(x + 1e-3)
    height, width = x.shape[:2]
    moves = draws.reshape(repeats, 2, height, width).astype(np.int64) * (2 * move) // 65536 - move
    for turn in range(repeats):
        for h in range(height - move, move, -1):
            for w in range(width - move, move, -1):
                dy, dx = moves[turn, :, h, w]
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]  # rows are views: no swap, as in the script
    return blur(x, sigma)


def move_along(x, radius, sigma, degrees):
    steps = 2 * round(radius) + 1
    weights = np.exp(-(np.arange(steps) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    rows, cols = np.indices(x.shape[:2])
    result = np.zeros_like(x)
    for step in range(steps):
        down = math.ceil(step * math.sin(math.radians(degrees)) - 0.5)
        right = math.ceil(step * math.cos(math.radians(degrees)) - 0.5)
        there = x[np.clip(rows + down, 0, x.shape[0] - 1), np.clip(cols + right, 0, x.shape[1] - 1)]
        result += weights[step] * there
    return result


def motion_blur(x, c, draws):
    return np.floor(move_along(x, c[0], c[1], spread(draws[0], -45, 45)) + 0.5)


def clipped_zoom(x, factor):
    for axis in (0, 1):
        size = x.shape[axis]
        kept = math.ceil(size / factor)
        part = x.take(range((size - kept) // 2, (size - kept) // 2 + kept), axis)
        zoom = [1.0] * x.ndim
        zoom[axis] = factor
        part = ndimage.zoom(part, zoom, order=1)
        first = (part.shape[axis] - size) // 2
        x = part.take(range(first, first + size), axis)
    return x


def zoom_blur(x, c, draws):
    factors = np.arange(1, *c)
    return (x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def snow(x, c, draws):
    flakes = c[0] + c[1] * gauss(draws[:-1]).reshape(x.shape[:2])
    flakes = clipped_zoom(flakes, max(1, c[2]))
    flakes[flakes < c[3]] = 0
    flakes = np.floor(np.clip(flakes, 0, 1) * 255 + 1e-4)
    flakes = np.floor(move_along(flakes, c[4], c[5], spread(draws[-1], -135, -45)) + 0.5)[..., None]
    x = c[6] * x + (1 - c[6]) * np.maximum(x, grey(x)[..., None] * 1.5 + 127.5)
    return x + flakes + np.rot90(flakes, k=2)


def frost(x, c, draws, sheets):
    sheet = sheets[draws[0] * 5 // 65536]
    height, width = sheet.shape[:2]
    rows = [(h + draws[1] * height // 65536) % height for h in range(x.shape[0])]
    cols = [(w + draws[2] * width // 65536) % width for w in range(x.shape[1])]
    return c[0] * x + c[1] * sheet[rows][:, cols]


def plasma(side, decay, draws):
    noise, wobble, step = iter(spread(draws, -1, 1)), 100.0, side
    field = np.zeros((side, side))
    while step >= 2:
        half = step // 2
        for y in range(0, side, step):
            for x in range(0, side, step):
                corners = [field[(y + a) % side, (x + b) % side] for a in (0, step) for b in (0, step)]
                field[y + half, x + half] = sum(corners) / 4 + wobble * wobble * next(noise)
        for offset in ((0, half), (half, 0)):
            for y in range(offset[0], side, step):
                for x in range(offset[1], side, step):
                    near = [((y - half) % side, x), ((y + half) % side, x), (y, x - half), (y, (x + half) % side)]
                    field[y, x] = sum(field[place] for place in near) / 4 + wobble * wobble * next(noise)
        step, wobble = half, wobble / decay
    return (field - field.min()) / (field.max() - field.min())


def fog(x, c, draws):
    clouds = plasma(round((len(draws) + 1) ** 0.5), c[1], draws)[: x.shape[0], : x.shape[1], None]
    return 255 * (x / 255 + c[0] * clouds) * (x.max() / 255) / (x.max() / 255 + c[0])


def spatter(x, c, draws):
    liquid = blur(c[0] + c[1] * gauss(draws).reshape(x.shape[:2]), c[2])
    liquid[liquid < c[3]] = 0
    if c[5]:
        cover = blur((liquid > c[3]).astype(float), c[4])[..., None]
        cover[cover < 0.8] = 0
        return x * (1 - cover) + cover * tint((63, 42, 20), x)
    liquid = (liquid * 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = ndimage.uniform_filter(np.minimum(distance, 20).astype(float), 3, mode="mirror")
    kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    levels = equalize((distance + 1e-4).astype(np.uint8))
    relief = np.clip(ndimage.correlate(levels.astype(int), kernel, mode="mirror"), 0, 255)
    shade = liquid * np.rint(ndimage.uniform_filter(relief.astype(float), 3, mode="mirror"))
    return x + (shade / max(shade.max(), 1))[..., None] * c[4] * tint((175, 238, 238), x)


def equalize(levels):
    """Histogram equalisation: the first level that occurs becomes 0, the last 255."""
    counts = np.bincount(levels.ravel(), minlength=256)
    first = np.flatnonzero(counts)[0]
    if counts[first] == levels.size:
        return levels
    passed = np.cumsum(counts) - counts[first]
    return np.rint(passed * 255 / (levels.size - counts[first]))[levels]


def tint(colour, x):
    return np.array([grey(np.array(colour, dtype=float)[None, None])[0, 0]]) if x.shape[2] == 1 else np.array(colour)


def contrast(x, c, draws):
    means = x.mean(axis=(0, 1))
    return (x - means) * c + means


def in_hsv(x, change):
    result = np.empty_like(x)
    for place in np.ndindex(x.shape[:2]):
        result[place] = np.array(colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*(x[place] / 255))))) * 255
    return result


def brightness(x, c, draws):
    if x.shape[2] == 1:
        return x + 255 * c
    return in_hsv(x, lambda h, s, v: (h, s, min(1, v + c)))


def saturate(x, c, draws):
    return in_hsv(x, lambda h, s, v: (h, min(1, max(0, s * c[0] + c[1])), v))


def to_pillow(x):
    return Image.fromarray(x.astype(np.uint8).squeeze(axis=2) if x.shape[2] == 1 else x.astype(np.uint8))


def jpeg_compression(x, c, draws):
    file = BytesIO()
    to_pillow(x).save(file, "JPEG", quality=c)
    return np.asarray(Image.open(file)).reshape(x.shape)


def pixelate(x, c, draws):
    small = to_pillow(x).resize((int(x.shape[1] * c), int(x.shape[0] * c)), Image.Resampling.BOX)
    return np.asarray(small.resize((x.shape[1], x.shape[0]), Image.Resampling.BOX)).reshape(x.shape)


def elastic_transform(x, c, draws):
    strength, sigma, jitter = c
    height, width = x.shape[:2]
    middle, reach = np.float32([height, width]) // 2, min(height, width) // 3
    before = np.float32([middle + reach, [middle[0] + reach, middle[1] - reach], middle - reach])
    after = before + spread(draws[-6:], -jitter, jitter).reshape(3, 2)
    matrix = cv2.getAffineTransform(before.astype(np.float32), after.astype(np.float32))  # from old places to new
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    rows, cols = np.indices((height, width))
    old = np.einsum("ij,jhw->ihw", inverse, np.stack([cols, rows, np.ones_like(rows)]))
    x = np.stack([ndimage.map_coordinates(part, old[1::-1], order=1, mode="mirror") for part in x.transpose(2, 0, 1)])
    noise = spread(draws[:-6], -1, 1).reshape(2, height, width)
    down, right = (ndimage.gaussian_filter(one, sigma, mode="reflect", truncate=3) * strength for one in noise)
    x = [ndimage.map_coordinates(part, (rows + down, cols + right), order=1, mode="reflect") for part in x]
    return np.stack(x, axis=2)


def corrupt(image, corruption, constants, draws, **more):
    """The corrupted image (H, W, C) as floats, limited to 0 to 255 and not yet rounded."""
    return np.clip(globals()[corruption](image.astype(np.float64), constants, draws, **more), 0, 255)
