"""Pictures of meshes, drawn from plain data: no torch, and one file without scripts for each."""
