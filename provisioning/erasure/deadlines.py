"""By when an erasure must be done, and how late it may begin. Pure: no Django, no clock of its own.

The day is the controller's: it ends at midnight in its time zone, and every instant given back is the first one that
is too late. Weekends extend nothing: early is always allowed.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as of_day
from typing import Literal
from zoneinfo import ZoneInfo

from tenants.errors import TenureError
from tenants.findings import Severity

Policy = Literal["eu", "contract"]
CONTRACT_DAYS = 30
EXTENSION_MONTHS = 2  # GDPR Art. 12(3): "by two further months where necessary"
MARGIN = timedelta(days=3)  # for whatever a person must look at
WARN_BEFORE = timedelta(days=7)
UTC = ZoneInfo("UTC")


class DeadlineInfeasible(TenureError):
    """So long a grace would miss the date. `metadata["longest_grace_s"]` is the longest that fits, in seconds."""

    code = "DEADLINE_INFEASIBLE"
    cure = "Ask for a shorter grace."


class BadExtension(TenureError):
    """An extension is made once, by one or two months, with notice sent before the first due date."""

    code = "VALIDATION_FAILED"
    cure = "Ask for 1 or 2 months, under the policy `eu`, and send the notice in time."


@dataclass(frozen=True, slots=True)
class Clock:
    """One request's: when it came in, by when it is due (extensions included), and the latest safe start."""

    received_at: datetime
    due_at: datetime
    latest_start: datetime

    def at_risk(self, now: datetime) -> bool:
        """Whether it begins too late to be sure, however soon it begins."""
        return now > self.latest_start

    def overdue(self, now: datetime) -> bool:
        return now >= self.due_at

    def severity(self, now: datetime) -> Severity | None:
        """How loudly to say that time passes; None while less than half of it has."""
        if self.overdue(now):
            return Severity.CRITICAL
        if self.at_risk(now):
            return Severity.ERROR
        if now >= self.latest_start - WARN_BEFORE:
            return Severity.WARNING
        return Severity.INFO if now >= self.received_at + (self.due_at - self.received_at) / 2 else None

    def longest_grace(self, now: datetime) -> timedelta:
        """Zero when there is no time left: approvals are never skipped, so the grace is what shrinks."""
        return max(self.latest_start - now, timedelta(0))

    def start_after(self, grace: timedelta, *, approved_at: datetime) -> datetime:
        """When a grace that was accepted ends: as asked, or earlier where the approval came late."""
        return approved_at.astimezone(UTC) + min(grace, self.longest_grace(approved_at))


def due_at(received_at: datetime, *, zone: ZoneInfo, policy: Policy, days: int = CONTRACT_DAYS) -> datetime:
    """The end of the day with the same number in the next month, or of that month's last; or `days` later (contract).

    GDPR Art. 12(3): "within one month of receipt". Never thirty days.
    """
    day = received_at.astimezone(zone).date()
    return end_of(one_month_on(day) if policy == "eu" else day + timedelta(days=days), zone)


def extended(due: datetime, *, zone: ZoneInfo, months: int) -> datetime:
    """Counted from the due date, which is never later than from receipt. Raises BadExtension."""
    if not 1 <= months <= EXTENSION_MONTHS:
        raise BadExtension(f"{months} months is no extension.")
    return end_of(one_month_on(last_day(due, zone), months), zone)


def last_day(due: datetime, zone: ZoneInfo) -> date:
    """The day at whose end it is due."""
    return (due - timedelta(microseconds=1)).astimezone(zone).date()


def one_month_on(day: date, months: int = 1) -> date:
    """The same number `months` later, or the last of that month."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of the next day, in UTC; where clocks skip midnight, the instant at which they do."""
    return datetime.combine(day + timedelta(days=1), of_day(0), tzinfo=zone).astimezone(UTC)


def latest_start(due: datetime, *, p95: timedelta) -> datetime:
    """`p95` is how long 95 of 100 such erasures take, soak and checks included."""
    return due - 2 * p95 - MARGIN


def feasible(grace: timedelta, clock: Clock, *, now: datetime) -> timedelta:
    """The grace as asked for. Raises DeadlineInfeasible, naming the longest that fits, where any fits at all."""
    longest = clock.longest_grace(now)
    if grace <= longest:
        return grace
    if not longest:
        return longest  # at risk already: it begins as soon as it is approved
    days, rest = divmod(int(longest.total_seconds()), 86_400)
    raise DeadlineInfeasible(
        f"A grace of {grace.days} days would miss {clock.due_at:%-d %B %Y}.",
        cure=f"The longest grace that fits is {days} days and {rest // 3600} hours.",
        longest_grace_s=int(longest.total_seconds()),
        due_at=clock.due_at.isoformat(),
    )
