"""Looking in from outside, under /__simulator__/: the bill, the statistics, new settings, a fresh start."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fluxbatch.errors import UsageError
from fluxbatch.simulator.cloud import Platform

CONTROL_PATH = "/__simulator__"


def control_routes(platform: Platform) -> list[Route]:
    control = _Control(platform)
    return [
        Route(CONTROL_PATH + "/bill", control.bill),
        Route(CONTROL_PATH + "/stats", control.stats),
        Route(CONTROL_PATH + "/settings", control.change, methods=["POST"]),
        Route(CONTROL_PATH + "/reset", control.reset, methods=["POST"]),
    ]


class _Control:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def bill(self, request: Request) -> Response:
        """`entries`: how many, `total_centineurons`; with ?entries=1 the `charges` too."""
        bill = self._platform.bill
        report: dict[str, object] = {"entries": len(bill.charges), "total_centineurons": bill.total_centineurons}
        if _wants(request, "entries"):
            report["charges"] = [asdict(charge) for charge in bill.charges]
        return JSONResponse(report)

    async def stats(self, request: Request) -> Response:
        """Traffic.report and the pictures in the making; ?arrivals=1, ?prompts=1 and ?bodies=1 add the long lists."""
        wanted = (_wants(request, name) for name in ("arrivals", "prompts", "bodies"))
        report = self._platform.traffic.report(*wanted)
        capacity = self._platform.capacity
        return JSONResponse(report | {"making": capacity.making, "making_peak": capacity.peak})

    async def change(self, request: Request) -> Response:
        """Any of rate, window_s, capacity, faults, outages, latencies, paint … while running; the answer has all."""
        try:
            self._platform.change((await request.body()).decode("utf-8", "replace"))
        except UsageError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return Response(self._platform.settings.to_json(), media_type="application/json")

    async def reset(self, request: Request) -> Response:
        self._platform.reset()
        return JSONResponse({})


def _wants(request: Request, name: str) -> bool:
    return request.query_params.get(name, "0") not in ("", "0")
