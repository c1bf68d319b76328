"""A package, for the reason that tests/ is one."""
