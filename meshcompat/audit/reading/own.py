"""What meshcompat's own functions give: torch's meshes, with the members that torch's release has."""

from __future__ import annotations

from meshcompat.audit.values import Confidence, Kind, Mesh, Value, mesh, strings

_MESH = mesh(Confidence.HIGH)
_MESHES = Value(Kind.CONTAINER, data=_MESH)
_PAIR = Value(Kind.SEQUENCE, data=(_MESH, _MESH))
_GIVES = {
    **dict.fromkeys(("create_device_meshes", "create_fsdp2_device_mesh"), _PAIR),
    **dict.fromkeys(("get_all_submeshes", "get_flattened_meshes"), _MESHES),
    **dict.fromkeys(
        (
            "concatenate", "create_megatron_fsdp_device_mesh", "create_moe_mesh", "create_ring_ulysses_mesh",
            "flatten", "from_group", "get_flat_mesh", "get_fsdp_dp_mesh", "get_root_mesh", "get_submesh",
            "init_device_mesh", "init_named_mesh", "mesh_from_dict", "register_axis", "unflatten", "unflatten_compat",
        ),
        _MESH,
    ),
}  # fmt: skip
_MODULES = {"meshcompat", "meshcompat.mesh_utils"}


def given(
    path: str, place: str, arguments: list[Value], keywords: dict[str, Value]
) -> Value | None:
    """Return what a function gives, or None for a path that is no function of meshcompat that gives meshes."""
    module, _, name = path.rpartition(".")
    if module not in _MODULES:
        return None
    if module == "meshcompat.mesh_utils":
        name = name.removeprefix("_")
    if name == "init_device_mesh":
        dims = strings(keywords.get("mesh_dim_names"))
        return mesh(Confidence.HIGH, dims=dims, identity=place)
    if name == "get_submesh":
        return _submesh(dict(zip(("mesh", "names"), arguments, strict=False)) | keywords)
    return _GIVES.get(name)


def _submesh(arguments: dict[str, Value]) -> Value:
    """Return a slice with its names where they are dims of a known mesh in order: any other is no slice of torch's."""
    of, names = arguments.get("mesh"), arguments.get("names")
    facts = of.data if of is not None and isinstance(of.data, Mesh) else Mesh(Confidence.HIGH)
    wanted = strings(names)
    if wanted is None and names is not None and isinstance(names.constant, str):
        wanted = (names.constant,)
    if wanted is None or not _ascend(wanted, facts.dims or ()):
        return _MESH
    root = facts.root if facts.is_submesh else facts.dims
    return mesh(Confidence.HIGH, dims=wanted, root=root, is_submesh=True, identity=facts.identity)


def _ascend(names: tuple[str, ...], dims: tuple[str, ...]) -> bool:
    places = [dims.index(name) for name in names if name in dims]
    return len(places) == len(names) and places == sorted(places)
