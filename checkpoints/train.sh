#!/usr/bin/env bash
# Trains every model in this folder: needs FIMETRIC_DATA, and some hours on 2 cores.
# Stopped, it goes on where it was when called again. Models are written when they are done.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

train() {  # data kind options: the run goes to runs/, the model that it leaves to checkpoints/
  local data=$1 kind=$2 && shift 2
  fimetric train "$kind" --data "$data" --out "runs/$data/$kind" "$@"
  mkdir -p "checkpoints/$data-$kind"
  cp "runs/$data/$kind/config.json" "runs/$data/$kind/model.safetensors" "checkpoints/$data-$kind/"
}

train fashion_mnist glow --steps 4400 --batch-size 32 --validate-every 400
train fashion_mnist diffusion --steps 4200 --batch-size 32 --validate-every 1400
train fashion_mnist vae --steps 5000 --validate-every 500
train cifar10 glow --steps 4400 --batch-size 32 --validate-every 400
train cifar10 diffusion --steps 4200 --batch-size 32 --validate-every 700

# the other models of the benchmark, in half precision
fimetric benchmark cpu --out runs/benchmark --train-only
for model in runs/benchmark/models/*; do  # named <data>-<kind>[-<seed>]-<hash of the recipe>
  cp -r "$model" "checkpoints/$(basename "${model%-*}")"
done
