#!/usr/bin/env bash
# Queue every run behind tables 1 to 3 of Chochlakis et al. Options go to each recipe:
#     bash pipeline_lib/recipes/papers/shared_transformer.sh --path /data/MSP-PODCAST=/mnt/msp
#     bash pipeline_lib/recipes/papers/shared_transformer.sh --small      # synthetic speech, small checkpoints
# Then: dvc queue start; dvc queue status; ser table shared_transformer
# Retrieval and collapse are measured on the workspace's run: dvc exp apply NAME, then
#     ser alignment joint && ser table shared_transformer
set -euo pipefail

queue() {
  dvc exp run --queue --name "$@"
}

contrastive=finetuning.joint.losses.contrastive
reconstruction=finetuning.joint.losses.reconstruction
transformer=finetuning.joint.mixer.shared_transformer

ser apply shared_transformer "$@"
queue shared-cascade -S $contrastive=0.0 -S $reconstruction=0.0 -S finetuning.joint.heads=separate
queue shared-plain -S $contrastive=0.0 -S $reconstruction=0.0
queue shared-contrastive -S $reconstruction=0.0
queue shared-mae -S $contrastive=0.0
queue shared-both
queue shared-projected -S $transformer.target=projected
queue shared-without-g -S $reconstruction=0.0 -S $transformer.projection=false
queue shared-absolute -S $reconstruction=0.0 -S $transformer.positions=absolute

ser apply shared_transformer_baselines "$@"
queue shared-baselines
