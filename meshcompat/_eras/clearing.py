"""torch's tables of meshes, which outlive a world up to 2.9."""

from __future__ import annotations

from torch.distributed import device_mesh


def clear_torch_tables() -> None:
    """Forget all meshes that torch keeps in tables for this thread.

    Up to 2.9 these say which mesh is whose root, and which flattened dims a root has. They are
    keyed by value, so that a mesh of a later world can be taken for one of an earlier world.
    """
    # torch: device_mesh._mesh_resources, since 2.2; only its stack of meshes is left from 2.10 on
    tables = getattr(device_mesh, "_mesh_resources", None)
    for table in vars(tables).values() if tables is not None else ():
        if isinstance(table, (dict, list)):
            table.clear()
