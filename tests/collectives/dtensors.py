"""torch's DTensor, wherever this release keeps it.

It is imported on the ranks only, when a case wants it: the import takes seconds.
"""

from __future__ import annotations

import importlib


def dtensor_api():
    """Return the module that has `distribute_tensor` and the placements."""
    public = importlib.import_module("torch.distributed.tensor")
    if hasattr(public, "distribute_tensor"):
        return public
    # Before 2.5 the public module is empty.
    return importlib.import_module("torch.distributed._tensor")
