"""What to write instead of torch's private names."""

from __future__ import annotations

MEMBERS = {
    "_flatten": "meshcompat.flatten(mesh, mesh_dims, name)",
    "_unflatten": "meshcompat.unflatten(mesh, mesh_dim, mesh_sizes, mesh_dim_names)",
    "_concatenate": "meshcompat.concatenate(meshes)",
    "_get_root_mesh": "meshcompat.get_root_mesh(mesh)",
    "_root_mesh": "meshcompat.get_root_mesh(mesh)",
    "_parent_mesh": "meshcompat.get_root_mesh(mesh)",
    "get_root_mesh": "meshcompat.get_root_mesh(mesh)",
    "get_parent_mesh": "meshcompat.get_root_mesh(mesh)",
    "child_to_root_mapping": "meshcompat.get_root_mesh(mesh)",
    "child_to_parent_mapping": "meshcompat.get_root_mesh(mesh)",
    "_flatten_mapping": "meshcompat.get_flat_mesh(mesh, name), or get_flattened_meshes(mesh)",
    "root_to_flatten_mapping": "meshcompat.get_flattened_meshes(mesh)",
    "flatten_name_to_root_dims": "meshcompat.layout_of(mesh)",
    "create_flatten_mesh": "meshcompat.flatten(mesh, mesh_dims, name)",
    "_create_flatten_mesh": "meshcompat.flatten(mesh, mesh_dims, name)",
    "create_child_mesh": "meshcompat.get_submesh(mesh, names)",
    "create_sub_mesh": "meshcompat.get_submesh(mesh, names)",
    "_create_sub_mesh": "meshcompat.get_submesh(mesh, names)",
    "_create_unflatten_mesh": "meshcompat.unflatten(mesh, mesh_dim, mesh_sizes, mesh_dim_names)",
    "_get_all_submeshes": "meshcompat.get_all_submeshes(mesh, name)",
    "get_all_groups": "meshcompat.get_all_groups(mesh)",
    "from_group": "meshcompat.from_group(groups, device_type)",
    "_dim_group_names": "mesh.get_group(name).group_name",
    "_dim_group_infos": "meshcompat.get_ranks(mesh, name)",
    "_pg_registry": "meshcompat.get_group(mesh, name)",
    "_layout": "meshcompat.layout_of(mesh)",
    "_rank_map": "meshcompat.get_ranks(mesh)",
    "_flatten_rank_map": "meshcompat.get_ranks(mesh)",
    "_mesh_dim_names": "mesh.mesh_dim_names",
    "_device_type": "mesh.device_type",
    "_is_current_rank_part_of_mesh": "meshcompat.is_member(mesh)",
    "get_mesh_dim_by_name": "mesh.mesh_dim_names.index(name)",
    "_get_mesh_dim_by_name": "mesh.mesh_dim_names.index(name)",
    "mesh_dim_group_options": "meshcompat.init_device_mesh(..., backend_override=...)",
    "_set_mesh_dim_group_options": "meshcompat.init_device_mesh(..., backend_override=...)",
    "_get_or_create_default_group": "meshcompat.init_device_mesh(device_type, mesh_shape)",
    "abort": "meshcompat.destroy_mesh(mesh, abort=True)",
}
LAYOUT = "meshcompat.layout_of(mesh), which is plain data on every release"
IMPORTS = {
    "DeviceMesh": "from torch.distributed.device_mesh import DeviceMesh",
    "init_device_mesh": "from torch.distributed.device_mesh import init_device_mesh",
    "_MeshLayout": LAYOUT,
    "_FlatLayout": LAYOUT,
    "_mesh_layout": LAYOUT,
    "_mesh_resources": "meshcompat's functions",
}
KEYWORDS = {
    "backend_override": {
        "init_device_mesh": "meshcompat.init_device_mesh(..., backend_override=...), which works on every release",
        "DeviceMesh": "meshcompat.init_device_mesh(..., backend_override=..., ranks=...)",
        "_flatten": "meshcompat.flatten(..., backend_override=...), which works on every release",
        "_unflatten": "meshcompat.unflatten(..., backend_override=...)",
    },
}
CONSTRUCTOR = "meshcompat.init_device_mesh(..., ranks=...), or meshcompat.get_submesh(mesh, names)"
