#!/usr/bin/env bash
# Queue every run behind tables III to V of Le et al., and IEMOCAP with speakers apart. Options go to each recipe:
#     bash pipeline_lib/recipes/papers/mersa.sh --path /data/IEMOCAP=/mnt/iemocap
# Then: dvc queue start; dvc queue status; ser table mersa
# MELD lies elsewhere: put its --path into MELD, as in MELD='--path /data/MELD=/mnt/meld'. Stand-ins have no sessions:
#     bash pipeline_lib/recipes/papers/mersa.sh --small      # without the runs by session
set -euo pipefail

queue() {
  dvc exp run --queue --name "$@"
}

ser apply mersa "$@"
queue mersa
if [[ " $* " != *" --small "* ]]; then
  apart="-S corpus.split.method=speakers -S corpus.allow_speaker_leak=false"
  queue mersa-session-1 $apart -S 'corpus.split.test_speakers=[Ses01F,Ses01M]' -S 'corpus.split.dev_speakers=[Ses02F,Ses02M]'
  queue mersa-session-2 $apart -S 'corpus.split.test_speakers=[Ses02F,Ses02M]' -S 'corpus.split.dev_speakers=[Ses03F,Ses03M]'
  queue mersa-session-3 $apart -S 'corpus.split.test_speakers=[Ses03F,Ses03M]' -S 'corpus.split.dev_speakers=[Ses04F,Ses04M]'
  queue mersa-session-4 $apart -S 'corpus.split.test_speakers=[Ses04F,Ses04M]' -S 'corpus.split.dev_speakers=[Ses05F,Ses05M]'
  queue mersa-session-5 $apart -S 'corpus.split.test_speakers=[Ses05F,Ses05M]' -S 'corpus.split.dev_speakers=[Ses01F,Ses01M]'
fi

ser apply mersa_six "$@"
queue mersa-six

if [[ " $* " == *" --small "* ]]; then
  ser apply mersa_meld --small
else
  ser apply mersa_meld ${MELD:-}
fi
queue mersa-meld
