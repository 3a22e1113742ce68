"""Generated from `protos/tradewind/v1`; never edited. Regenerate with `python protos/generate.py`."""
