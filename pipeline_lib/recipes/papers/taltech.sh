#!/usr/bin/env bash
# Queue every run behind tables 2 and 3 of Härm and Alumäe. Options go to each recipe:
#     bash pipeline_lib/recipes/papers/taltech.sh --path /data/MSP-PODCAST=/mnt/msp --path /data/musan=/mnt/musan
#     bash pipeline_lib/recipes/papers/taltech.sh --small      # synthetic speech, small checkpoints
# Then: dvc queue start; dvc queue status; ser table taltech
set -euo pipefail

queue() {
  dvc exp run --queue --name "$@"
}

ser apply taltech "$@"
queue taltech-interpolation
queue taltech-logreg -S fusion.method=logreg

ser apply taltech_attributes "$@"
queue taltech-attributes

ser apply taltech_postevaluation "$@"
queue taltech-postevaluation
