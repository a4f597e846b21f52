"""The network of a finished trial, and the preprocessing of images that it was judged with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_safetensors
from torch import Tensor, nn

from dse.data import memory
from dse.results import records
from dse.results.files import RECORD, trial_folder
from dse.training.networks import network_of
from dse.trial.protocol import Protocol

if TYPE_CHECKING:
    from PIL.Image import Image


class Trained(nn.Module):
    """The network of a trial as `load` returns it: its module with a `preprocess`, which turns an
    image into its input.

    `classes` are the names of the classes of a folder of images, in the order of the scores; None
    for other data, and where the trial's weights do not name them.
    """

    preprocess: Preprocess
    classes: tuple[str, ...] | None


def load(folder: Path, trial_id: str, file: str = "weights.safetensors") -> Trained:
    """Load the network of a finished trial with its weights, in eval mode.

    `file` is where the trial has them: `sparse.safetensors` are those after its sparse phase.
    Raises `ValueError` where the record is damaged, or the weights are not there, not those that
    the record names, or not those of this network.
    """
    home = trial_folder(folder, trial_id)
    path = home / file
    if not path.exists():
        raise ValueError(
            f"`folder` must hold the trial's weights, got {folder}, which has its record only: "
            f"{records.PACKED}"
        )
    trial = records.read(home / RECORD).trial
    content = path.read_bytes()
    records.check_file(path, content)
    network = cast(Trained, network_of(trial.architecture, trial.protocol.image_size))
    network.preprocess = Preprocess(trial.protocol)
    try:
        result = network.load_state_dict(from_safetensors(content), strict=False)
        missing = [n for n in result.missing_keys if not n.endswith("num_batches_tracked")]
        if missing or result.unexpected_keys:
            raise ValueError
    except (SafetensorError, RuntimeError, ValueError):
        raise ValueError(f"{path} does not hold the weights of this trial's network") from None
    network.classes = class_names(path)
    return network.to(memory_format=torch.channels_last).eval()


def class_names(path: Path) -> tuple[str, ...] | None:
    """The names of the classes in a file of weights; None where there is no file, or no names."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            names = json.loads((file.metadata() or {}).get("classes", "null"))
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    return names and tuple(names)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Turns one image into a network's input, as the trial's test images were."""

    protocol: Protocol

    def __call__(self, image: str | Path | Image | np.ndarray[Any, Any]) -> Tensor:
        """Resize and normalise an image: float32 (1, channels, side, side).

        `image` is the path of an image file, a PIL image, or an array of uint8, (h, w) or
        (h, w, 1 or 3), values 0 .. 255, colours in the order R, G, B. For the embedded digits an
        array of floats holds scikit-learn's values, 0 .. 16, not 0 .. 1. Colour becomes grey and
        grey is repeated where the network needs it. An image that is not square is stretched,
        unless the protocol crops it.

        Raises `ValueError` for an array or a file that is not an image, and `TypeError` for
        other types.
        """
        pixels = self._pixels(image)
        side = self.protocol.image_size
        if self.protocol.data != "image_folder":
            images = pixels.permute(1, 2, 0).unsqueeze(0).contiguous().numpy()
            return memory.normalise(memory.resized(images, side), self.protocol.facts)

        # Both import torchvision, which no other data set needs.
        from dse.data import stream
        from dse.data.crops import CROPS

        crop = CROPS[self.protocol.augment].evaluate(pixels, side, np.empty(0))
        pixels = crop.permute(1, 2, 0)[None].contiguous()
        return stream.normalised(pixels, *stream.scale_of(self.protocol))

    def _pixels(self, image: object) -> Tensor:
        """An image as uint8 (channels, h, w), with the channels that the network has."""
        pixels = self._from_array(image) if isinstance(image, np.ndarray) else _decoded(image)
        channels = self.protocol.facts.channels
        if len(pixels) == channels:
            return pixels
        return pixels.expand(3, -1, -1) if channels == 3 else _grey(pixels)

    def _from_array(self, array: np.ndarray[Any, Any]) -> Tensor:
        if array.dtype.kind == "f" and self.protocol.data == "digits":
            if not (array.size and array.min() >= 0 and array.max() <= 16):
                raise ValueError("`image` must have the digits' values, 0 .. 16, as floats")
            if 0 < array.max() <= 1:  # it would be almost black
                raise ValueError(
                    "`image` must have the digits' values, 0 .. 16, as floats, got at most "
                    f"{array.max():g}: multiply an image of 0 .. 1 by 16"
                )
            array = memory.digits_to_bytes(array)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
            raise ValueError(
                "`image` must be an array of uint8, (h, w) or (h, w, 1 or 3), "
                f"got {array.dtype} {array.shape}"
            )
        if not array.size:
            raise ValueError(f"`image` must have pixels, got {array.shape}")
        return torch.from_numpy(array.copy()).permute(2, 0, 1)


def _decoded(image: object) -> Tensor:
    """An image file or a PIL image as uint8 (3, h, w), read as `image_folder` reads its files."""
    from PIL import Image

    from dse.data.decode import decoded, to_rgb

    if isinstance(image, Image.Image):
        return torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
    if not isinstance(image, (str, Path)):
        raise TypeError(
            f"`image` must be a path, a PIL image or an array, got {type(image).__name__}"
        )
    content = Path(image).read_bytes()
    try:
        return decoded(content)
    except Exception as error:  # of many kinds, depending on what the file holds
        raise ValueError(f"`image` must be an image file, got {image}: {error}") from None


def _grey(pixels: Tensor) -> Tensor:
    """uint8 (3, h, w) as luma, (1, h, w): the rounding of PIL, so that grey stays as it is."""
    weights = torch.tensor([19595, 38470, 7471]).view(3, 1, 1)
    return ((pixels.long() * weights).sum(0, keepdim=True) + 2**15 >> 16).to(torch.uint8)
