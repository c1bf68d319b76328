"""Processes that are ranks: forked from one seed, met through a store, named in words.

`meshcompat.verify` and `meshcompat.testing` start ranks, and `meshcompat.doctor` meets those of a
launcher; what they need for it is here. Nothing here knows of meshes, and only `stores` imports
torch.
"""
