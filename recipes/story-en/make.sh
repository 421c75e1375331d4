#!/usr/bin/env bash
# Makes story-en, a decoder that continues English prose, from novels, plays and speeches.
#   recipes/story-en/make.sh DATA WORK [FLAGS OF lmtool pretrain …]
# DATA  folder of the corpora, laid out as README.md beside this file says
# WORK  folder for the converted documents and the runs
# On a GPU: make.sh DATA WORK --size "$PWD/recipes/story-en/gpu.json" --vocabulary 8192 \
#     --epochs 8 --max-steps 0 --batch-tokens 16384 --lr 1e-3
set -euo pipefail
data=$1 work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../plugins/lmtool_models_en

python "$here/prepare.py" "$data" "$work/data/story"
cd "$work"
lmtool pretrain --config "$here/story.toml" --size "$here/cpu.json" "$@"
lmtool export story/best --output "$out/story-en" --overwrite --precision int8 \
    --dev data/story/dev/gutenberg.jsonl \
    --option temperature=0.8 --option top_k=50 --option repetition_penalty=1.1 \
    --licence CC0-1.0 --notes "$here/cards/story-en.md" \
    --data "Project Gutenberg=eleven novels in English, public domain" \
    --data "tinyshakespeare=plays of Shakespeare, public domain" \
    --data "inaugural and state_union=addresses of US presidents, public domain"
for part in gutenberg tinyshakespeare inaugural state_union; do
    lmtool evaluate "$out/story-en" "data/story/dev/$part.jsonl"
done
