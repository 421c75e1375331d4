#!/usr/bin/env bash
# Makes the shipped English bundles: base-en (the backbone, with sentence vectors), extract-en,
# roles-en, understand-en and inference-en, from the published corpora and the base encoder.
#   recipes/base-en/make.sh DATA BASE WORK
# DATA  folder of the corpora, laid out as README.md beside this file says
# BASE  folder (or hub name) of sentence-transformers/all-MiniLM-L6-v2
# WORK  folder for the converted documents and the runs
set -euo pipefail
data=$(cd "$1" && pwd)  # absolute, as the commands below run in WORK
base=$2
if [ -d "$base" ]; then base=$(cd "$base" && pwd); fi
work=$(mkdir -p "$3" && cd "$3" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../plugins/lmtool_models_en

python "$here/../entities-en/prepare.py" "$data" "$work/data/entities"
python "$here/prepare.py" "$data" "$work/data"
python "$here/joining.py" "$work/data/roles/train.jsonl" "$work/data/roles/joined.jsonl"
for part in texts:train:24000 dev:gold:1000; do
    IFS=: read -r from to n <<<"$part"
    python "$here/teacher.py" "$base" "$work/data/embed/$from.jsonl" "$work/data/embed/$to.jsonl" "$n"
done

cd "$work"
mkdir -p dev  # the dev sets, each under its own name
for name in roles intent sentence_polarity topic inference phee; do
    cp "data/$name/dev.jsonl" "dev/$name.jsonl"
done
cp data/embed/gold.jsonl dev/embed.jsonl
cp data/litbank/dev.jsonl dev/litbank-events.jsonl
cp data/relations/dev.jsonl dev/redocred-relations.jsonl
cp data/entities/*.dev.jsonl dev/

# 1. The names, whose encoder every other task starts from.
lmtool train extract --data "data/entities/*.train.jsonl" --dev "data/entities/*.dev.jsonl" \
    --base "$base" --out entities \
    --epochs 4 --batch-tokens 1536 --lr 1.5e-4 --head-lr 1e-3 --warmup 0.06 \
    --shapes --lower-share 0.2 --precision bf16 --patience 0 --seed 0
# 2. All tasks on one encoder; then once more with other shares of the sets.
mkdir -p data/none data/silver
(cd "$here" && python negatives.py "$work/data/embed/texts.jsonl" "$work/data/none/train.jsonl")
lmtool train --config "$here/joint.toml"
lmtool train --config "$here/further.toml"
# 3. A fifth of the names' encoder comes back, and its names in other texts teach all beside the gold.
python "$here/merging.py" further/best entities/best 0.2 mixed
python "$here/silver.py" entities/best data/silver/train.jsonl \
    data/{topic,roles,phee,inference,sentence_polarity}/train.jsonl
lmtool train --config "$here/silver.toml"
lmtool train --config "$here/settling.toml"
# 4. One int8 backbone and the heads.
licences=(
    --data "English Web Treebank with PropBank=roles, CC BY-SA 4.0"
    --data "CLINC150=intents, Larson et al. 2019, CC BY 3.0"
    --data "SNIPS=intents, Coucke et al. 2018, CC0 1.0"
    --data "HWU64=intents, Liu et al. 2019, CC BY 4.0"
    --data "sentence polarity=reviews of films, Pang and Lee 2005, CC BY 4.0"
    --data "pros and cons=reviews of products, Ganapathibhotla and Liu 2008, CC BY 4.0"
    --data "movie reviews=Pang and Lee 2004, CC BY 4.0"
    --data "DBpedia=topics of articles, CC BY-SA 3.0"
    --data "SNLI, dev part=inference, Bowman et al. 2015, CC BY-SA 4.0"
    --data "Re-DocRED=names and relations, Tan et al. 2022, MIT"
    --data "PHEE=medical events, Sun et al. 2022, MIT"
    --data "LitBank=names and events in novels, Bamman et al. 2019, Sims et al. 2019, CC BY 4.0"
    --data "WNUT 2017=names in tweets and comments, Derczynski et al., CC BY 4.0"
    --data "Broad Twitter Corpus=names, Derczynski, Bontcheva and Roberts 2016, CC BY 4.0"
    --data "CrossNER=names in five domains of Wikipedia, Liu et al. 2021, MIT"
    --data "Universal NER, English EWT=names in web texts, Mayhew et al. 2024, CC BY-SA 4.0"
    --data "Wikigold=names in Wikipedia, Balasuriya et al. 2009, CC BY 4.0"
)
heads=(--head base-en --head extract-en --head roles-en --head understand-en --head inference-en)
lmtool export settling/best --output "$out" --overwrite "${heads[@]}" --dev "dev/*.jsonl" \
    --calibrate "data/*/train.jsonl" --calibrate "data/entities/*.train.jsonl" \
    --licence CC-BY-SA-4.0 --notes "$here/cards" "${licences[@]}"
# 5. The scores.
lmtool evaluate "$out/extract-en" data/entities/*.dev.jsonl --option 'only=["entities"]'
lmtool evaluate "$out/extract-en" dev/redocred-relations.jsonl dev/phee.jsonl dev/litbank-events.jsonl \
    --option relation_threshold=0
lmtool evaluate "$out/roles-en" dev/roles.jsonl
lmtool evaluate "$out/roles-en" dev/roles.jsonl --option predicates=given
lmtool evaluate "$out/understand-en" data/intent/test.jsonl
lmtool evaluate "$out/understand-en" dev/sentence_polarity.jsonl dev/topic.jsonl
lmtool evaluate "$out/inference-en" dev/inference.jsonl
