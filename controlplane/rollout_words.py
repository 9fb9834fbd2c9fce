"""Rollouts in words, for a terminal and for a log: the plan as tables, how far it is, and what to do at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from provisioning.models import PauseReason, Rehearsal, Rollout, RolloutState
from provisioning.rollout.eta import Eta
from provisioning.rollout.progress import FailureGroup, Progress, WaveProgress
from tenants.states import Tier

FOLLOW = "manage.py rollout follow"
MOST_NAMES = 10


def plan_lines(kept: Mapping[str, Any], *, statements: bool = False) -> Iterator[str]:
    """A plan as a rollout keeps it (`Rollout.plan`, `RolloutPlan.row()`), with the text of statements if asked."""
    yield f"To release {kept['release']}: {_number(kept['targets'], 'target')}, {kept['there']} there already"
    yield ""
    yield from _waves(kept["waves"])
    for path in kept["paths"]:
        yield from _path(path, statements=statements)
    if kept["left_out_count"]:
        yield f"Left out: {kept['left_out_count']}"
        yield from _some([f"{left['name']}: {left['cause']}" for left in kept["left_out"]], kept["left_out_count"])
        yield ""
    if kept["older"]:
        yield "Refused: it takes away what these still use. Take them to the release that made room for it first."
        yield from _some(kept["older"], len(kept["older"]))
        yield ""
    yield f"Plan {kept['digest']}"


def progress_line(rollout: Rollout, progress: Progress, eta: Eta | None, note: str) -> str:
    """One line of a log."""
    total = progress.total
    here = next((wave for wave in progress.waves if wave.number == rollout.wave), WaveProgress(rollout.wave))
    words = [
        f"{rollout.state}, {wave_name(rollout.wave)} of {rollout.last_wave}: {done(here)} of {here.total}",
        f"all: {done(total)} of {total.total}",
        *(f"{getattr(total, name)} {name}" for name in ("failed", "skipped", "late") if getattr(total, name)),
        *([f"all through about {span(eta)}"] if eta else []),
        *([note] if note else []),
    ]
    return "; ".join(words)


def ending_lines(rollout: Rollout, progress: Progress) -> Iterator[str]:
    """How it stands now that it is over, or waits for a person; and what may be done about it."""
    if rollout.state == RolloutState.DRAFT:
        yield f"{rollout.public_id} is a draft of {rollout.proposed_by}. Somebody else reads the plan and approves it:"
        yield f"  manage.py rollout approve {rollout.public_id} --plan-digest {rollout.plan_digest}"
        return
    named = ("succeeded", "failed", "skipped", "running", "waiting", "late")
    counts = [f"{number} {name}" for name in named if (number := getattr(progress.total, name))]
    yield f"{rollout.public_id} is {rollout.state}: {', '.join(counts) or 'nothing was to be done'}"
    if rollout.pause_reason:
        yield f"{PauseReason(rollout.pause_reason).label}: {rollout.pause_detail}"
    for group in progress.failures:
        yield from _failures(group)
    if rollout.state == RolloutState.PAUSED:
        name = rollout.public_id
        yield "What may be done now:"
        if progress.failures:
            yield f"  manage.py rollout retry-failed {name} --follow           once the cause is removed"
            yield f"  manage.py rollout skip {name} TARGET --reason …          leave one where it is"
        yield f"  manage.py rollout resume {name} --reason … --follow      go on without them"
        yield f"  manage.py rollout cancel {name} --reason …               begin nothing more"


def list_lines(rollouts: Iterable[Rollout]) -> Iterator[str]:
    rows = [
        (each.public_id, each.state, each.release.name, f"{each.wave} of {each.last_wave}", moment(each.created_at))
        for each in rollouts
    ]
    yield from table(("rollout", "state", "to release", "wave", "proposed"), rows) if rows else ["No rollouts yet."]


def rehearsal_lines(rehearsal: Rehearsal) -> Iterator[str]:
    """How each copy went, what its locks were, and what is over the limits."""
    how = f"{rehearsal.state}. {rehearsal.error}".rstrip()
    yield f"Rehearsal on {len(rehearsal.copies)} copies, which are gone again: {how}"
    rows = [
        (each["target"], each["tier"], each["bytes"], f"{each['seconds']:.2f}", each["error"].get("message", ""))
        for each in rehearsal.copies
    ]
    yield from table(("target", "tier", "bytes", "seconds", "error"), rows) if rows else []
    for each in rehearsal.copies:
        for lock in each["locks"]:
            yield f"  {each['target']}: {lock['table']} {lock['lock']} for {lock['held_ms']:.0f} ms"
    if rehearsal.estimate_s:
        low, high = rehearsal.estimate_s
        yield f"The whole rollout would take {low:.0f} to {high:.0f} s."
    for finding in rehearsal.findings:
        yield f"{finding['code']}: {finding['message']}"
    if rehearsal.findings:
        yield "Mend the release, or approve it with --override and the reason."


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Columns as wide as they need to be; numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    right = [all(isinstance(row[at], int) for row in rows) for at in range(len(head))]
    for line in ([*head], *texts):
        cells = zip(line, widths, right, strict=True)
        yield (
            "  " + "  ".join(cell.rjust(width) if number else cell.ljust(width) for cell, width, number in cells)
        ).rstrip()


def wave_name(number: int) -> str:
    return f"wave {number}" if number else "canaries, wave 0"


def done(wave: WaveProgress) -> int:
    """Targets that nothing is left to do for, however they ended."""
    return wave.succeeded + wave.failed + wave.skipped


def span(eta: Eta) -> str:
    """`09:14 to 09:31 UTC`, to the second where both are in the same minute."""
    first, last = moment(eta.earliest), moment(eta.latest)
    if first == last:
        return f"{eta.earliest.astimezone(UTC):%H:%M:%S} to {eta.latest.astimezone(UTC):%H:%M:%S} UTC"
    return f"{first} to {last} UTC"


def _waves(waves: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    tiers = [str(tier) for tier in Tier if any(str(tier) in wave["targets"] for wave in waves)]
    rows = [
        (wave["number"] or "canaries", *(wave["targets"].get(tier, 0) for tier in tiers), sum(wave["targets"].values()))
        for wave in waves
    ]
    if rows:
        yield from table(("wave", *tiers, "targets"), rows)
        yield ""


def _path(path: Mapping[str, Any], *, statements: bool) -> Iterator[str]:
    where = "pools" if path["pooled"] else "schemas and databases"
    yield f"From {path['source'] or 'no release'}, {where}: {_number(path['targets'], 'target')}"
    rows = [
        (each["migration"], len(each["statements"]), len(each["data"]), "" if each["atomic"] else "step by step")
        for each in path["migrations"]
    ]
    if rows:
        yield from table(("migration", "statements", "data operations", ""), rows)
    for each in path["migrations"]:
        yield from (f"    {each['migration']} locks {_lock(lock)}" for lock in each["locks"])
        yield from (f"    {each['migration']} on rows: {_line(data)}" for data in each["data"])
        if statements:
            yield from (f"    {_line(statement)}" for statement in each["statements"])
    for refusal in path["refusals"]:
        yield f"  Refused: {refusal['reason']} {refusal['instead']}".rstrip()
        if refusal["statement"]:
            yield f"    {_line(refusal['statement'])}"
    yield ""


def _failures(group: FailureGroup) -> Iterator[str]:
    yield f"{_number(group.targets, 'target')} failed by {group.budget_class} ({group.code}): {group.detail}"
    if group.migration or group.statement:
        yield f"    at {group.migration} {_line(group.statement)}".rstrip()
    if group.hint:
        yield f"    {group.hint}"


def _lock(lock: Mapping[str, Any]) -> str:
    work = [
        words
        for words, does in (("writes all of it anew", lock["rewrites"]), ("reads all of it", lock["scans"]))
        if does
    ]
    return f"{lock['table'] or 'some table'}: {', '.join([lock['lock'], *work])}. {lock['why']}".rstrip()


def _some(names: Sequence[str], count: int) -> Iterator[str]:
    yield from (f"  {name}" for name in names[:MOST_NAMES])
    if count > MOST_NAMES:
        yield f"  and {count - min(len(names), MOST_NAMES)} more"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _line(text: str) -> str:
    return " ".join(text.split())


def moment(at: datetime) -> str:
    """To the minute, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
