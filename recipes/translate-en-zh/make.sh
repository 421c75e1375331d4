#!/usr/bin/env bash
# Makes translate-en-zh, a small model that translates English sentences into Chinese.
#   recipes/translate-en-zh/make.sh DATA WORK [FLAGS OF lmtool train …]
# DATA  folder of the corpora, laid out as README.md beside this file says
# WORK  folder for the converted documents and the runs
set -euo pipefail
data=$1 work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../plugins/lmtool_models_en

python "$here/prepare.py" "$data" "$work/data/translate"
cd "$work"
lmtool pretrain --config "$here/base.toml" --size "$here/cpu.json"
lmtool train --config "$here/translate.toml" "$@"
cat "$here/cards/translate-en-zh.md" data/translate/contributors.md >translate-en-zh.md
lmtool export translate/best --output "$out/translate-en-zh" --overwrite --precision int8 \
    --dev data/translate/dev.jsonl \
    --option repetition_penalty=1.1 --licence CC-BY-2.0 --notes translate-en-zh.md \
    --data "Tatoeba, English-Chinese pairs of manythings.org=CC BY 2.0 FR, contributors below"
lmtool evaluate "$out/translate-en-zh" data/translate/dev.jsonl
lmtool evaluate "$out/translate-en-zh" data/translate/test.jsonl
