"""How much of the labelled corpus is found, and how much else."""

from __future__ import annotations

import pytest

from meshcompat.audit.values import Confidence
from tests.support.corpus import cases, compared

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def measured():
    return compared()


def words(labels):
    texts = {case.name: case.files for case in cases()}
    return [
        f"{one.case} | {one.path}:{one.line} {one.code} | {texts[one.case][one.path].splitlines()[one.line - 1]}"
        for one in labels
    ]


def precision(hits, surplus, confidence):
    right = sum(found.confidence is confidence for _, found in hits)
    return right / (right + sum(found.confidence is confidence for found in surplus))


def test_the_corpus_is_large_enough(measured):
    hits, missed, _, silent = measured
    assert len(hits) + len(missed) >= 150
    assert silent >= 300


def test_precision_is_that_of_the_contract(measured):
    hits, _, surplus, _ = measured
    assert precision(hits, surplus, Confidence.HIGH) >= 0.98, words(surplus)
    assert precision(hits, surplus, Confidence.MEDIUM) >= 0.9, words(surplus)


def test_recall_is_that_of_the_contract(measured):
    hits, missed, _, _ = measured
    assert len(hits) / (len(hits) + len(missed)) >= 0.95, words(missed)


def test_confidence_is_what_the_receiver_says(measured):
    hits, _, _, _ = measured
    assert words(label for label, found in hits if label.confidence is not found.confidence) == []
