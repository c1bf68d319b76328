"""``meshcompat verify``: every process group of a training job's meshes, tried before the job.

The rooms, from plain to real:

- `plan`: which meshes, and which ranks must meet in each group: arithmetic, no torch.
- `checks`: what one rank does: make the meshes, all-reduce on every group, compare.
- `local/`, `launched/`: the ranks: started here, or those that a launcher started.
- `roll`, `verdict`: what is heard of each rank, and what that means.
- `report`, `screen`, `arguments`: what the user reads and writes.

Nothing but `checks` and what runs on ranks in `local/` and `launched/` imports torch.
"""
