# Each target does all its own set-up in .venv: it needs only python3.11 (with venv) and make.
PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers
RUN := $(VENV)/bin
LONG := tests/golden/test_smoke.py tests/test_contracts.py tests/store/test_mutations.py tests/data/test_spec_fuzz.py \
	tests/benchmark/test_killed.py tests/benchmark/test_run.py tests/provenance/test_provenance_laws.py

.PHONY: demo test check lint bench bench-gpu coverage-zoo claims pretrained modalities benchmark smoke clean

demo: $(STAMP)  ## The main job: train, fit, calibrate and score on bundled data, within two minutes
	$(RUN)/fimetric demo

test: $(STAMP)  ## All tests, the docstrings' and the README's examples among them; or ARGS="tests/x.py -k y"
	OMP_NUM_THREADS=1 $(RUN)/pytest $(if $(ARGS),$(ARGS),-n auto --dist worksteal)

check: $(STAMP)  ## The long form of the tests that draw at random: four minutes
	FIMETRIC_CHECK=long OMP_NUM_THREADS=1 $(RUN)/pytest -n auto --dist worksteal $(LONG)

lint: $(STAMP)  ## Style, format, types, and which room imports which
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

bench: $(PEERS)  ## Time and memory of the gradient engine against a training step and its peers; or ARGS=--clipping, ARGS=--presets
	$(RUN)/python benchmarks/speed $(ARGS)

bench-gpu: $(PEERS)  ## The same on a CUDA GPU, with exactness, in four minutes; ARGS=--reduced: small models, without one
	$(RUN)/python -m benchmarks.speed.gpu docs/engine-gpu.md $(ARGS)

coverage-zoo: $(PEERS)  ## Exactness, paths and time of the gradient engine over some hundreds of models, in ten minutes
	OMP_NUM_THREADS=1 $(RUN)/python benchmarks/coverage

claims: $(STAMP)  ## Every claim of the method on the committed models: needs FIMETRIC_DATA, about two hours; or ARGS=fashion_mnist-vae
	$(RUN)/python docs/results/claims.py $(ARGS)

pretrained: $(STAMP)  ## The whole job on a language model that others trained: needs FIMETRIC_DATA, half an hour to an hour; writes docs/results/pretrained.md
	docs/results/pretrained/run.sh

modalities: $(STAMP)  ## Text, audio, tables and further images on the committed models: needs FIMETRIC_DATA, an hour and a half; writes docs/results/modalities.md and findings.md
	docs/results/modalities/run.sh

benchmark: $(STAMP)  ## All methods on the committed models: needs FIMETRIC_DATA and hours; writes docs/results/benchmark-rivals.md; or ARGS=looks, ARGS=lean
	docs/results/benchmark.sh $(ARGS)

smoke: $(STAMP)  ## The benchmark on tiny models and bundled data, anew, in a minute and a half
	rm -rf runs/smoke
	$(RUN)/fimetric benchmark smoke --out runs/smoke

$(STAMP): pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# BackPACK declares torchvision, which only an example of its own imports: hence --no-deps.
$(PEERS): $(STAMP)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps backpack-for-pytorch einops unfoldNd
	touch $@

clean:  ## Remove the environment and what the tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
