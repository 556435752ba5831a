#!/usr/bin/env bash
# Queue every run behind tables 1 and 2 and figures 2 and 3 of de Oliveira et al. Options go to each recipe:
#     bash pipeline_lib/recipes/papers/distilled.sh --path /data/MSP-PODCAST=/mnt/msp
#     bash pipeline_lib/recipes/papers/distilled.sh --small      # synthetic speech, small checkpoints
# Then: dvc queue start; dvc queue status; ser table distilled
# Parameters are counted, and weights of layers drawn, of the workspace's run: dvc exp apply NAME, then
#     ser alignment w2v2       (and each other expert)
#     ser plot layer-weights arousal valence dominance
set -euo pipefail

queue() {
  dvc exp run --queue --name "$@"
}

ser apply distilled "$@"
queue distilled

ser apply distilled_transcripts "$@"
queue distilled-human -S transcription.engine=reference
queue distilled-whisper-base
queue distilled-whisper-tiny -S transcription.whisper.checkpoint=openai/whisper-tiny

ser apply distilled_layers "$@"
queue distilled-layers
