# Everything starts from python3 and make alone: `sync` gets uv, and uv gets the rest (see deploy/bootstrap.py).

PYTHON ?= python3
BIN := .venv/bin
NAME ?=
ARGS ?=
JOBS ?= 4

# Where it is set, every process compiles all of our sources anew; the tests start some thousands.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run stack test bench chaos soak fuzz lint manifests images release fmt monitoring migrate lock sync clean

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: sync ## Run Millrace in one process on http://127.0.0.1:8080 (MILLRACE_PORT, MILLRACE_DATA_DIR)
	@exec $(BIN)/millrace up

stack: sync ## Run the production shape: four processes, RabbitMQ, PostgreSQL
	@exec $(BIN)/millrace stack

test: sync ## Run every test, on private servers that it starts itself (ARGS="-k name", JOBS=1)
	@exec $(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

bench: sync ## Run the benchmarks, or one of them (NAME=log)
	@PYTHONPATH=tests exec $(BIN)/python -m bench $(NAME)

chaos: sync ## Break whatever can break for MILLRACE_CHAOS_SECONDS (300) from MILLRACE_CHAOS_SEED, and kill at every passage
	@exec $(BIN)/pytest tests/chaos tests/integration/test_planted_secrets.py tests/unit/test_cleaning_edges.py -m "" -s $(ARGS)

soak: sync ## Run the long tests: a million events under fire, 300,000 lives of jobs
	@exec $(BIN)/pytest tests/soak -s --timeout=7200 $(ARGS)

fuzz: sync ## Look for an hour or so for what the OpenAPI document does not tell
	@exec $(BIN)/pytest tests/fuzz -s --timeout=14400 $(ARGS)

lint: sync ## Check style, types, import rules and the repository itself
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy libs services deploy tests
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python deploy/check_repository.py

manifests: sync ## Look at the Dockerfile and the Kubernetes manifests: hadolint, checkov, schemas, and what they promise
	@$(PYTHON) deploy/bootstrap.py linters
	@exec $(BIN)/pytest tests/manifests $(ARGS)

images: manifests ## Build the image and run the compose file's topology, on a Docker engine or one that it starts (root on Debian)
	@exec $(BIN)/pytest tests/images -s --timeout=3600 $(ARGS)

release: sync ## Build what a version is into build/release/<version>, with the changelog's section
	@exec $(BIN)/python deploy/release.py

fmt: sync ## Format the code
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format

monitoring: sync ## Write Grafana's dashboards and the rules of our objectives anew
	@exec $(BIN)/python -m deploy.monitoring

migrate: sync ## Bring the database at MILLRACE_DATABASE_URL to the newest schema
	@exec $(BIN)/millrace migrate

lock: ## Pin the dependencies anew in requirements.lock
	@$(PYTHON) deploy/bootstrap.py lock

sync: ## Install or update .venv from requirements.lock; the others do it by themselves
	@$(PYTHON) deploy/bootstrap.py sync

clean: ## Remove what was built; data (.millrace) stays
	@rm -rf .venv .tools build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
