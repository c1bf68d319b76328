"""What is known of a mesh, real `DeviceMesh` objects made from it, and meshes that others made.

- `memory`: the one store of what is known of a mesh and of its root.
- `links`: what torch itself is told of a mesh: `one_root` from 2.10 on, `tables` up to 2.9.
- `order`: in which order a group can have its ranks.
- `objects`: real meshes from mesh dims that are known.
- `foreign`: meshes that someone else made.
- `lookup`: from a mesh that came in to what is known of it.
"""
