#!/usr/bin/env bash
# Makes the shipped bundle entities-en from the published corpora and the base encoder.
#   recipes/entities-en/make.sh DATA BASE WORK
# DATA  folder of the corpora, laid out as README.md beside this file says
# BASE  folder (or hub name) of sentence-transformers/all-MiniLM-L6-v2
# WORK  folder for the converted documents and the run
set -euo pipefail
data=$1 base=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)

python "$here/prepare.py" "$data" "$work/data"
lmtool train extract --data "$work/data/*.train.jsonl" --dev "$work/data/*.dev.jsonl" \
    --base "$base" --out "$work/run" \
    --epochs 4 --batch-tokens 1536 --lr 1.5e-4 --head-lr 1e-3 --warmup 0.06 \
    --shapes --lower-share 0.2 --precision bf16 --patience 0 --seed 0
lmtool export "$work/run/best" --output "$here/../../plugins/lmtool_models_en/entities-en" \
    --dev "$work/data/*.dev.jsonl" --calibrate "$work/data/*.train.jsonl" \
    --licence CC-BY-SA-4.0 --notes "$here/card.md" --overwrite
lmtool evaluate "$here/../../plugins/lmtool_models_en/entities-en" "$work"/data/*.dev.jsonl
