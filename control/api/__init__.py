"""Control over HTTP: the operator's console and what feeds it, enrolment, the demo's bad links, health and metrics.

Never here: decisions (`control.brain`) and the fleet's state (`control.fleet`); handlers read, convert and answer.
"""
