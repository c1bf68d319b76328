"""Ranks that are started here, on CPU: each is watched through a pipe, and always ended.

Only `rank`, which runs in their processes, imports torch.
"""
