"""One module a scenario: its bars, its duty of evidence, and how it is run. `bench.registry` lists them."""
