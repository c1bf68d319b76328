"""Packages of other fields: what their functions give is no mesh of torch, whatever it is called."""

from __future__ import annotations

from meshcompat.audit.values import Kind, Value

_ARRAYS = "numpy scipy pandas cupy matplotlib"
"""Grids, tables and plots."""
_FRAMEWORKS = "jax jaxlib flax tensorflow paddle mindspore mlx torch_xla"
"""Meshes of devices, of their own classes."""
_SURFACES = "trimesh open3d pyvista meshio pymeshlab gmsh bpy pytorch3d kaolin"
"""Meshes of points in space."""
_OTHERS = frozenset(f"{_ARRAYS} {_FRAMEWORKS} {_SURFACES}".split())


def is_other(path: str) -> bool:
    """Whether a path belongs to a package of another field."""
    return path.partition(".")[0] in _OTHERS


def is_of_other(value: Value) -> bool:
    """Whether a value came from such a package; so does what is taken from it."""
    return value.kind is Kind.INSTANCE and is_other(value.name)
