#!/usr/bin/env bash
# Makes chat-en, a small model of dialogue, from story-en's checkpoint and two sets of dialogues.
#   recipes/chat-en/make.sh DATA WORK [FLAGS OF lmtool train …]
# DATA  folder of the corpora, laid out as README.md beside this file says
# WORK  folder in which recipes/story-en/make.sh has left its run
set -euo pipefail
data=$1 work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../plugins/lmtool_models_en

python "$here/prepare.py" "$data" "$work/data/chat"
cd "$work"
lmtool train --config "$here/chat.toml" "$@"
lmtool export chat/best --output "$out/chat-en" --overwrite --precision int8 \
    --dev data/chat/dev.jsonl \
    --licence CC-BY-SA-4.0 --notes "$here/cards/chat-en.md" \
    --data "Schema-Guided Dialogue=dialogues with an assistant, Rastogi et al. 2020, CC BY-SA 4.0" \
    --data "ChatterBot corpus=small talk, BSD-3-Clause" \
    --data "story-en=the base: novels, plays and speeches, public domain"
lmtool evaluate "$out/chat-en" data/chat/dev-sgd.jsonl
lmtool evaluate "$out/chat-en" data/chat/dev-chatterbot.jsonl
