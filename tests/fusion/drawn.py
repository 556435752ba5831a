"""Posteriors to fuse."""

import numpy as np


def drawn(n=160, n_labels=4, n_experts=2, seed=0):
    """Return posteriors of experts that are each right more often than not, and the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, n_labels, n)
    evidence = generator.normal(size=(n_experts, n, n_labels)) + 1.3 * np.eye(n_labels)[truth]
    weights = np.exp(evidence)
    return weights / weights.sum(axis=2, keepdims=True), truth
