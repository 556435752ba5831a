"""What must not happen, tried many times: each suite is a command, ``python -m tests.faults.<suite> [--count N]``.

A suite makes cases; a case is given an empty folder and raises when a promise of the pipeline is broken. The command
prints how many cases ran, how many passed, and every failure; ``test_fast_cuts.py`` runs a share of each with pytest.
"""
