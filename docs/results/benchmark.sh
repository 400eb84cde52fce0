#!/usr/bin/env bash
# Makes docs/results/benchmark-NAME.md and its folder, of a grid docs/results/NAME.toml:
#
#     docs/results/benchmark.sh        # rivals: all methods on three families
#     docs/results/benchmark.sh looks  # looks of own images, for methods that take no gradient of groups
#     docs/results/benchmark.sh lean   # five families and further seeds, without what takes longest
#
# Needs FIMETRIC_DATA and hours, see CONTRIBUTING.md. Stopped, it goes on where it was when called
# again; grids share what they both need. benchmark.html, which shows it all in a browser, and
# scores.parquet stay in runs/benchmark.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"
# memory that a step has freed stays with the process: to ask the system for it anew took 40% of the time
# of likelihood regret on one machine
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184
name=${1:-rivals}
run=runs/benchmark
page=docs/results/benchmark-$name

fimetric benchmark "docs/results/$name.toml" --out $run
mkdir -p "$page"
cp $run/matrix.png $run/comparisons.parquet "$page/"
# what was measured and what came of it, told between the title and the tables
{ head -1 $run/benchmark.md; cat "$page.head.md"; tail -n +2 $run/benchmark.md; } |
  sed -E "s#\((matrix.png|comparisons.parquet)\)#($(basename "$page")/\1)#" > "$page.md"
