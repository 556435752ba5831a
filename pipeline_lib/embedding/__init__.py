"""Hidden states of frozen encoders."""

import os

# read when torch is first imported: on a CPU utterances go one by one, in small products between which threads that
# spin while they wait take several times the time of the arithmetic; no bit depends on it
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
