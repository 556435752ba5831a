"""``ser evaluate``: a trained system on another corpus, over the labels that both have."""
