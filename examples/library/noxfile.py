"""Test the library on every torch that meshcompat knows, one session each.

The list of releases needs no torch: ``pip install "nox[uv]" packaging``, then ``pip install --no-deps meshcompat``.
"""

from __future__ import annotations

import os

import nox

from meshcompat.matrix import rows

nox.options.default_venv_backend = "uv"

ROWS = {row.torch: row for row in rows(">=2.2", edges=True)}
MESHCOMPAT = os.environ.get("MESHCOMPAT", "meshcompat")  # or a folder, to try a change there


@nox.session
@nox.parametrize(
    "python,torch", [nox.param(row.python, name, id=name) for name, row in ROWS.items()]
)
def tests(session: nox.Session, torch: str) -> None:
    """Run the tests on one release of torch."""
    session.install(*ROWS[torch].requirements, MESHCOMPAT, "-e.", "--group", "test")
    session.run("pytest", *session.posargs)
