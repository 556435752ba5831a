#!/usr/bin/env bash
# Queue every run behind tables III to V of Le et al., and IEMOCAP with speakers apart. Options go to each recipe:
#     bash pipeline_lib/recipes/papers/mersa.sh --path /data/IEMOCAP=/mnt/iemocap
# Then: dvc queue start; dvc queue status; ser table mersa
# MELD lies elsewhere: put its --path into MELD, as in MELD='--path /data/MELD=/mnt/meld'. On stand-ins, whose folds are
# of speakers, as they have no sessions:
#     bash pipeline_lib/recipes/papers/mersa.sh --small
set -euo pipefail

queue() {
  dvc exp run --queue --name "$@"
}

ser apply mersa "$@"
queue mersa
ser apply mersa_sessions "$@"
queue mersa-sessions

ser apply mersa_six "$@"
queue mersa-six

if [[ " $* " == *" --small "* ]]; then
  ser apply mersa_meld --small
else
  ser apply mersa_meld ${MELD:-}
fi
queue mersa-meld
