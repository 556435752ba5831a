"""Replacement of the class prior inside a posterior."""

import numpy as np


def rebalance(posterior: np.ndarray, training_prior: np.ndarray, target_prior: np.ndarray) -> np.ndarray:
    r"""Return the posterior as it would be under another class prior.

    .. math:: P'(y \mid x) = \frac{1}{Z} \frac{P_w(y)}{P_t(y)} P(y \mid x)

    Härm and Alumäe, Odyssey 2024, section 3.2. The paper prints the same symbol for the new posterior
    and for the training prior; here they are ``target_prior`` and ``training_prior``. For a softmax it is the same as
    subtracting :math:`\log P_t(y)` from the biases and adding :math:`\log P_w(y)`.

    A row without probability on any label of the target prior (all of it on O and X, to the last digit) carries no
    evidence among them and becomes ``target_prior``.

    Args:
        posterior: :math:`P(y \mid x)`, shape ``(n, n_labels)``, rows sum to 1
        training_prior: :math:`P_t`, the class prior that the posterior contains, shape ``(n_labels,)``
        target_prior: :math:`P_w`, shape ``(n_labels,)``; 0 removes a label, as for the pseudo-labels X and O

    Returns:
        shape ``(n, n_labels)``, rows sum to 1

    Raises:
        ValueError: a label of the target prior has no training example, so its prior cannot be divided out

    Examples:
        >>> rebalance(np.array([[0.8, 0.2]]), training_prior=np.array([0.8, 0.2]), target_prior=np.array([0.5, 0.5]))
        array([[0.5, 0.5]])
    """
    unseen = (training_prior <= 0) & (target_prior > 0)
    if unseen.any():
        raise ValueError(f"labels at {np.flatnonzero(unseen).tolist()} have no training example")
    trained = training_prior > 0
    weighted = posterior * np.divide(target_prior, training_prior, out=np.zeros(len(target_prior)), where=trained)
    total = weighted.sum(axis=1, keepdims=True)
    return np.where(total > 0, weighted / np.where(total > 0, total, 1.0), target_prior / target_prior.sum())
