"""Proof by measurement: scenarios with bars, the WAN emulator, the load generator.

Everything here talks to the product from outside, over real sockets between processes. Nothing of the product imports
it, except the command line and the demo fleet, which start it.
"""
