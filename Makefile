# Everything that a developer or an operator does with this checkout. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help up down demo rotate-secrets test drill soak load lint advisories fuzz fmt images

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## bring the framework up and wait until it is healthy (BIGSKIES_MQTT_PORT=1883)
	@deploy/up.sh

down: ## stop the framework and its plugins; PURGE=1 deletes their data too
	@deploy/down.sh $(if $(PURGE),--purge)

demo: ## build, install, watch and remove a sample plugin (after make up)
	@deploy/demo.sh

rotate-secrets: ## renew every generated secret while the framework runs
	@deploy/rotate.sh

test: ## run every test on real parts; the last line is the result
	@deploy/test.sh

drill: ## kill coordinators at every step of every operation, broker and engine at each kind of step (ONLY=start/prepare)
	@deploy/drill.sh $(foreach part,$(ONLY),--only $(part))

soak: ## operate, and kill, stop and freeze everything at random for MINUTES=60 (SEED=n, SPARE=engine)
	@deploy/soak.sh $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(filter engine,$(SPARE)),--spare-engine)

load: ## a thousand plugins beside the life of a real one, and what became of them (MINUTES=10)
	@deploy/load.sh $(if $(MINUTES),--minutes $(MINUTES))

lint: ## check formatting, Rust and shell scripts
	@deploy/lint.sh

advisories: ## ask the advisory database about our dependencies, with cargo-deny where it is installed
	@deploy/advisories.sh

fuzz: ## give strangers' inputs to everything that reads them (RUNS=1000000 for each target)
	@deploy/fuzz.sh $(RUNS)

fmt: ## format the Rust code
	@cargo fmt --all

images: ## build the images (BIGSKIES_PROFILE=release)
	@deploy/build-images.sh
