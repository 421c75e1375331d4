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
    --licence CC-BY-SA-4.0 --notes "$here/card.md" --overwrite \
    --data "WNUT 2017=emerging entities in tweets and comments, Derczynski et al., CC BY 4.0" \
    --data "Broad Twitter Corpus=Derczynski, Bontcheva and Roberts 2016, CC BY 4.0" \
    --data "CrossNER=five domains of Wikipedia, Liu et al. 2021, MIT" \
    --data "Universal NER, English EWT=web texts, Mayhew et al. 2024, CC BY-SA 4.0" \
    --data "Wikigold=Wikipedia, Balasuriya et al. 2009, CC BY 4.0" \
    --data "Re-DocRED=Wikipedia, Tan et al. 2022, MIT" \
    --data "LitBank=openings of novels, Bamman et al. 2019, CC BY 4.0"
lmtool evaluate "$here/../../plugins/lmtool_models_en/entities-en" "$work"/data/*.dev.jsonl
