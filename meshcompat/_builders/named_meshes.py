"""Root meshes from a spec, and second factorisations of their dims by the field's names."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._arguments import as_list
from meshcompat._builders.parallelism import MeshAxisName, MeshSpec
from meshcompat._builders.sizes import degree, limit_of
from meshcompat._builders.specs import EXPERT_NAMES, plain, plain_flattened
from meshcompat._devices import mesh_device_type
from meshcompat._eras.process_groups import GroupOptions
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import view_of
from meshcompat._mesh.memory import Dim, View
from meshcompat._mesh.order import refuse_descending
from meshcompat._reshape import flatten_view, unflatten, unflatten_view
from meshcompat._reshape_refusals import refuse_flatten, split_dim
from meshcompat._roots import init_device_mesh, ranks_in_world
from meshcompat._select import get_flat_mesh, part_of


def init_named_mesh(
    spec: MeshSpec,
    *,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> DeviceMesh:
    """Return the root mesh of a spec, with its flattened mesh dims.

    Args:
        spec: Shape, names, and flattened mesh dims.
        timeout: Timeout of every group, a timedelta or seconds; by default that of the default
            group.
        device_type: Device type of the meshes; by default that of the default group's backend.
        ranks: Ordered global ranks, for a mesh on part of the world.
        timeout_minutes: The timeout in minutes, in place of *timeout*.

    Returns:
        A root mesh of shape ``spec.shape``.

    Raises:
        MeshLayoutError: The spec contradicts itself, or does not fill the ranks.

    Collective:
        Yes: all ranks of the world, members of *ranks* or not.

    Example:
        >>> from meshcompat import MeshSpec, get_flat_mesh, init_named_mesh
        >>> mesh = init_named_mesh(MeshSpec((2, 4), ("dp", "tp"), {"all": ("dp", "tp")}))
        >>> get_flat_mesh(mesh, "all").size()
        8
    """
    shape, names, flattened = plain(spec)
    limit = limit_of(timeout, timeout_minutes)
    order = ranks_in_world(shape, ranks)
    layouts = dict(zip(names, _layout.dims_of(shape), strict=True))
    joined = {
        name: _layout.join(layouts[part] for part in parts) for name, parts in flattened.items()
    }
    refuse_descending(order, joined)
    device = mesh_device_type() if device_type is None else device_type
    mesh = init_device_mesh(device, shape, mesh_dim_names=names, timeout=limit, ranks=order)
    register_flattened_axes(mesh, flattened, timeout=limit)
    return mesh


def register_flattened_axes(
    device_mesh: DeviceMesh,
    flattened_axes: Mapping[str, Sequence[str]],
    *,
    timeout: timedelta | float | None = None,
    publish: bool = False,
    timeout_minutes: float | None = None,
) -> None:
    """Flatten mesh dims under new names, in the order given.

    Args:
        device_mesh: The root or any submesh.
        flattened_axes: For each new name the mesh dims that it joins.
        timeout: Timeout of new groups, a timedelta or seconds; by default that of the mesh.
        publish: Write the flattened meshes into torch's own registry too, for code that
            finds them only by ``root[name]``; 2.2 to 2.4 have none. On torch 2.11 to 2.15
            DTensor's redistribute of uneven shards then returns wrong values:
            https://github.com/pytorch/pytorch/pull/194457.
        timeout_minutes: The timeout in minutes, in place of *timeout*.

    Raises:
        MeshDimError: A mesh dim to join is unknown.
        MeshLayoutError: A name is taken, or dims are out of order; or, with *publish* on
            2.5 to 2.9, dims do not lie side by side, where torch would slice wrong ranks.

    Collective:
        Yes, where a group is made: all ranks of the world, members of the mesh or not.

    Example:
        >>> from meshcompat import has_axis, init_device_mesh, register_flattened_axes
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> register_flattened_axes(mesh, {"world": ("dp", "tp")})
        >>> has_axis(mesh, "world")
        True
    """
    view = view_of(device_mesh)
    limit = limit_of(timeout, timeout_minutes)
    made_with = GroupOptions(timeout=limit or view.root.timeout)
    parts = {
        name: part_of(view, joined) for name, joined in plain_flattened(flattened_axes).items()
    }
    for name, part in parts.items():
        refuse_flatten(part, name, made_with, is_asked=limit is not None)
        if publish:
            links.refuse_publish(part)
    for name, part in parts.items():
        flatten_view(part, name, made_with, is_asked=limit is not None)
        if publish:
            links.publish(view.root, name)


def create_moe_mesh(
    device_mesh: DeviceMesh,
    *,
    ep_shard_size: int,
    ep_size: int,
    pp_size: int = 1,
    timeout: timedelta | float | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> DeviceMesh:
    """Return the expert mesh over all dims but ``pp``: one for each pipeline stage.

    Args:
        device_mesh: The root mesh, with a mesh dim ``pp`` where there are stages.
        ep_shard_size: Ranks that shard the same experts.
        ep_size: Ranks that the experts are spread over; varies fastest.
        pp_size: Number of pipeline stages; above 1 it is checked against the mesh.
        timeout: Timeout of the new groups, a timedelta or seconds; by default that of the mesh.
        ranks: The ranks that *device_mesh* was made of, checked against it.
        timeout_minutes: The timeout in minutes, in place of *timeout*.

    Returns:
        A mesh ``(ep_shard, ep)`` with the same root and its own groups.

    Raises:
        MeshLayoutError: The sizes do not multiply up to a stage, or *pp_size* or *ranks* is
            not that of the mesh.

    Collective:
        Yes: all ranks of the world, members of the mesh or not.

    Example:
        >>> from meshcompat import create_moe_mesh, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dp"))
        >>> create_moe_mesh(mesh, ep_shard_size=2, ep_size=2, pp_size=2).mesh.tolist()
        [[0, 1], [2, 3]]
    """
    view = view_of(device_mesh)
    names = tuple(name for name in view.names if name != MeshAxisName.PP)
    if not names:
        raise MeshLayoutError(
            f"{device_mesh!r} has no named mesh dims beside 'pp' to spread experts over; give "
            f"mesh_dim_names to meshcompat.init_device_mesh"
        )
    stage = part_of(view, names)
    axes = _layout.join(stage.layouts)
    sizes = (degree(ep_shard_size), degree(ep_size))
    count = _layout.size_of(axes)
    if math.prod(sizes) != count:
        raise MeshLayoutError(
            f"ep_shard_size * ep_size = {sizes[0]} * {sizes[1]} = {math.prod(sizes)}, but mesh "
            f"dims {names} have {count} ranks; give sizes whose product is {count}"
        )
    stages = _layout.size_of(_layout.join(view.layouts)) // count
    if degree(pp_size) not in {1, stages}:
        raise MeshLayoutError(
            f"pp_size {pp_size!r} is not that of the mesh, which has {stages} pipeline stages"
        )
    if ranks is not None and list(as_list(ranks)) != view.ranks:
        raise MeshLayoutError(f"ranks {ranks!r} are not those of the mesh; leave them out")
    # All dims as one are a stepping stone: nobody communicates over it, so it has neither a group
    # nor a mesh.
    line = View(view.root, (Dim(None, axes, None),), view.anchor, elsewhere=stage.elsewhere)
    made_with = GroupOptions(timeout=limit_of(timeout, timeout_minutes) or view.root.timeout)
    new = [
        (name, part, made_with)
        for name, part in zip(EXPERT_NAMES, split_dim(line, 0, sizes), strict=True)
    ]
    return unflatten_view(line, 0, new)


def create_ring_ulysses_mesh(
    device_mesh: DeviceMesh, *, ring_degree: int, ulysses_degree: int
) -> DeviceMesh:
    """Return the ``cp`` mesh dim as two: ring attention outside, Ulysses inside.

    Args:
        device_mesh: A mesh with a mesh dim ``cp``, the root or any submesh.
        ring_degree: Ranks of ring attention.
        ulysses_degree: Ranks of Ulysses attention; varies fastest.

    Returns:
        A mesh ``(ring, ulysses)`` with the same root and its own groups.

    Raises:
        MeshDimError: There is no ``cp``.
        MeshLayoutError: The degrees do not multiply up to its size.

    Collective:
        Yes, at the first such call: all ranks of the world, members of the mesh or not.

    Example:
        >>> from meshcompat import create_ring_ulysses_mesh, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "cp"))
        >>> create_ring_ulysses_mesh(mesh, ring_degree=2, ulysses_degree=2).mesh.tolist()
        [[0, 1], [2, 3]]
    """
    cp = get_flat_mesh(device_mesh, MeshAxisName.CP)
    return unflatten(cp, 0, (ring_degree, ulysses_degree), ("ring", "ulysses"))


def validate_mesh_spec(spec: MeshSpec) -> None:
    """Refuse a spec that contradicts itself.

    Raises:
        MeshLayoutError: It does.
    """
    plain(spec)
