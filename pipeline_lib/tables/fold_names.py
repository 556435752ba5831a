"""How the corpus stage names folds in the manifest; ``folds`` reads them."""

SPLIT = "folds"
DEVELOPMENT = ("dev", "dev_filt", "dev_bal")  # a fold's subsets, after its name


def name_of(fold: int) -> str:
    """Return the name of a fold: of its subset of tested utterances, its files and folders.

    Args:
        fold: number from 0
    """
    return f"fold{fold}"
