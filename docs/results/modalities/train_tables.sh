#!/usr/bin/env bash
# Writes the tables and trains a flow on each, in half precision into checkpoints/tables-<set>-nsf:
# twenty minutes on one core. Stopped, it goes on where it was when called again.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
data=runs/modalities/data/tables
models=runs/modalities/models

python docs/results/modalities/prepare_tables.py "$data"
for part in "$data"/*/train.parquet; do
  name=$(basename "$(dirname "$part")")
  fimetric train nsf --data "$data/$name" --out "$models/tables-$name-nsf" \
    --steps 2000 --validate-every 50
  python -c 'import sys; from fimetric.models import load, save
save(load(sys.argv[1]), sys.argv[2], overwrite=True, half=True)' \
    "$models/tables-$name-nsf" "checkpoints/tables-$name-nsf"
done
