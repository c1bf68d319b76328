"""A package, because some machines have another `tests` installed, which would hide a mere folder."""
