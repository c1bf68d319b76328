"""The drawing that `meshcompat.show` returns, which can write itself in several ways."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshcompat._drawing import html, svg, text
from meshcompat._drawing.palette import COLOURS
from meshcompat._errors import MeshLayoutError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from meshcompat._drawing.picture import Picture


class Drawing:
    """A picture of meshes, for a terminal, a notebook, or a file.

    ``str()`` and ``print`` write it without colours, ``rich.print`` with them, and a notebook
    shows it as HTML. Each rank stands with the letters of its group; equal letters of a mesh
    dim are one group.

    Example:
        >>> from meshcompat import MeshLayout, show
        >>> layout = MeshLayout((2, 2), (((2, 2),), ((2, 1),)), ("dp", "tp"))
        >>> print(show(layout, dim="tp", nodes=1).text())
        mesh (dp=2, tp=2), 4 ranks
        <BLANKLINE>
        tp: 2 groups of 2 ranks
        ┌ node 0 ──────────────┐
        │  0 A  1 A  2 B  3 B  │
        └──────────────────────┘
    """

    def __init__(self, picture: Picture) -> None:
        """Draw *picture* when it is asked for."""
        self._picture = picture

    def text(self, width: int | None = None) -> str:
        """Return the picture as text without colours.

        Args:
            width: Columns to use, at least 40; by default those of the terminal.
        """
        columns = shutil.get_terminal_size().columns if width is None else width
        lines = text.lines_of(self._picture, columns)
        return "\n".join("".join(span.text for span in line) for line in lines)

    def svg(self) -> str:
        """Return the picture as the text of an SVG file."""
        return svg.svg_of(self._picture)

    def html(self) -> str:
        """Return the picture as the text of an HTML file."""
        return html.page_of(self._picture)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file: SVG, HTML or text, by the suffix.

        Raises:
            MeshLayoutError: The suffix is none of ``.svg``, ``.html``, ``.htm`` and ``.txt``.
        """
        makers: dict[str, Callable[[], str]] = {
            ".svg": self.svg,
            ".html": self.html,
            ".htm": self.html,
            ".txt": lambda: f"{self.text(80)}\n",
        }
        make = makers.get(Path(path).suffix.lower())
        if make is None:
            raise MeshLayoutError(
                f"cannot draw to {str(path)!r}: its suffix is none of {', '.join(makers)}; give "
                f"a path such as 'mesh.svg'"
            )
        Path(path).write_text(make(), encoding="utf-8")

    def __str__(self) -> str:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        return text.in_encoding(self.text(), encoding)

    def __repr__(self) -> str:
        return f"<drawing of {self._picture.title}>"

    def _repr_html_(self) -> str:
        return html.part_of(self._picture)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[object]:
        from rich.text import Text  # noqa: PLC0415  (whoever calls this has rich)

        styles = {text.BOLD: "bold"} | {
            shade: f"{front} on {back}" for shade, (back, front) in enumerate(COLOURS)
        }
        for line in text.lines_of(self._picture, options.max_width):
            drawn = Text(no_wrap=True, overflow="crop")
            for span in line:
                drawn.append(span.text, None if span.shade is None else styles[span.shade])
            yield drawn
