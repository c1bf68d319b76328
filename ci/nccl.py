"""All that is to be shown on GPUs, within 8 minutes, on the python and torch of the machine: `python ci/nccl.py`.

It installs nothing and asks no network; python needs the test group beside torch. With several GPUs there is a rank on
each; with one GPU, `--ranks` of them share it, and where NCCL does not take that, there is one rank. The parts stand in
the order of their worth, each with a time limit of its own, and the file is written as results come, so that a run
that was cut off still tells. A part is right when it reported, came to its end, and nothing that it tried was wrong.
`--rehearse` runs every part on CPU with gloo, two at a time and in no hurry: to be done before a GPU is there.
docs/nccl.md is made of the files in docs/data/nccl/ (`nox -s tables`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
STORED = ROOT / "docs" / "data" / "nccl"


class Part(NamedTuple):
    """A module of tests/support/nccl/: the seconds that it may take, and what it shows."""

    name: str
    limit: int
    shows: str


PARTS = (
    Part("world", 60, "the ranks meet, and a first all-reduce is right"),
    Part("sums", 130, "sums of every group of all meshes of a root, split groups, subsets"),
    Part("verify", 60, "`meshcompat verify --device cuda` on all ranks"),
    Part("disagreements", 45, "ranks that ask for different groups are told who differs"),
    Part("deaths", 100, "a rank that dies before, during or after a call is named"),
    Part("timeouts", 40, "one timeout reaches every group: a collective without its peer ends"),
    Part("consumers", 100, "FSDP2 with HSDP and TP, DTensor, checkpoints, pipelines"),
    Part("threads", 30, "groups are made on the current device of the thread that asks"),
    Part("memory", 60, "what the groups of a layout take, ours and torch's"),
    Part("building", 60, "how long a layout's build takes, ours and torch's"),
    Part("cycles", 60, "meshes that are made and destroyed again and again leave nothing"),
    Part("kinds", 120, "every kind of mesh in a world of its own"),
)

Run = dict[str, Any]


class Runner:
    """Runs part after part and keeps the file up to date."""

    def __init__(self, path: Path, within: float, *, is_rehearsal: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.end = time.monotonic() + within
        self.is_rehearsal = is_rehearsal
        self.ranks = 1
        self.writing = threading.Lock()
        self.found: Run = {
            "date": datetime.now(timezone.utc).date().isoformat(),
            "rehearsal": is_rehearsal,
            "parts": [],
        }

    def run(self, part: Part) -> bool:
        """Run a part, and return whether it is right."""
        limit = part.limit * (3 if self.is_rehearsal else 1)
        seconds = min(limit, self.end - time.monotonic())
        told: Run = {"name": part.name, "ranks": self.ranks, "ended": "not begun", "results": []}
        self.found["parts"].append(told)
        if seconds > 1:
            self._run(part, told, seconds)
        else:
            told["ended"] = "not begun: no time was left"
        self._save()
        verdict = "right" if is_right(told) else "NOT RIGHT"
        counted = f"{len(told['results'])} results, {told.get('seconds', 0):g} s"
        print(f"{part.name:14} {verdict:10} {counted}, ended: {told['ended']}", flush=True)
        return is_right(told)

    def _run(self, part: Part, told: Run, seconds: float) -> None:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            results, output = Path(folder, "results"), Path(folder, "output")
            results.touch()
            command = [sys.executable, "-m", "tests.support.nccl", part.name, str(results)]
            with output.open("w", encoding="utf-8") as log:
                process = subprocess.Popen(  # noqa: S603  (this interpreter, our own module)
                    command, cwd=ROOT, env=self._environment(), stdout=log, stderr=log
                )
                while process.poll() is None and time.monotonic() - start < seconds:
                    time.sleep(0.2)
                    self._take_up(told, results)
                told["ended"] = f"exit status {process.returncode}" if process.returncode else "all"
                if process.poll() is None:
                    process.kill()
                    process.wait()
                    told["ended"] = f"cut off after {seconds:.0f} s"
            self._take_up(told, results)
            told["seconds"] = round(time.monotonic() - start, 1)
            if not is_right(told):
                print(output.read_text(encoding="utf-8", errors="replace")[-6000:])
                print("\n".join(f"{line['name']}: {line['told']}" for line in those("wrong", told)))

    def _take_up(self, told: Run, results: Path) -> None:
        lines = results.read_text(encoding="utf-8").split("\n")[:-1]
        if len(lines) > len(told["results"]):
            told["results"] = [json.loads(line) for line in lines]
            self._save()

    def _save(self) -> None:
        with self.writing:
            text = json.dumps(self.found, indent=1, ensure_ascii=False)
            self.path.write_text(text + "\n", encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        added = {"PYTHONPATH": str(ROOT), "MESHCOMPAT_NCCL_RANKS": str(self.ranks)}
        if self.is_rehearsal:
            added["MESHCOMPAT_NCCL_REHEARSAL"] = "1"
        return {"NCCL_DEBUG": "WARN", **os.environ, **added}


def those(verdict: str, part: Run) -> list[Run]:
    """Return the results of a part that are right, wrong or not asked."""
    return [result for result in part["results"] if result["verdict"] == verdict]


def is_right(part: Run) -> bool:
    """Return whether a part reported, came to its end, and found nothing wrong."""
    return bool(part["results"]) and part["ended"] == "all" and not those("wrong", part)


def gpus() -> int:
    """Return how many GPUs torch sees, asked in a process of its own."""
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603


def main(arguments: list[str]) -> int:
    """Run all parts, or those that are named; return 1 if one is not right."""
    parser = argparse.ArgumentParser(description="Show on GPUs what is to be shown there.")
    names = [part.name for part in PARTS]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(names)}; else all")
    parser.add_argument("--out", type=Path, default=Path("nccl.json"), metavar="FILE")
    parser.add_argument("--ranks", type=int, default=4, help="ranks on one GPU, or in a rehearsal")
    parser.add_argument("--within", type=float, default=470, help="seconds for all parts together")
    parser.add_argument("--rehearse", action="store_true", help="on CPU, with gloo")
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - set(names):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    count = given.ranks if given.rehearse else gpus()
    if count == 0:
        parser.error("torch finds no GPU here; --rehearse runs every part on CPU")
    runner = Runner(given.out, given.within, is_rehearsal=given.rehearse)
    runner.ranks = given.ranks if count == 1 else count
    first, *others = PARTS
    is_met = runner.run(first)
    if not is_met and runner.ranks > count:
        runner.ranks = count
        is_met = runner.run(first)
    wanted = [part for part in others if not given.parts or part.name in given.parts]
    with ThreadPoolExecutor(2 if given.rehearse else 1) as workers:
        verdicts = list(workers.map(runner.run, wanted))
    return 0 if is_met and all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
