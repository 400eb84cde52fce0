#!/usr/bin/env bash
# Trains every model in this folder anew: needs FIMETRIC_DATA, and some hours on 2 cores.
# Stopped, it goes on where it was when called again. Models are put here when all are done.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
done=runs/checkpoints

train() {  # data kind options
  local data=$1 kind=$2 && shift 2
  fimetric train "$kind" --data "$data" --out "runs/$data/$kind" "$@"
  keep "runs/$data/$kind" "$data-$kind"
}

keep() {  # folder of a run, name
  mkdir -p "$done/$2"
  cp "$1/config.json" "$1/model.safetensors" "$done/$2/"
}

halve() {  # folder of a run, name: the same with weights in half precision
  python -c 'import sys; from fimetric.models import load, save
save(load(sys.argv[1]), sys.argv[2], overwrite=True, half=True)' "$1" "$done/$2"
}

texts() {  # data, name of the run, options
  local data=$1 run=$2 && shift 2
  fimetric train transformer --data "$data" --out "runs/$data/$run" --validate-every 100 "$@"
  halve "runs/$data/$run" "$data-$run"
}

train fashion_mnist glow --steps 4400 --batch-size 32 --validate-every 400
train fashion_mnist diffusion --steps 4200 --batch-size 32 --validate-every 1400
train fashion_mnist vae --steps 5000 --validate-every 500
train cifar10 glow --steps 4400 --batch-size 32 --validate-every 400
train cifar10 diffusion --steps 4200 --batch-size 32 --validate-every 700

fimetric train pixelcnn --data fashion_mnist --size 32 --out runs/fashion_mnist/pixelcnn \
  --steps 3600 --batch-size 16 --lr 3e-3 --validate-every 300
halve runs/fashion_mnist/pixelcnn fashion_mnist-pixelcnn
fimetric train pixelcnn --data cifar10 --out runs/cifar10/pixelcnn \
  --steps 2400 --batch-size 16 --lr 3e-3 --validate-every 200
halve runs/cifar10/pixelcnn cifar10-pixelcnn
fimetric train flow-matching --data fashion_mnist --size 32 --out runs/fashion_mnist/flow-matching \
  --steps 3600 --batch-size 32 --validate-every 1200
halve runs/fashion_mnist/flow-matching fashion_mnist-flow-matching
fimetric train flow-matching --data cifar10 --out runs/cifar10/flow-matching \
  --steps 1800 --batch-size 32 --validate-every 600
halve runs/cifar10/flow-matching cifar10-flow-matching

# of sounds, as the page of other kinds of data prepares them
python docs/results/modalities/prepare_audio.py
spoken=runs/modalities/data/fsdd
fimetric train wavenet --data "$spoken" --out runs/fsdd/wavenet --steps 1000 --validate-every 100
halve runs/fsdd/wavenet fsdd-wavenet
fimetric train spectrogram --data "$spoken" --out runs/fsdd/spectrogram \
  --steps 1400 --batch-size 16 --validate-every 140
halve runs/fsdd/spectrogram fsdd-spectrogram

texts wikitext2 transformer --steps 1000
texts python_code transformer --steps 700
texts wikitext2 transformer-background --steps 700 --config background
texts python_code transformer-background --steps 700 --config background

# the other models of the benchmark, in half precision
sed "s#^checkpoints = .*#checkpoints = \"$done\"#" src/fimetric/benchmark/tiers/cpu.toml > runs/cpu.toml
fimetric benchmark runs/cpu.toml --out runs/benchmark --train-only
for model in runs/benchmark/models/*; do  # named <data>-<kind>[-<seed>]-<hash of the recipe>
  keep "$model" "$(basename "${model%-*}")"
done
cp -r "$done"/. checkpoints/

docs/results/modalities/train_tables.sh
