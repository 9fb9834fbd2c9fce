"""Months, leap days, extensions and time zones: what a calendar can do to a deadline."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provisioning.erasure.deadlines import (
    UTC,
    BadExtension,
    Clock,
    DeadlineInfeasible,
    due_at,
    extended,
    feasible,
    last_day,
    latest_start,
    one_month_on,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/Santiago", "Pacific/Apia", "Asia/Kathmandu")]
days = st.dates(date(2020, 1, 1), date(2060, 12, 31))
instants = st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1), timezones=st.sampled_from(ZONES))  # noqa: DTZ001
zones = st.sampled_from(ZONES)


@pytest.mark.parametrize(
    ("received", "due"),
    [
        (date(2026, 1, 31), date(2026, 2, 28)),
        (date(2028, 1, 31), date(2028, 2, 29)),
        (date(2028, 2, 29), date(2028, 3, 29)),
        (date(2026, 12, 31), date(2027, 1, 31)),
        (date(2026, 11, 30), date(2026, 12, 30)),
    ],
)
def test_a_month_is_a_month_of_the_calendar(received: date, due: date) -> None:
    assert one_month_on(received) == due


@given(days, st.integers(1, 3))
@example(date(2027, 11, 30), 3)
def test_the_day_has_the_same_number_or_is_the_last_of_its_month(day: date, months: int) -> None:
    on = one_month_on(day, months)
    assert (on.year * 12 + on.month) - (day.year * 12 + day.month) == months
    assert on.day == day.day or (on.day < day.day and (on + timedelta(days=1)).day == 1)


@settings(max_examples=200)
@given(instants, zones)
def test_whoever_asks_has_the_whole_of_the_last_day(received: datetime, zone: ZoneInfo) -> None:
    due = due_at(received, zone=zone, policy="eu")
    day = received.astimezone(zone).date()
    assert last_day(due, zone) == one_month_on(day)
    assert due.astimezone(zone).date() == one_month_on(day) + timedelta(days=1)
    assert timedelta(days=27) < due - received < timedelta(days=33)


@given(instants, zones, st.integers(1, 2))
def test_an_extension_ends_no_later_than_one_counted_from_receipt(
    received: datetime, zone: ZoneInfo, months: int
) -> None:
    due = due_at(received, zone=zone, policy="eu")
    until = extended(due, zone=zone, months=months)
    assert due < until
    assert last_day(until, zone) <= one_month_on(received.astimezone(zone).date(), 1 + months)


@given(instants, st.timedeltas(timedelta(0), timedelta(days=60)), st.timedeltas(timedelta(0), timedelta(days=40)))
def test_a_grace_that_is_accepted_ends_in_time_and_a_refusal_names_one_that_is_accepted(
    received: datetime, grace: timedelta, passed: timedelta
) -> None:
    due = due_at(received, zone=BERLIN, policy="eu")
    clock = Clock(received.astimezone(UTC), due, latest_start(due, p95=timedelta(days=1)))
    now = received.astimezone(UTC) + passed
    try:
        fits = feasible(grace, clock, now=now)
    except DeadlineInfeasible as refused:
        fits = timedelta(seconds=int(str(refused.metadata["longest_grace_s"])))
        assert feasible(fits, clock, now=now) == fits
        assert fits < grace
    assert fits <= grace
    assert clock.at_risk(now) or now + fits <= clock.latest_start
    assert not clock.at_risk(now) or fits == timedelta(0)


def test_what_is_no_extension_is_refused() -> None:
    for months in (0, 3):
        with pytest.raises(BadExtension):
            extended(datetime(2026, 12, 2, 23, tzinfo=UTC), zone=BERLIN, months=months)


def test_the_time_that_passes_is_told_ever_louder() -> None:
    received = datetime(2026, 11, 2, 10, tzinfo=UTC)
    due = due_at(received, zone=BERLIN, policy="contract")
    assert due == datetime(2026, 12, 2, 23, tzinfo=UTC)
    clock = Clock(received, due, latest_start(due, p95=timedelta(hours=24)))
    told = [clock.severity(received + timedelta(days=day)) for day in (1, 17, 20, 26, 31)]
    assert told == [None, "info", "warning", "error", "critical"]
