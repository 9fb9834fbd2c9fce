"""A rollout from a terminal: planned, begun, watched, mended; and what its exit status says."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from controlplane import rollout_following
from controlplane.management.commands.rollout import Command
from controlplane.rollout_words import rehearsal_lines
from provisioning import lifecycle
from provisioning.models import Queue, Rehearsal, Release, ReleasePath, Rollout
from provisioning.rollout.progress import Progress, WaveProgress
from tenants.models import Tenant
from tests.provisioning.rollout.building import ALICE, PlainReplayer, approved, driven, inside, made, time_passes

pytestmark = pytest.mark.long

SINGLE = override_settings(TENURE_SINGLE_OPERATOR=True)


def said(*words: object) -> str:
    out = StringIO()
    call_command("rollout", *map(str, words), stdout=out)
    return out.getvalue()


def ends(status: int, *words: object) -> str:
    """What was said by a command that ends with this status; its last word included."""
    out = StringIO()
    with pytest.raises(CommandError) as ended:
        call_command("rollout", *map(str, words), stdout=out)
    assert ended.value.returncode == status, (out.getvalue(), ended.value)
    return f"{out.getvalue()}\n{ended.value}"


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever watches waits, and meanwhile the workers work."""

    def work(_seconds: float) -> None:
        lifecycle.advance(queue=Queue.FLEET)
        time_passes()

    monkeypatch.setattr(rollout_following, "wait", work)


def interrupted(_seconds: float) -> None:
    raise KeyboardInterrupt


def poison(tenant: Tenant) -> None:
    with inside(tenant) as connection:
        connection.execute("INSERT INTO project VALUES (2, '')")


def mend(tenant: Tenant) -> None:
    with inside(tenant) as connection:
        connection.execute("DELETE FROM project WHERE name = ''")


def test_a_plan_shows_waves_tiers_statements_and_who_is_left_out_and_changes_nothing(release: Release) -> None:
    made(7)
    Tenant.objects.filter(slug="t6-acme").update(state="provisioning")
    out = said("plan", "--to", "next", "--canary", "t3-acme", "--wave", 2, "--wave", "50%", "--wave", "100%")
    assert "To release next: 6 targets, 0 there already" in out
    assert re.findall(r"^  (canaries|\d+) +(\d+) +(\d+)$", out, re.MULTILINE) == [
        ("canaries", "1", "1"),
        ("1", "2", "2"),
        ("3", "3", "3"),
    ]
    assert re.search(r"projects\.0005_size +2 +0", out)
    assert "t6-acme: The tenant is provisioning." in out
    assert "ADD COLUMN" not in out
    assert "ADD COLUMN size" in said("plan", "--to", "next", "--statements")
    assert Rollout.objects.count() == 0


def test_a_plan_shows_the_locks_that_each_migration_takes(release: Release) -> None:
    made(1)
    out = said("plan", "--to", "next")
    assert len(re.findall(r"projects\.0005_size locks \S*project: ACCESS EXCLUSIVE, reads all of it", out)) == 1


def test_a_rehearsal_is_told_copy_by_copy_and_what_is_over_the_limit_last() -> None:
    lock = {"table": "project", "lock": "ACCESS EXCLUSIVE", "held_ms": 812.4}
    copy = {"target": "acme", "tier": "schema", "bytes": 7_000, "seconds": 1.25, "error": {}, "locks": [lock]}
    finding = {"code": "LOCK_HELD", "message": "project is locked ACCESS EXCLUSIVE for 812 ms."}
    rehearsal = Rehearsal(state="finished", copies=[copy], findings=[finding], estimate_s=[10.2, 20.4])
    assert list(rehearsal_lines(rehearsal)) == [
        "Rehearsal on 1 copies, which are gone again: finished.",
        "  target  tier    bytes  seconds  error",
        "  acme    schema   7000  1.25",
        "  acme: project ACCESS EXCLUSIVE for 812 ms",
        "The whole rollout would take 10 to 20 s.",
        "LOCK_HELD: project is locked ACCESS EXCLUSIVE for 812 ms.",
        "Mend the release, or approve it with --override and the reason.",
    ]


