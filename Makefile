test:
	cargo test --workspace --locked
.PHONY: test
