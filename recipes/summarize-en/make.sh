#!/usr/bin/env bash
# Makes the shipped bundle summarize-en: a head on the backbone base-en, which stays as it is.
#   recipes/summarize-en/make.sh DATA WORK [FLAGS OF lmtool train …]
# DATA  folder of the corpora, laid out as README.md beside this file says
# WORK  folder for the converted documents and the run
set -euo pipefail
data=$1 work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../plugins/lmtool_models_en

python "$here/prepare.py" "$data" "$work/data/summarize"
cd "$work"
lmtool train --config "$here/summarize.toml" "$@"
lmtool export summarize/best --output "$out/summarize-en" --no-backbone --overwrite \
    --dev data/summarize/dev.jsonl \
    --licence Apache-2.0 --notes "$here/cards/summarize-en.md" \
    --data "SciTLDR=abstracts and one-line summaries, Cachola et al. 2020, Apache 2.0" \
    --data "Plain English Summarization of Contracts=Manor and Li 2019, Apache 2.0"
lmtool evaluate "$out/summarize-en" data/summarize/dev.jsonl --option sentences=1
