"""scikit-learn's pipelines with a `Memory` of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobspan import Memory

pytest.importorskip("sklearn")

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline


class Fits(list[Any]):
    """A record of calls of `fit`."""


fits = Fits()


class Scale(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Counts how often it is fitted."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803  scikit-learn's name
        fits.append(X.shape)
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803  scikit-learn's name
        return X * self.factor


def search(kept: Any) -> Any:
    chance = np.random.default_rng(5)
    X, y = chance.random((60, 3)), chance.random(60)  # noqa: N806  as in all of its examples
    pipeline = Pipeline([("scale", Scale()), ("fit", Ridge())], memory=kept)
    grid = {"scale__factor": [1.0, 2.0], "fit__alpha": [0.1, 1.0, 10.0]}
    return GridSearchCV(pipeline, grid, cv=2, refit=False).fit(X, y).cv_results_["mean_test_score"]


def test_fitted_transformers_are_kept(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verbose=0)
    plain = search(None)
    assert len(fits) == 12
    fits.clear()
    assert (search(memory) == plain).all()
    assert len(fits) == 4, "once for each factor and fold"
    assert (search(memory) == plain).all()
    assert len(fits) == 4
