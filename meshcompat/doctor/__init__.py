"""What a bug report needs to know of an installation, and the command ``meshcompat doctor``."""
