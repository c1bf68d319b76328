"""Which names torch has, by release: the table, and the command ``meshcompat api`` that reads it.

The table is data (``names.json``), collected from the wheels of all releases by ci/names.py.
Nothing here imports torch.
"""
