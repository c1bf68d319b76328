"""The errors of ranks that do not agree, or that did not make what they agreed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat._agreement.talk import StoreError
from meshcompat._eras.stores import Failure, failure_of
from meshcompat._errors import MeshMismatchError
from meshcompat._rank_text import ranks_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshcompat._agreement.comparison import Difference


def in_words(asked: Mapping[str, str]) -> str:
    """Return what a rank asks for as one line."""
    return ", ".join(f"{name} {value}" for name, value in asked.items())


def difference_error(difference: Difference, size: int) -> MeshMismatchError:
    """Return the error of ranks of which one asks for something else, or does not come."""
    culprit, missing, asked, agreeing, seconds = difference
    descriptions = {rank: in_words(words) for rank, words in asked.items()}
    if missing:
        head = (
            f"rank {ranks_text(missing)} did not come within {seconds:g} s to make process groups with the "
            f"others, who ask for"
        )
        advice = f"Nothing was made. See what rank {culprit} did instead"
    else:
        usual = next(rank for rank in asked if rank != culprit)
        fields = [name for name in asked[usual] if asked[culprit].get(name) != asked[usual][name]]
        head = (
            f"rank {culprit} asks for other process groups than {agreeing} of {size} ranks, of "
            f"which rank {usual} is one; they differ in {', '.join(fields)}"
        )
        advice = "Nothing was made. Make the same calls in the same order on all ranks"
    lines = [f"  rank {rank}: {words}" for rank, words in descriptions.items()]
    text = "\n".join([f"{head}:", *lines, advice])
    return MeshMismatchError(text, rank=culprit, missing=missing, descriptions=descriptions)


def half_made_error(
    missing: tuple[int, ...], me: int, asked: Mapping[str, str], error: Exception
) -> MeshMismatchError:
    """Return the error of a rank whose groups others had agreed to make, and did not."""
    words = in_words(asked)
    return MeshMismatchError(
        f"rank {ranks_text(missing)} had agreed to make process groups, and did not make them with the "
        f"others, who ask for:\n  rank {me}: {words}\n"
        f"Groups are half made: {str(error).strip()!r}. See what rank "
        f"{missing[0]} did instead, and start the job again",
        rank=missing[0],
        missing=missing,
        descriptions={me: words},
    )


def store_error(error: Exception, consequence: str) -> MeshMismatchError:
    """Return the error of a rank that cannot ask the store, and says why."""
    if not isinstance(error, StoreError):
        return MeshMismatchError(
            f"the store of the default process group is gone ({error}): it cannot be reached, or "
            f"the process that serves it, rank 0 or the launcher, hangs; {consequence}. Start the "
            f"job again"
        )
    failure = failure_of(error.cause)
    if failure is Failure.MISSING:
        return MeshMismatchError(
            f"the store of the default process group, of class {type(error.store).__name__}, has no "
            f"method {error.operation!r} ({error}), which ranks need to compare what they ask for; "
            f"{consequence}. Give it set, get, add and wait, or make the mesh in "
            f"meshcompat.unchecked()"
        )
    if failure is Failure.REFUSED:
        return MeshMismatchError(
            f"the store of the default process group is gone: {error.operation}() found nobody at "
            f"its address ({error}), as the process that served it, rank 0 or the launcher, has "
            f"ended; {consequence}. Start the job again"
        )
    if failure is Failure.LOST:
        return MeshMismatchError(
            f"the store of the default process group is gone ({error}): the process that serves "
            f"it, rank 0 or the launcher, has ended or cannot be reached; {consequence}. Start the "
            f"job again"
        )
    return MeshMismatchError(
        f"the store of the default process group failed in {error.operation}() ({error}); "
        f"{consequence}"
    )
