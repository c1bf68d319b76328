"""Stable device-mesh operations for every PyTorch from 2.2 on."""

__version__ = "0.1.0"
