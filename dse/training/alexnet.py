"""An `AlexNet` as a torch module, with the published names of its layers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dse.space.alexnet import AlexNet
from dse.training.network import Dropout, Norm, max_pool, normed


class AlexNetModule(nn.Module):
    """(batch, in_channels, h, w) -> (batch, num_classes): class scores without softmax.

    The number of fc6's inputs depends on `image_size`, the side of the images in pixels.
    """

    def __init__(self, architecture: AlexNet, image_size: int) -> None:
        super().__init__()
        self.architecture, norm = architecture, architecture.norm == "batch"
        channels, *_, side = architecture.in_channels, *architecture.map_sizes(image_size).values()
        for number, conv in enumerate(architecture.convolutions, 1):
            layer = nn.Conv2d(
                channels,
                conv.filters,
                conv.kernel,
                conv.stride,
                conv.padding,
                groups=conv.groups,
                bias=not norm,
            )
            channels = conv.filters
            self.add_module(f"conv{number}", layer)
            self.add_module(f"conv{number}_norm", Norm(channels) if norm else nn.Identity())
        fc6, fc7 = architecture.linear
        self.fc6 = nn.Linear(side**2 * channels, fc6)
        self.fc7 = nn.Linear(fc6, fc7)
        self.fc8 = nn.Linear(fc7, architecture.num_classes)
        self.dropout = Dropout(architecture.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a batch of images; pooling before a ReLU gives the same numbers."""
        for number, conv in enumerate(self.architecture.convolutions, 1):
            x = self.get_submodule(f"conv{number}")(x)
            norm = self.get_submodule(f"conv{number}_norm")
            x = normed([x], norm, relu=not conv.pool)
            x = max_pool(x, relu=True) if conv.pool else x
        x = x.flatten(1)
        for layer in (self.fc6, self.fc7):
            x = self.dropout(F.relu(layer(x), inplace=True))
        scores: Tensor = self.fc8(x)
        return scores
