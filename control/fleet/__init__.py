"""Who is in the fleet: certificates, telemetry in, the directory of streams, routes out.

`authority` signs, `reports` judges what comes in, `registry` remembers it, `planner` asks the brain and cuts its table
into slices, `service` speaks gRPC. Never here: how a route is chosen (`control.brain`), pages and JSON (`control.api`).
"""
