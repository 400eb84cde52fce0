#!/usr/bin/env bash
# Makes docs/results/benchmark-NAME.md and its folder, of the tier cpu or of a docs/results/NAME.toml:
#
#     docs/results/benchmark.sh                         # cpu
#     docs/results/benchmark.sh docs/results/lean.toml  # without what takes longest
#
# Needs FIMETRIC_DATA and hours, see CONTRIBUTING.md. Stopped, it goes on where it was when called
# again; grids share what they both need. benchmark.html, which shows it all in a browser, and
# scores.parquet stay in runs/benchmark.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"
config=${1:-cpu}
run=runs/benchmark
page=docs/results/benchmark-$(basename "$config" .toml)

fimetric benchmark "$config" --out $run
mkdir -p "$page"
cp $run/matrix.png $run/comparisons.parquet "$page/"
# what was measured and what came of it, told between the title and the tables
{ head -1 $run/benchmark.md; cat "$page.head.md"; tail -n +2 $run/benchmark.md; } |
  sed -E "s#\((matrix.png|comparisons.parquet)\)#($(basename "$page")/\1)#" > "$page.md"
