"""``meshcompat plan``: the meshes of a job on paper, without torch, processes or GPUs."""