def test_a_plan_that_would_be_refused_says_why_and_what_instead(release: Release) -> None:
    made(2)
    refusal = {"statement": "DROP DATABASE x", "reason": "It cannot be replayed.", "instead": "Do it by hand."}
    ReleasePath.objects.update(refusals=[refusal])
    for verb in ("plan", "propose", "start"):
        out = ends(2, verb, "--to", "next")
        assert "Refused: It cannot be replayed. Do it by hand.\n    DROP DATABASE x" in out
    assert Rollout.objects.count() == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("plan", "--to", "no-such"), "no published release 'no-such'"),
        (("plan", "--to", "next", "--canary", "nobody"), "no tenant nobody"),
        (("plan", "--to", "next", "--wave", "5"), "100"),
        (("follow", "rol_x"), "no rollout 'rol_x'"),
        (("pause", "rol_" + "0" * 32), "no rollout"),
    ],
)
def test_what_cannot_be_asked_is_refused(release: Release, words: tuple[str, ...], says: str) -> None:
    assert says in ends(2, *words)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--wave", "5%%"),
        ("--wave", "0"),
        ("--window", "sat 22"),
        ("--window", "mor 10:00-12:00"),
        ("--starts-at", "noon"),
        ("--starts-at", "2026-13-01T00:00"),
        ("--label", "team"),
        ("--max-failures-of", "luck=1"),
    ],
)
def test_an_option_that_makes_no_sense_is_said_to(control: None, option: str, value: str) -> None:
    with pytest.raises(CommandError, match=re.escape(value)):
        call_command("rollout", "plan", "--to", "next", option, value)


@pytest.mark.parametrize(
    ("words", "status"),
    [(["plan"], 2), (["plan", "--to", "no-such"], 2), (["plan", "--to", "next", "--wave", "x"], 2), (["walk"], 2)],
)
def test_a_process_ends_with_that_status(release: Release, words: list[str], status: int) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "rollout", *words])
    assert ended.value.code == status


def test_options_become_terms(release: Release) -> None:
    made(1)
    said(
        *("propose", "--to", "next", "--tier", "schema", "--slug", "t0-acme", "--label", "team=north"),
        *("--wave", "2.5%", "--wave", "100%", "--max-failures", 3, "--max-failures-percent", 2),
        *("--max-failures-of", "lock timeout=1", "--lock-timeout", "0.5", "--parallelism", 4),
        *("--starts-at", "2026-12-05T22:00", "--window", "sat,sun 22:00-4:00"),
    )
    rollout = Rollout.objects.get()
    assert rollout.selection == {"tier": ["schema"], "slugs": ["t0-acme"], "labels": {"team": "north"}}
    assert rollout.waves == [{"percent": 2.5}, {"percent": 100}]
    assert rollout.max_failures == {"count": 3, "percent": 2, "classes": {"lock timeout": 1}}
    assert (rollout.lock_timeout_ms, rollout.parallelism) == (500, 4)
    assert str(rollout.starts_at) == "2026-12-05 22:00:00+00:00"
    assert rollout.window == {"days": ["sat", "sun"], "from": "22:00", "to": "04:00"}


def test_one_operator_starts_a_rollout_and_sees_it_through(
    release: Release, replayer: PlainReplayer, workers: None
) -> None:
    made(5)
    with SINGLE:
        out = said("start", "--to", "next", "--canary", "t1-acme", "--wave", 2, "--wave", "100%")
    assert "by one operator" in out
    assert "is succeeded: 5 succeeded" in out
    assert Rollout.objects.get().single_operator
    with SINGLE:
        assert "5 there already" in said("start", "--to", "next")
    assert len(replayer.calls) == 5


