"""Reading a module as Python would run it, without running it.

Each class here reads more kinds of nodes than the one before; `reader` has the last.
"""
