#!/usr/bin/env bash
# Makes docs/results/benchmark-cpu.md and its folder: needs FIMETRIC_DATA, and an hour and a quarter
# on 2 cores. Stopped, it goes on where it was when called again. benchmark.html, which shows it all
# in a browser, and scores.parquet stay in runs/benchmark.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"
run=runs/benchmark
page=docs/results/benchmark-cpu

fimetric benchmark "${1:-cpu}" --out $run
mkdir -p $page
cp $run/matrix.png $run/comparisons.parquet $page/
# what was measured and what came of it, told between the title and the tables
{ head -1 $run/benchmark.md; cat $page.head.md; tail -n +2 $run/benchmark.md; } |
  sed -E 's#\((matrix.png|comparisons.parquet)\)#(benchmark-cpu/\1)#' > $page.md
