"""The edge's side of the fleet: enrolment, path probes, telemetry out, routes in and kept on disk.

Never here: media packets (they stay in `edge.dataplane`), decisions about routes (they are control's).
"""
