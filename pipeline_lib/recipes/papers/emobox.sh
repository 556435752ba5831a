#!/usr/bin/env bash
# Queue the runs behind the table of EmoBox's RAVDESS column. Options go to the recipe:
#     bash pipeline_lib/recipes/papers/emobox.sh --path /data/ravdess=/mnt/ravdess
# Then: dvc queue start; dvc queue status; ser table emobox
# nEMO lies elsewhere: put its --path into NEMO, as in NEMO='--path /data/nemo=/mnt/nemo'.
set -euo pipefail

queue() {
  dvc exp run --queue --name "$@"
}

ser apply open_ravdess "$@"
queue open-ravdess

ser apply open_ravdess_lora "$@"
queue open-ravdess-lora

if [[ " $* " == *" --small "* ]]; then
  ser apply open_nemo --small
else
  ser apply open_nemo ${NEMO:-}
fi
queue open-nemo
