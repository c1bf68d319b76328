"""Ranks that a launcher such as torchrun started: each watches the others through a store.

Only `place`, which reads what the launcher says, does without torch.
"""
