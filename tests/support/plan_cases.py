"""Random jobs to plan, and the same jobs made by the builders and by torch's own calls.

Nothing here asks `meshcompat.plan` anything but what a request looks like.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.distributed as dist
from torch.distributed import device_mesh

import meshcompat as mc
from meshcompat.plan.request import Request, Split
from tests.support import native

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

CONFIGS = {"fsdp2": mc.FSDP2Config, "megatron-fsdp": mc.MegatronFSDPConfig, "ddp": mc.DDPConfig}
WORLDS = (1, 2, 6, 8, 12, 16, 24, 32, 36, 48, 64)


class Made(NamedTuple):
    """Meshes by the names that a plan gives them, and how many groups this rank holds for them."""

    meshes: dict[str, DeviceMesh]
    groups: int


def requests(count: int, seed: int = 0) -> list[Request]:
    """Return random requests: about two of three fit."""
    chance = random.Random(seed)  # noqa: S311  (chosen, not secret)
    return [_request(chance) for _ in range(count)]


def make(request: Request) -> Made:
    """Make the meshes of a request with the builders, as the rank of this world."""
    if request.strategy is None:
        names = tuple(name for name, _ in request.mesh)
        shape = tuple(size for _, size in request.mesh)
        root = mc.init_named_mesh(mc.MeshSpec(shape, names, request.flattened))
        experts = None
    else:
        sizes: dict[str, Any] = {f"{name}_size": size for name, size in request.sizes.items()}
        root, experts = mc.create_device_meshes(
            CONFIGS[request.strategy](),
            mc.ParallelismSizes(**sizes),
            world_size=request.world_size,
        )
    meshes = {} if root is None else {"root": root, **mc.get_flattened_meshes(root)}
    if experts is not None:
        meshes["moe"] = experts
    for split in request.splits:
        line = mc.get_flat_mesh(root, split.mesh_dim)
        meshes[split.mesh_name] = mc.unflatten(line, split.mesh_dim, split.sizes, split.names)
    return Made(meshes, _held(meshes))


def make_by_torch(request: Request, made: Made) -> int:
    """Make the meshes of *made* with torch's own calls, and return the groups this rank holds.

    Raises:
        Absent: This torch cannot split a mesh dim.
    """
    native.require("_unflatten")
    shapes = {name: (tuple(mesh.shape), mesh.mesh_dim_names) for name, mesh in made.meshes.items()}
    if not shapes:
        return 0
    shape, names = shapes.pop("root")
    root = device_mesh.init_device_mesh("cpu", shape, mesh_dim_names=names)
    kept = {"root": root, **{name: _picked(root, (name,)) for name in names}}
    joined = _joined(request)
    for name in list(shapes):
        if name in joined:
            kept[name] = native.flatten(_picked(root, joined[name]), name)
        elif name == "moe":
            kept["stage"] = native.flatten(_picked(root, names[1:]), "stage")
            kept[name] = native.unflatten(kept["stage"], 0, *shapes[name])
    for split in request.splits:
        kept[split.mesh_name] = native.unflatten(kept[split.mesh_dim], 0, split.sizes, split.names)
    return _held(kept)


def _joined(request: Request) -> dict[str, tuple[str, ...]]:
    if request.strategy is None:
        return request.flattened
    if request.strategy == "megatron-fsdp":
        return {"dp_cp": ("dp", "cp")}
    replicas = ("dp_replicate", "dp_shard")
    return {"dp": replicas, "dp_shard_cp": ("dp_shard", "cp"), "dp_cp": (*replicas, "cp")}


def _picked(root: DeviceMesh, names: tuple[str, ...]) -> DeviceMesh:
    return root if names == root.mesh_dim_names else native.pick(root, names)


def _held(meshes: dict[str, DeviceMesh]) -> int:
    """Return the groups that this rank holds; the default one counts where a mesh dim has it."""
    groups = [mesh.get_group(dim) for mesh in meshes.values() for dim in range(mesh.ndim)]
    return native.groups() - 1 + any(group is dist.group.WORLD for group in groups)


def _request(chance: random.Random) -> Request:
    world_size = chance.choice(WORLDS)
    rank = chance.randrange(world_size)
    kind = chance.choices(["fsdp2", "megatron-fsdp", "ddp", "own"], [6, 2, 1, 4])[0]
    if kind == "own":
        return _own(chance, world_size, rank)
    wanted = {
        "fsdp2": ("pp", "tp", "cp", "dp_replicate", "ep"),
        "megatron-fsdp": ("tp", "cp"),
        "ddp": (),
    }[kind]
    left = world_size
    sizes: dict[str, Any] = {}
    for name in chance.sample(wanted, len(wanted)):
        if chance.random() < 0.6:
            sizes[name] = chance.choice(_divisors(left))
            left //= sizes[name] if name != "ep" else 1
    if chance.random() < 0.15:
        sizes["dp"] = left * math.prod(sizes.get(name, 1) for name in ("dp_replicate",))
    if chance.random() < 0.15:
        name = chance.choice(["dp", "dp_replicate", "tp", "pp", "cp", "ep"])
        sizes[name] = chance.choice([-1, 0, None, 1, 2, 3, 5, 64, True, "2"])
    splits: tuple[Split, ...] = ()
    if kind != "ddp" and chance.random() < 0.3:
        splits = (_split(chance, chance.choice(["cp", "tp", "dp", "dp_cp", "ring"]), world_size),)
    return Request(world_size, kind, sizes, splits=splits, rank=rank)


def _own(chance: random.Random, world_size: int, rank: int) -> Request:
    names = chance.sample(["pp", "dp", "tp", "cp", "a b"], chance.randint(1, 4))
    left, mesh = world_size, []
    for name in names[1:]:
        size = chance.choice(_divisors(left))
        left //= size
        mesh.append((name, size))
    mesh.append((names[0], left if chance.random() < 0.9 else left + 1))
    order = [name for name, _ in mesh]
    flattened = {}
    for name in ("flat", "other"):
        if chance.random() < 0.5:
            parts = chance.sample(order, chance.randint(1, len(order)))
            if chance.random() < 0.85:
                parts.sort(key=order.index)
            flattened[name] = tuple(parts)
    splits = []
    if chance.random() < 0.6:
        name = chance.choice([*order, *flattened, "unknown"])
        size = math.prod(dict(mesh).get(part, 1) for part in flattened.get(name, (name,)))
        splits = [_split(chance, name, size)]
    if chance.random() < 0.05:
        flattened[order[0]] = (order[-1],)
    return Request(world_size, None, {}, tuple(mesh), flattened, splits=tuple(splits), rank=rank)


def _split(chance: random.Random, mesh_dim: str, size: int) -> Split:
    """Return a factorisation that mostly has *size* ranks."""
    count = chance.randint(1, 3)
    sizes = [chance.choice(_divisors(size)) for _ in range(count - 1)]
    sizes.append(max(size // math.prod(sizes), 1))
    chance.shuffle(sizes)
    names = tuple(chance.sample(["x", "y", "z"], count))
    names = names if chance.random() < 0.95 else (names[0], names[0])
    return Split(mesh_dim, tuple(sizes), names)


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]
