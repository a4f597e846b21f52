"""A design-space exploration workbench for SqueezeNet-like networks (arXiv:1602.07360)."""

__version__ = "0.1.0"
