"""What to write instead of keyword arguments and layouts; the table of names has the rest."""

from __future__ import annotations

LAYOUT = "meshcompat.layout_of(mesh), which is plain data on every release"
KEYWORDS = {
    "backend_override": {
        "init_device_mesh": "meshcompat.init_device_mesh(..., backend_override=...), which works on every release",
        "DeviceMesh": "meshcompat.init_device_mesh(..., backend_override=..., ranks=...)",
        "_flatten": "meshcompat.flatten(..., backend_override=...), which works on every release",
        "_unflatten": "meshcompat.unflatten(..., backend_override=...)",
    },
}
CONSTRUCTOR = "meshcompat.init_device_mesh(..., ranks=...), or meshcompat.get_submesh(mesh, names)"
