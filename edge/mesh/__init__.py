"""The edge's side of the fleet: enrolment, path probes, telemetry out, routes in and kept on disk.

`edge/main.py` awaits `ensure_identity(settings)`, starts the packet path with that certificate, and runs
`MeshAgent(settings, identity, NativePort(dataplane)).run()` in its TaskGroup; `agent.view` is the newest `FleetView`.
Never here: media packets (they stay in `edge.dataplane`), decisions about routes (they are control's).
"""
