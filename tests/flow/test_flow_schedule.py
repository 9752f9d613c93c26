"""The nightly deployment over the changes to summer and winter time, asked as Prefect's scheduler asks. No server."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.e2e.e2e_kit import REPOSITORY

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_home")]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def shipped() -> dict[str, Any]:
    """The schedule of the nightly deployment."""
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    [nightly] = [one for one in deployments if one["name"] == "nightly"]
    [schedule] = nightly["schedules"]
    return {name: schedule[name] for name in ("cron", "timezone")}


def changes(zone: ZoneInfo, year: int) -> list[date]:
    """The days on which the zone's clocks are changed."""
    noons = [datetime(year, 1, 1, 12, tzinfo=zone) + DAY * number for number in range(365)]
    return [noon.date() for noon in noons if noon.utcoffset() != (noon - DAY).utcoffset()]


def begun(schedule: dict[str, Any], around: date, zone: ZoneInfo) -> list[datetime]:
    """When runs begin from two days before until two days after, in the zone's own time.

    It is asked anew every hour, as the scheduler does, and everything counts that it says at any time.
    """
    from prefect.server.schemas.schedules import CronSchedule  # noqa: TID251 - what the scheduler asks

    cron = CronSchedule(**schedule)
    first = datetime.combine(around - 2 * DAY, time(), zone).astimezone(UTC)
    last = datetime.combine(around + 3 * DAY, time(), zone).astimezone(UTC)
    found: set[datetime] = set()
    asked = first
    while asked < last:
        found.update(when.astimezone(UTC) for when in asyncio.run(cron.get_dates(n=10, start=asked, end=last)))
        asked += HOUR
    return [when.astimezone(zone) for when in sorted(found)]


@pytest.mark.parametrize("year", [2026, 2027, 2028])
def test_the_nightly_run_begins_once_a_night_at_its_hour_when_the_clocks_are_changed(year: int) -> None:
    schedule = shipped()
    zone = ZoneInfo(schedule["timezone"])
    minute, hour, *days = schedule["cron"].split()
    assert days == ["*", "*", "*"]
    changed = changes(zone, year)
    assert len(changed) == 2, "a zone without summer time tries nothing here"
    for day in changed:
        nights = [day + DAY * number for number in range(-2, 3)]
        wanted = [(night, time(int(hour), int(minute))) for night in nights]
        assert [(when.date(), when.time()) for when in begun(schedule, day, zone)] == wanted


@pytest.mark.parametrize("cron", ["30 2 * * *", "0 2 * * *"])
def test_an_hour_that_is_left_out_in_spring_would_be_seen(cron: str) -> None:
    """So this can fail: Prefect begins such a night's run at another time than it is told."""
    zone = ZoneInfo("Europe/Berlin")
    spring = changes(zone, 2027)[0]
    hours = {when.hour for when in begun({"cron": cron, "timezone": "Europe/Berlin"}, spring, zone)}
    assert hours != {2}
