"""Triton kernels of batch norm, ReLU and max-pooling, for bf16 tensors in channels_last format.

A tensor (n, channels, h, w) is a matrix of n * h * w rows with a column for each channel. Sums are
accumulated in fp32, in an order that depends on the sizes alone: equal inputs give equal results.
`dse.training.fused` launches these.
"""

from __future__ import annotations

import triton
from triton import language as tl


@triton.jit(do_not_specialize=["rows", "each"])
def moments(x, means, squares, rows, channels, each, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """For each column of a chunk of `each` rows: its mean, and the sum of squared deviations.

    Deviations are taken from the first row and then corrected: sums of the squares themselves would
    lose digits.
    """
    chunk = tl.program_id(0)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    first = chunk * each
    last = tl.minimum(first + each, rows)
    pivot = tl.load(x + first * channels + c, mask=c < channels, other=0.0).to(tl.float32)
    deviations = tl.zeros([ROWS, COLUMNS], tl.float32)
    products = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(first, last, ROWS):
        r = start + tl.arange(0, ROWS)
        inside = (r < last)[:, None] & (c < channels)[None, :]
        value = tl.load(x + r[:, None] * channels + c[None, :], mask=inside, other=0.0)
        deviation = tl.where(inside, value.to(tl.float32) - pivot[None, :], 0.0)
        deviations += deviation
        products += deviation * deviation
    count = (last - first).to(tl.float32)
    mean = tl.sum(deviations, 0) / count
    square = tl.sum(products, 0) - mean * mean * count
    tl.store(means + chunk * channels + c, pivot + mean, mask=c < channels)
    tl.store(squares + chunk * channels + c, square, mask=c < channels)


@triton.jit(
    do_not_specialize=["rows", "channels", "each", "chunks"],
    do_not_specialize_on_alignment=[
        "means",
        "squares",
        "mean_at",
        "invstd_at",
        "running_mean",
        "running_variance",
    ],
)
def statistics(
    means,
    squares,
    mean_at,
    invstd_at,
    running_mean,
    running_variance,
    rows,
    channels,
    each,
    chunks,
    momentum,
    epsilon,
    CHUNKS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The mean and inverse deviation of each column from those of its chunks; updates the running
    statistics, with the unbiased variance."""
    c = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    chunk = tl.arange(0, CHUNKS)
    inside = (chunk < chunks)[:, None] & (c < channels)[None, :]
    place = chunk[:, None] * channels + c[None, :]
    mean = tl.load(means + place, mask=inside, other=0.0)
    square = tl.load(squares + place, mask=inside, other=0.0)
    count = tl.minimum(tl.maximum(rows - chunk * each, 0), each).to(tl.float32)[:, None]
    overall = tl.sum(mean * count, 0) / rows
    delta = tl.where(inside, mean - overall[None, :], 0.0)
    variance = tl.sum(square + delta * delta * count, 0) / rows
    mask = c < channels
    tl.store(mean_at + c, overall, mask=mask)
    tl.store(invstd_at + c, 1.0 / tl.sqrt(variance + epsilon), mask=mask)
    before = tl.load(running_mean + c, mask=mask, other=0.0)
    tl.store(running_mean + c, before * (1 - momentum) + overall * momentum, mask=mask)
    before = tl.load(running_variance + c, mask=mask, other=0.0)
    unbiased = variance * (rows / (rows - 1.0))
    tl.store(running_variance + c, before * (1 - momentum) + unbiased * momentum, mask=mask)


@triton.jit(do_not_specialize=["rows"])
def normalise(
    x,
    y,
    mean_at,
    invstd_at,
    weight,
    bias,
    rows,
    channels,
    stride,
    relu,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """(x - mean) * invstd * weight + bias, and ReLU if asked for.

    Rows of `y` begin `stride` numbers apart.
    """
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    mask = c < channels
    inside = (r < rows)[:, None] & mask[None, :]
    mean = tl.load(mean_at + c, mask=mask, other=0.0)
    factor = tl.load(invstd_at + c, mask=mask, other=0.0)
    factor *= tl.load(weight + c, mask=mask, other=0.0)
    shift = tl.load(bias + c, mask=mask, other=0.0)
    value = tl.load(x + r[:, None] * channels + c[None, :], mask=inside, other=0.0)
    result = (value.to(tl.float32) - mean[None, :]) * factor[None, :] + shift[None, :]
    result = tl.where((result <= 0) & relu, 0.0, result)  # NaN stays
    tl.store(y + r[:, None] * stride + c[None, :], result.to(tl.bfloat16), mask=inside)


@triton.jit(do_not_specialize=["rows", "each"])
def gradient_sums(
    x,
    gradient,
    mean_at,
    invstd_at,
    weight,
    bias,
    sums,
    products,
    rows,
    channels,
    stride,
    each,
    relu,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """For each column of a chunk of `each` rows: the sums of the gradient, where ReLU lets it pass,
    and of its products with the normalised input."""
    chunk = tl.program_id(0)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    first = chunk * each
    last = tl.minimum(first + each, rows)
    mask = c < channels
    mean = tl.load(mean_at + c, mask=mask, other=0.0)[None, :]
    invstd = tl.load(invstd_at + c, mask=mask, other=0.0)[None, :]
    factor = invstd * tl.load(weight + c, mask=mask, other=0.0)[None, :]
    shift = tl.load(bias + c, mask=mask, other=0.0)[None, :]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    product = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(first, last, ROWS):
        r = start + tl.arange(0, ROWS)
        inside = (r < last)[:, None] & mask[None, :]
        value = tl.load(x + r[:, None] * channels + c[None, :], mask=inside, other=0.0)
        grad = tl.load(gradient + r[:, None] * stride + c[None, :], mask=inside, other=0.0)
        grad = grad.to(tl.float32)
        centred = value.to(tl.float32) - mean
        grad = tl.where((centred * factor + shift <= 0) & relu, 0.0, grad)
        total += grad
        product += tl.where(inside, grad * (centred * invstd), 0.0)
    tl.store(sums + chunk * channels + c, tl.sum(total, 0), mask=mask)
    tl.store(products + chunk * channels + c, tl.sum(product, 0), mask=mask)


@triton.jit(
    do_not_specialize=["channels", "chunks"],
    do_not_specialize_on_alignment=["sums", "products", "bias", "weight"],
)
def add_up(
    sums, products, bias, weight, channels, chunks, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr
):
    """The gradients of `bias` and `weight` from the sums of the chunks."""
    c = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    chunk = tl.arange(0, CHUNKS)
    inside = (chunk < chunks)[:, None] & (c < channels)[None, :]
    place = chunk[:, None] * channels + c[None, :]
    total = tl.sum(tl.load(sums + place, mask=inside, other=0.0), 0)
    product = tl.sum(tl.load(products + place, mask=inside, other=0.0), 0)
    tl.store(bias + c, total, mask=c < channels)
    tl.store(weight + c, product, mask=c < channels)


@triton.jit(do_not_specialize=["rows"])
def input_gradient(
    x,
    gradient,
    result,
    mean_at,
    invstd_at,
    weight,
    bias,
    total_at,
    product_at,
    rows,
    channels,
    stride,
    relu,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradient of the norm's input, from that of the output and its two sums by column."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    mask = c < channels
    inside = (r < rows)[:, None] & mask[None, :]
    mean = tl.load(mean_at + c, mask=mask, other=0.0)[None, :]
    invstd = tl.load(invstd_at + c, mask=mask, other=0.0)[None, :]
    factor = invstd * tl.load(weight + c, mask=mask, other=0.0)[None, :]
    shift = tl.load(bias + c, mask=mask, other=0.0)[None, :]
    total = tl.load(total_at + c, mask=mask, other=0.0)[None, :] / rows
    product = tl.load(product_at + c, mask=mask, other=0.0)[None, :] / rows
    value = tl.load(x + r[:, None] * channels + c[None, :], mask=inside, other=0.0)
    grad = tl.load(gradient + r[:, None] * stride + c[None, :], mask=inside, other=0.0)
    grad = grad.to(tl.float32)
    centred = value.to(tl.float32) - mean
    grad = tl.where((centred * factor + shift <= 0) & relu, 0.0, grad)
    moved = (grad - total - centred * invstd * product) * factor
    tl.store(result + r[:, None] * channels + c[None, :], moved.to(tl.bfloat16), mask=inside)


CLIPPED = tl.constexpr(9)
"""The place of a maximum that ReLU made zero; others are 0 .. 8, line by line."""


@triton.jit(do_not_specialize=["rows", "height", "width", "high", "wide"])
def pool(
    x,
    y,
    places,
    rows,
    channels,
    height,
    width,
    high,
    wide,
    relu,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The maxima of 3x3 windows at every second pixel, those that fit in part too, and ReLU.

    A row is a pixel of the output, `high` by `wide`. Also says in which place of its window each
    maximum is: the first one, as torch's.
    """
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    image, line, column = r // (high * wide), r // wide % high, r % wide
    best = tl.full([ROWS, COLUMNS], float("-inf"), tl.float32)
    place = tl.zeros([ROWS, COLUMNS], tl.int32)
    for down in tl.static_range(3):
        for across in tl.static_range(3):
            h, w = 2 * line + down, 2 * column + across
            inside = (r < rows) & (h < height) & (w < width)
            pixel = (image * height + h) * width + w
            value = tl.load(
                x + pixel[:, None] * channels + c[None, :],
                mask=inside[:, None] & (c < channels)[None, :],
                other=float("-inf"),
            ).to(tl.float32)
            better = (value > best) | (value != value)  # NaN stays
            best = tl.where(better, value, best)
            place = tl.where(better, 3 * down + across, place)
    clipped = (best <= 0) & relu
    place = tl.where(clipped, CLIPPED, place)
    best = tl.where(clipped, 0.0, best)
    mask = (r < rows)[:, None] & (c < channels)[None, :]
    to = r[:, None] * channels + c[None, :]
    tl.store(y + to, best.to(tl.bfloat16), mask=mask)
    tl.store(places + to, place.to(tl.uint8), mask=mask)


@triton.jit(do_not_specialize=["rows", "height", "width", "high", "wide"])
def pool_gradient(
    gradient,
    places,
    result,
    rows,
    channels,
    height,
    width,
    high,
    wide,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradient of the pooling's input: a pixel's is the sum of those that chose it."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    image, h, w = r // (height * width), r // width % height, r % width
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for up in tl.static_range(2):
        for left in tl.static_range(2):
            line, column = h // 2 - up, w // 2 - left
            down, across = h - 2 * line, w - 2 * column  # of the pixel in this window
            inside = (r < rows) & (line >= 0) & (line < high) & (column >= 0) & (column < wide)
            inside = inside & (down < 3) & (across < 3)
            pixel = (image * high + line) * wide + column
            place = pixel[:, None] * channels + c[None, :]
            mask = inside[:, None] & (c < channels)[None, :]
            chosen = tl.load(places + place, mask=mask, other=CLIPPED).to(tl.int32)
            grad = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
            total += tl.where(chosen == (3 * down + across)[:, None], grad, 0.0)
    mask = (r < rows)[:, None] & (c < channels)[None, :]
    tl.store(result + r[:, None] * channels + c[None, :], total.to(tl.bfloat16), mask=mask)
