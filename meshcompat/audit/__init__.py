"""Which torch releases a project's mesh code runs on, found by reading its source.

Nothing here imports torch or the code that is read. `files` finds and reads sources, `reading`
turns them into *sites* (places where code touches a mesh, with what is known of the receiver and
of the guards around it), `rules` judges sites, `verdict` sums up, `formats` prints.
"""
