#!/usr/bin/env bash
# Makes docs/results/fashion_mnist.md and its folder: needs FIMETRIC_DATA and about two hours on 2 cores.
# Stopped, it goes on where it was when called again.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"
runs=runs/fashion_mnist
pages=docs/results/fashion_mnist

fimetric train glow --data fashion_mnist --out $runs/glow --steps 4400 --batch-size 32 --validate-every 400
fimetric train diffusion --data fashion_mnist --out $runs/diffusion --steps 4200 --batch-size 32 --validate-every 1400
fimetric train vae --data fashion_mnist --out $runs/vae --steps 5000 --validate-every 500

for model in vae glow diffusion; do
  times=()
  if [ $model = diffusion ]; then times=(--timesteps 0); fi
  fimetric evaluate $runs/$model "${times[@]}" --id fashion_mnist --ood mnist --ood omniglot --ood lfw_faces_grey \
    --group-size 1 --group-size 5 --out $runs/evaluation-$model
  mkdir -p $pages/$model
  # what the page shows or links; the pictures of groups of 5 stay in runs
  for name in model.md table.md table.csv samples.png likelihood.png {scores,roc}-groups-of-1.png; do
    cp $runs/evaluation-$model/$name $pages/$model/
  done
done
python docs/results/summarise.py
