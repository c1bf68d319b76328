"""Every torch for a library's own CI: the list, and the command ``meshcompat matrix`` that prints it.

`rows` needs no torch, so that a noxfile may ask it: ``pip install --no-deps meshcompat packaging``.
"""

from meshcompat.matrix.releases import Row, rows

__all__ = ["Row", "rows"]
