#!/usr/bin/env bash
# Makes docs/results/benchmark-cpu.md and its picture and page: needs FIMETRIC_DATA.
# Stopped, it goes on where it was when called again; the time of a whole run is not measured yet.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"
run=runs/benchmark
page=docs/results/benchmark-cpu

fimetric benchmark "${1:-cpu}" --out $run
mkdir -p $page
cp $run/matrix.png $page/
# what was measured and what came of it, told between the title and the tables
{ head -1 $run/benchmark.md; cat $page.head.md; tail -n +2 $run/benchmark.md; } |
  sed 's#(matrix.png)#(benchmark-cpu/matrix.png)#' > $page.md
