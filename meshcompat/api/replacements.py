"""What to write instead of a name, so that it holds on every release: ours, or torch's public way.

The key is the name without its module. What is not here has no replacement.
"""

from __future__ import annotations

_FLATTEN = "meshcompat.flatten(mesh, name)"
_FLATTENED = "meshcompat.get_flattened_meshes(mesh), meshcompat.get_flat_mesh(mesh, name)"
_GROUP = "mesh.get_group(mesh_dim), meshcompat.get_group(mesh, names)"
_LAYOUT = "meshcompat.layout_of(mesh)"
_ROOT = "meshcompat.get_root_mesh(mesh)"
_SUBMESH = "meshcompat.get_submesh(mesh, names)"
_SUBMESHES = "meshcompat.get_all_submeshes(mesh, name)"
_UNFLATTEN = "meshcompat.unflatten(mesh, mesh_dim, mesh_sizes, mesh_dim_names)"

REPLACEMENTS = {
    "DeviceMesh.__getitem__": _SUBMESH,
    "DeviceMesh._concatenate": "meshcompat.concatenate(meshes)",
    "DeviceMesh._coordinate_on_dim": "mesh.get_coordinate()",
    "DeviceMesh._create_flatten_mesh": _FLATTEN,
    "DeviceMesh._create_sub_mesh": _SUBMESH,
    "DeviceMesh._create_unflatten_mesh": _UNFLATTEN,
    "DeviceMesh._device_type": "mesh.device_type",
    "DeviceMesh._dim_group_infos": _GROUP,
    "DeviceMesh._dim_group_names": _GROUP,
    "DeviceMesh._flatten": _FLATTEN,
    "DeviceMesh._flatten_mapping": _FLATTENED,
    "DeviceMesh._flatten_mesh_list": "mesh.mesh.flatten().tolist()",
    "DeviceMesh._flatten_rank_map": "meshcompat.get_root_mesh(mesh).mesh.flatten().tolist()",
    "DeviceMesh._get_all_submeshes": _SUBMESHES,
    "DeviceMesh._get_mesh_dim_by_name": "mesh.mesh_dim_names.index(name)",
    "DeviceMesh._get_root_mesh": _ROOT,
    "DeviceMesh._get_slice_mesh_layout": "meshcompat.layout_of(meshcompat.get_submesh(mesh, names))",
    "DeviceMesh._is_current_rank_part_of_mesh": "meshcompat.is_member(mesh)",
    "DeviceMesh._layout": _LAYOUT,
    "DeviceMesh._mesh_dim_names": "mesh.mesh_dim_names",
    "DeviceMesh._parent_mesh": _ROOT,
    "DeviceMesh._pg_registry": _GROUP,
    "DeviceMesh._rank_map": "meshcompat.get_root_mesh(mesh).mesh.flatten()",
    "DeviceMesh._root_mesh": _ROOT,
    "DeviceMesh._unflatten": _UNFLATTEN,
    "DeviceMesh.from_group": "meshcompat.from_group(groups, device_type, mesh, mesh_dim_names=names)",
    "DeviceMesh.get_all_groups": "[mesh.get_group(dim) for dim in range(mesh.ndim)]",
    "_FlatLayout": _LAYOUT,
    "_MeshEnv._get_all_submeshes": _SUBMESHES,
    "_MeshEnv._set_mesh_dim_group_options": "meshcompat.init_device_mesh(..., backend_override=...)",
    "_MeshEnv.child_to_parent_mapping": _ROOT,
    "_MeshEnv.child_to_root_mapping": _ROOT,
    "_MeshEnv.create_child_mesh": _SUBMESH,
    "_MeshEnv.create_flatten_mesh": _FLATTEN,
    "_MeshEnv.create_sub_mesh": _SUBMESH,
    "_MeshEnv.flatten_name_to_root_dims": _FLATTENED,
    "_MeshEnv.get_mesh_dim_by_name": "mesh.mesh_dim_names.index(name)",
    "_MeshEnv.get_parent_mesh": _ROOT,
    "_MeshEnv.get_root_mesh": _ROOT,
    "_MeshEnv.mesh_dim_group_options": "meshcompat.init_device_mesh(..., backend_override=...)",
    "_MeshEnv.parent_to_child_mapping": _SUBMESH,
    "_MeshEnv.root_to_flatten_mapping": _FLATTENED,
    "_MeshLayout": _LAYOUT,
    "init_device_mesh": "meshcompat.init_device_mesh(device_type, mesh_shape, ...)",
}
