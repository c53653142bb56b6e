# ruff: noqa: N803  X is what such libraries call their data
"""A library in scikit-learn's style: estimators with n_jobs, cross-validation around them, settings from outside."""

import threading
from copy import copy

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs, parallel_config


class Ridge:
    def __init__(self, X, y, alpha=1.0):
        self.weights = np.linalg.solve(X.T @ X + alpha * np.eye(X.shape[1]), X.T @ y)

    def predict(self, X):
        return X @ self.weights


def _fit_on_sample(X, y, seed):
    rows = np.random.default_rng(seed).integers(0, len(X), len(X))
    return Ridge(X[rows], y[rows])


def _add_prediction(predict, X, total, lock):
    with lock:
        total += predict(X)


class Bagging:
    def __init__(self, n_estimators=10, n_jobs=None, verbose=0):
        self.n_estimators, self.n_jobs, self.verbose = n_estimators, n_jobs, verbose

    def fit(self, X, y):
        run = Parallel(n_jobs=self.n_jobs, verbose=self.verbose, prefer="threads")
        self.members_ = run(delayed(_fit_on_sample)(X, y, seed) for seed in range(self.n_estimators))
        return self

    def predict(self, X):
        total, lock = np.zeros(len(X)), threading.Lock()
        run = Parallel(n_jobs=effective_n_jobs(self.n_jobs), require="sharedmem")
        run(delayed(_add_prediction)(member.predict, X, total, lock) for member in self.members_)
        return total / len(self.members_)


def _score(estimator, X, y, test):
    residuals = copy(estimator).fit(X[~test], y[~test]).predict(X[test]) - y[test]
    return round(float(np.mean(residuals**2)), 5)


def cross_validate(estimator, X, y, folds=4, n_jobs=None, pre_dispatch="2*n_jobs"):
    masks = (np.arange(len(X)) % folds == fold for fold in range(folds))
    return Parallel(n_jobs=n_jobs, pre_dispatch=pre_dispatch)(delayed(_score)(estimator, X, y, m) for m in masks)


if __name__ == "__main__":
    rng = np.random.default_rng(3)
    X = rng.normal(size=(120, 6))
    y = X @ np.arange(6) + rng.normal(size=120)
    for n_jobs in (None, 2, -1):
        print(cross_validate(Bagging(n_jobs=n_jobs), X, y), cross_validate(Bagging(), X, y, n_jobs=n_jobs))
    for backend in ("threading", "loky", "multiprocessing"):
        with parallel_config(backend=backend, n_jobs=2):
            print(cross_validate(Bagging(), X, y), Bagging(n_jobs=2).fit(X, y).predict(X[:2]).round(5).tolist())
