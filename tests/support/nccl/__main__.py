"""One part of ci/nccl.py: `python -m tests.support.nccl PART FILE` writes a line of JSON for each result."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path


def end_with(parent: int) -> None:
    """End this process when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main(part: str, path: str) -> None:
    """Run a part, and write each result as it comes."""
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    with Path(path).open("a", encoding="utf-8", buffering=1) as file:
        module = importlib.import_module(f"tests.support.nccl.{part}")
        module.run(lambda result: file.write(json.dumps(result._asdict()) + "\n"))


if __name__ == "__main__":
    main(*sys.argv[1:])
