"""Prefect lives here and nowhere else: thin shells over `fluxbatch.run`."""

import os

HEARTBEAT_S = 60
"""Seconds between the signs of life of a run; `flows.setup` gives its work pools and its automation the same."""

# An ephemeral server (no PREFECT_API_URL) takes 20 to 30 s to start on a slow machine; Prefect gives up at 20.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
# Its telemetry talks to the outside, and its first write fights with the server's own ("database is locked").
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# For a run without a worker; a worker's have it from their work pool.
os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", str(HEARTBEAT_S))
