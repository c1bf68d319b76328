"""How the pages of this folder become a site: `nox -s docs`. No page asks another host for anything when it is read."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

import meshcompat

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "meshcompat"
author = "The meshcompat maintainers"
version = release = meshcompat.__version__
html_title = f"meshcompat {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "data"]
source_suffix = {".md": "markdown"}
nitpicky = True
# No inventory of another project is fetched, so its names lead nowhere here.
OTHERS = (
    r"(torch|rich|collections|datetime|typing|copy|pickle|timedelta|ProcessGroup|DeviceMesh)\b.*"
)
nitpick_ignore_regex = [
    ("py:.*", OTHERS),
    ("py:.*", r"(.*\._.*|meshcompat\.matrix\.releases\..*|[A-Z](\.\w+)?)"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]

napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_custom_sections = ["Collective", "Torch"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
default_role = "py:obj"

html_theme = "furo"
html_static_path: list[str] = []
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}

REPOSITORY = "https://github.com/meshcompat/meshcompat"


def leave_the_site(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Let links to files that are no page lead to the repository."""
    source[0] = re.sub(r"\]\(\.\./([\w./-]+)\)", rf"]({REPOSITORY}/blob/main/\1)", source[0])


def leave_the_folder(_app: Sphinx, _path: Path, _parent: str, content: list[str]) -> None:
    """Bring the links of a page that lies above docs/ to where they lead: a page, or the repository."""
    text = re.sub(r"\]\(docs/([\w-]+\.md)\)", r"](\1)", content[0])
    content[0] = re.sub(
        r"\]\((?!https?:|#)([\w-]+/[\w./-]+|\.github[\w./-]+|changelog\.d)\)",
        rf"]({REPOSITORY}/blob/main/\1)",
        text,
    )


def setup(app: Sphinx) -> None:
    """Register what this site does on its own."""
    app.connect("source-read", leave_the_site)
    app.connect("include-read", leave_the_folder)
