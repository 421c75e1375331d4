"""Temperatures, thresholds and the calibration error, on made-up logits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from lmtool_understand.calibration import (
    best_temperature,
    best_threshold,
    calibrate,
    calibration_error,
    golden_section,
)
from lmtool_understand.schemes import SEVERAL, Scheme

from lmtool import Document, Label

TWO = Scheme("mood", ("glad", "sad"))


def test_golden_section() -> None:
    assert golden_section(lambda x: (x - 0.7) ** 2, -3, 3) == pytest.approx(0.7, abs=1e-3)


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    confidences = np.array([0.9, 0.9, 0.9, 0.9, 0.5])
    is_right = np.array([True, True, True, False, True])
    assert calibration_error(confidences, is_right) == pytest.approx(100 * (4 * 0.15 + 0.5) / 5)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_the_temperature_gives_the_share_that_is_right() -> None:
    rows = np.tile([0.0, 4.0], (100, 1))  # always sure of "sad"
    targets = np.array([1] * 75 + [0] * 25)  # and right in three of four
    temperature = best_temperature(TWO, rows, targets)
    assert temperature == pytest.approx(4 / math.log(3), abs=2e-3)


def test_the_temperature_of_several_labels_leaves_out_what_is_unknown() -> None:
    rows = np.tile([2.0, -8.0], (10, 1))
    targets = np.array([[1, -100]] * 8 + [[0, -100]] * 2)
    temperature = best_temperature(Scheme("tags", ("a", "b"), SEVERAL), rows, targets)
    assert temperature == pytest.approx(2 / math.log(4), abs=2e-3)


def test_the_threshold_has_the_most_documents_right() -> None:
    confidences = np.array([0.2, 0.3, 0.4, 0.6, 0.9])
    is_right = np.array([False, False, True, False, True])
    is_none = np.array([True, True, False, True, False])
    assert best_threshold(confidences, is_right, is_none) == 0.35
    assert best_threshold(confidences, is_right, np.zeros(5, bool)) == 0.0
    assert best_threshold(confidences[:2], is_right[:2], is_none[:2]) == 0.65


def test_calibrate_writes_the_form() -> None:
    scheme = Scheme("mood", ("glad", "sad"), has_none=True)
    schemes = {
        "mood": scheme,
        "few": replace(TWO, name="few"),
        "stars": Scheme("stars", (), "number"),
    }
    documents, parts = [], []
    for i in range(40):
        gold = [] if i < 8 or i % 4 == 0 else [Label(label="sad")]
        documents.append(Document(text="x", labels={"mood": gold}))
        parts.append([(3, {"mood": np.array([0.0, 1.0 if i < 8 else 4.0, 0.0])})])
    documents.append(Document(text="x", labels={"mood": [Label(label="?")], "few": []}))
    parts.append([(3, {"mood": np.zeros(3), "few": np.zeros(2), "stars": np.zeros(1)})])
    form = calibrate(documents, parts, schemes)
    assert list(form) == ["temperatures", "thresholds", "calibration"]
    assert list(form["temperatures"]) == list(form["thresholds"]) == ["mood"]
    assert form["thresholds"]["mood"] == pytest.approx(0.7231, abs=1e-3)
    errors = form["calibration"]["mood"]
    assert errors["documents"] == 40
    assert errors["ece_after"] < errors["ece_before"]
