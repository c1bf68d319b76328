"""What the workflows may do: only actions pinned by hash, and no permission that a job does not need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))

PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")

READS = {"contents: read"}
MORE = {
    ("nightly", "report"): {"issues: write"},
    ("release", "publish"): {"id-token: write", "attestations: write"},
}
"""The jobs that may do anything but read."""

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="the workflows are no part of a distribution"
)


def entries(workflow, key):
    return re.findall(rf"^ *(?:- )?{key}: *(.*)$", workflow.read_text(), re.MULTILINE)


def permissions_of_jobs(workflow):
    """Return the permissions of each job by its name, comments left out."""
    _, _, jobs = workflow.read_text().partition("\njobs:\n")
    found = {}
    for job in re.split(r"^(?=  [\w-]+:$)", jobs, flags=re.MULTILINE)[1:]:
        name = job.strip().partition(":")[0]
        block = re.search(r"^    permissions:\n((?:      .*\n)+)", job, re.MULTILINE)
        lines = block.group(1).splitlines() if block else []
        found[name] = {line.partition("#")[0].strip() for line in lines}
    return found


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_hash_and_says_its_release(workflow):
    used = entries(workflow, "uses")
    assert used
    assert [action for action in used if not PINNED.fullmatch(action)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_has_no_permission_that_it_does_not_need(workflow):
    assert re.search(r"^permissions: \{\}$", workflow.read_text(), re.MULTILINE)
    jobs = permissions_of_jobs(workflow)
    assert jobs
    for job, granted in jobs.items():
        assert granted <= MORE.get((workflow.stem, job), READS), job


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_no_check_out_leaves_its_token_behind(workflow):
    text = workflow.read_text()
    assert text.count("persist-credentials: false") == text.count("uses: actions/checkout@")


def test_one_tag_is_one_commit_in_all_workflows():
    used = {action for workflow in WORKFLOWS for action in entries(workflow, "uses")}
    assert len({action.partition("@")[0] for action in used}) == len(used)


def test_the_hooks_before_a_commit_have_the_ruff_of_the_lint_session():
    hooks = (FOLDER.parents[1] / ".pre-commit-config.yaml").read_text()
    project = (FOLDER.parents[1] / "pyproject.toml").read_text()
    (wanted,) = re.findall(r'^lint = \["(ruff==[\d.]+)"\]', project, re.MULTILINE)
    assert re.findall(r"ruff==[\d.]+", hooks) == [wanted, wanted]
