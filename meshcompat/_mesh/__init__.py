"""What is known of a mesh, real `DeviceMesh` objects made from it, and meshes that others made.

- `memory`: the one store of what is known of a mesh and of its root.
- `tables`: what torch itself finds of a mesh.
- `objects`: real meshes from mesh dims that are known.
- `foreign`: meshes that someone else made.
- `lookup`: from a mesh that came in to what is known of it.
"""