def test_a_log_gets_a_line_for_each_wave_and_no_bars(release: Release, replayer: PlainReplayer, workers: None) -> None:
    made(5)
    rollout = approved(release, canary=["t1-acme"], waves=[{"count": 2}, {"percent": 100}])
    lines = said("follow", rollout.public_id).splitlines()
    progress = [line for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert "running, canaries, wave 0 of 2: 0 of 1; all: 0 of 5" in progress[0]
    assert "succeeded, wave 2 of 2: 2 of 2; all: 5 of 5" in progress[-1]
    assert not [line for line in lines if "\r" in line or "it/s" in line]


def test_a_log_gets_a_line_every_few_seconds_and_no_more(release: Release) -> None:
    made(1)
    sight = rollout_following.look(approved(release))
    out = StringIO()
    lines = rollout_following.Lines(out)
    for second in range(12):
        moved = Progress((WaveProgress(0, succeeded=second, waiting=12 - second),), ())
        lines.show(replace(sight, progress=moved, at=sight.at + timedelta(seconds=second)))
    assert re.findall(r"all: (\d+) of 12", out.getvalue()) == ["0", "5", "10"]


def test_a_terminal_gets_a_bar_for_each_wave(release: Release, replayer: PlainReplayer, workers: None) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    made(5)
    rollout = approved(release, canary=["t1-acme"], waves=[{"count": 2}, {"percent": 100}])
    out = Terminal()
    call_command("rollout", "follow", rollout.public_id, stdout=out, no_color=True)
    for name, count in (("canaries, wave 0", "1/1"), ("wave 1", "2/2"), ("wave 2", "2/2")):
        assert re.search(rf"\r{name}: 100%.*{count}", out.getvalue())
    assert not re.search(r"^\d\d:\d\d:\d\d ", out.getvalue(), re.MULTILINE)


def test_who_proposed_does_not_approve_and_the_draft_is_left_for_somebody_else(release: Release) -> None:
    made(2)
    out = ends(2, "start", "--to", "next")
    rollout = Rollout.objects.get()
    assert f"manage.py rollout approve {rollout.public_id} --plan-digest {rollout.plan_digest}" in out
    assert "TENURE_SINGLE_OPERATOR" in out
    assert rollout.state == "draft"
    lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)
    assert rollout.state == "running"


def test_it_pauses_names_cause_and_cure_and_a_retry_finishes_it(
    release: Release, replayer: PlainReplayer, workers: None
) -> None:
    tenants = made(5)
    poison(tenants[2])
    rollout = approved(release)
    out = ends(1, "follow", rollout.public_id)
    assert "more targets failed than it may cost: 1 targets failed; the budget is 0." in out
    assert "1 target failed by data error (REFUSED)" in out
    assert "Mend it, then retry." in out
    assert f"manage.py rollout retry-failed {rollout.public_id} --follow" in out
    assert "Say in a sentence why" in ends(2, "resume", rollout.public_id)
    mend(tenants[2])
    assert "5 succeeded" in said("retry-failed", rollout.public_id, "--follow")


def test_a_failed_target_is_skipped_by_its_slug(release: Release, replayer: PlainReplayer, workers: None) -> None:
    tenants = made(3)
    poison(tenants[0])
    rollout = approved(release)
    ends(1, "follow", rollout.public_id)
    with pytest.raises(CommandError, match="--reason"):
        call_command("rollout", "skip", rollout.public_id, "t0-acme")
    assert "no target 'nobody'" in ends(2, "skip", rollout.public_id, "nobody", "--reason", "x")
    assert "t0-acme is skipped" in said("skip", rollout.public_id, "t0-acme", "--reason", "it is leaving")
    assert "2 succeeded, 1 skipped" in said("resume", rollout.public_id, "--reason", "settled", "--follow")


def test_a_cancelled_rollout_has_a_status_of_its_own(release: Release, replayer: PlainReplayer) -> None:
    made(3)
    rollout = approved(release)
    assert "is paused" in said("pause", rollout.public_id)
    ends(1, "follow", rollout.public_id)
    assert "is cancelled" in said("cancel", rollout.public_id, "--reason", "not today")
    assert "3 skipped" in ends(3, "follow", rollout.public_id)
    assert "cannot be asked to pause" in ends(2, "pause", rollout.public_id)


def test_ctrl_c_ends_the_watching_and_not_the_rollout(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    made(3)
    rollout = approved(release)

    monkeypatch.setattr(rollout_following, "wait", interrupted)
    out = ends(130, "follow", rollout.public_id)
    assert f"Follow it again: manage.py rollout follow {rollout.public_id}" in out
    rollout.refresh_from_db()
    assert rollout.state == "running"


def test_what_waits_for_its_window_says_until_when(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    made(1)
    rollout = approved(release, starts_at=datetime(2999, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(rollout_following, "wait", interrupted)
    assert "waits until 2999-01-01 00:00 UTC" in ends(130, "follow", rollout.public_id)


def test_rollouts_are_listed_and_shown(release: Release, replayer: PlainReplayer) -> None:
    assert "No rollouts yet" in said("list")
    made(2)
    rollout = driven(approved(release))
    assert re.search(rf"{rollout.public_id} +succeeded +next", said("list"))
    out = said("show", rollout.public_id)
    assert "To release next: 2 targets" in out
    assert "is succeeded: 2 succeeded" in out
