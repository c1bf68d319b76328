"""Ranks that a launcher such as torchrun started: each watches the others through a store."""
