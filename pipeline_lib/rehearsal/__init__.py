"""``ser rehearse``: what a recipe costs at the size of MSP-Podcast, planned from its architectures and tried on random
weights.
"""
