# The contents page: every public name and the room it lives in, listed here and nowhere else, in
# the families of README.md. Type checkers read it as it is, and `__init__.py` reads it to find the
# room of a name.
#
# ruff: isort: skip_file

__version__: str
__all__: list[str]  # noqa: PYI035  (it would be the list once more)

# Make the first mesh.
from meshcompat._roots import init_device_mesh as init_device_mesh
from meshcompat._roots import from_group as from_group
from meshcompat._destroy import destroy_mesh as destroy_mesh
from meshcompat._agreement.checking import unchecked as unchecked

# Select: no process group is made.
from meshcompat._select import concatenate as concatenate
from meshcompat._select import get_all_submeshes as get_all_submeshes
from meshcompat._select import get_flat_mesh as get_flat_mesh
from meshcompat._select import get_fsdp_dp_mesh as get_fsdp_dp_mesh
from meshcompat._select import get_submesh as get_submesh

# Reshape: process groups are made where ranks are new.
from meshcompat._reshape import flatten as flatten
from meshcompat._reshape import unflatten as unflatten
from meshcompat._reshape import register_axis as register_axis

# Ask.
from meshcompat._inspect import get_all_groups as get_all_groups
from meshcompat._inspect import get_axis_names as get_axis_names
from meshcompat._inspect import get_axis_size as get_axis_size
from meshcompat._inspect import get_flattened_meshes as get_flattened_meshes
from meshcompat._inspect import get_group as get_group
from meshcompat._inspect import get_local_rank as get_local_rank
from meshcompat._inspect import get_ranks as get_ranks
from meshcompat._inspect import get_root_mesh as get_root_mesh
from meshcompat._inspect import has_axis as has_axis
from meshcompat._inspect import is_member as is_member
from meshcompat._inspect import layout_of as layout_of
from meshcompat._inspect import same_root as same_root
from meshcompat._layout import MeshLayout as MeshLayout
from meshcompat._show import show as show

# Store.
from meshcompat._travel.plain_data import mesh_from_dict as mesh_from_dict
from meshcompat._travel.plain_data import mesh_to_dict as mesh_to_dict

# Build what training strategies ask for.
from meshcompat._builders.named_meshes import create_moe_mesh as create_moe_mesh
from meshcompat._builders.named_meshes import create_ring_ulysses_mesh as create_ring_ulysses_mesh
from meshcompat._builders.named_meshes import init_named_mesh as init_named_mesh
from meshcompat._builders.named_meshes import register_flattened_axes as register_flattened_axes
from meshcompat._builders.parallelism import DDPConfig as DDPConfig
from meshcompat._builders.parallelism import FSDP2Config as FSDP2Config
from meshcompat._builders.parallelism import MegatronFSDPConfig as MegatronFSDPConfig
from meshcompat._builders.parallelism import MeshAxisName as MeshAxisName
from meshcompat._builders.parallelism import MeshSpec as MeshSpec
from meshcompat._builders.parallelism import ParallelismSizes as ParallelismSizes
from meshcompat._builders.strategies import create_device_meshes as create_device_meshes
from meshcompat._builders.strategies import create_fsdp2_device_mesh as create_fsdp2_device_mesh
from meshcompat._builders.strategies import (
    create_megatron_fsdp_device_mesh as create_megatron_fsdp_device_mesh,
)

# Errors.
from meshcompat._errors import MeshCompatError as MeshCompatError
from meshcompat._errors import MeshDimError as MeshDimError
from meshcompat._errors import MeshLayoutError as MeshLayoutError
from meshcompat._errors import MeshMismatchError as MeshMismatchError
from meshcompat._errors import NotInMeshError as NotInMeshError
from meshcompat._errors import UnsupportedTorchError as UnsupportedTorchError
from meshcompat._errors import UntestedTorchWarning as UntestedTorchWarning
