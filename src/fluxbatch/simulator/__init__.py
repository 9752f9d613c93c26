"""A Cloudflare that costs nothing: the same wire, a bill, faults from a script.

`with Simulator(SimulatorSettings(latency_s=0.1)) as simulator:` runs one; `simulator.base_url` is where it listens.
"""

from fluxbatch.simulator.bill import Charge, read_bill
from fluxbatch.simulator.faults import FAULTS, Outage
from fluxbatch.simulator.server import Simulator, serve
from fluxbatch.simulator.settings import SIMULATOR_ACCOUNT_ID, SIMULATOR_TOKEN, SimulatorSettings

__all__ = [
    "FAULTS",
    "SIMULATOR_ACCOUNT_ID",
    "SIMULATOR_TOKEN",
    "Charge",
    "Outage",
    "Simulator",
    "SimulatorSettings",
    "read_bill",
    "serve",
]
