"""Take the fleet, or a part of it, to another release: in waves, with an error budget.

  manage.py rollout plan --to 2026.11.3               what would happen; changes nothing
  manage.py rollout propose --to 2026.11.3            a draft, which somebody else reads and approves
      --canary acme --wave 5 --wave 10% --wave 100%   one tenant, five targets, up to a tenth, all
      --max-failures 3 --max-failures-percent 2       more than that, and it pauses itself
  manage.py rollout rehearse rol_…                    a draft, on copies of the largest and oldest targets
  manage.py rollout approve rol_… --plan-digest sha256:…
  manage.py rollout start --to 2026.11.3 …            propose, approve and follow, where one person runs all
  manage.py rollout follow rol_…                      watch it; Ctrl-C ends the watching, not the rollout

When it pauses it says why and what may be done: `retry-failed` once the cause is removed, `skip` a target, `resume`
without them, or `cancel`. `manage.py rollout VERB --help` explains each.

Exit status: 0 it succeeded (or the verb was done), 1 it is paused or some are left, 2 refused or a wrong option,
3 it was cancelled, 130 Ctrl-C while following.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TextIO, cast
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser

from controlplane.management.teaching import TeachingCommand
from controlplane.rollout_finding import release_named, rollout_named, target_named
from controlplane.rollout_following import display_on, follow
from controlplane.rollout_options import add_options, add_terms, terms_of
from controlplane.rollout_words import FOLLOW, ending_lines, list_lines, plan_lines, rehearsal_lines
from provisioning import lifecycle
from provisioning.models import Rollout, RolloutState
from tenants.audit import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="rollout", name="manage.py rollout")
LEFT, REFUSED, CANCELLED, INTERRUPTED = 1, 2, 3, 130
LISTED = 20


class Command(TeachingCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for name, what in (
            ("plan", "what would happen"),
            ("propose", "a draft"),
            ("start", "propose, approve, follow"),
        ):
            verb = verbs.add_parser(name, help=what, description=what)
            add_terms(verb)
            verb.add_argument("--statements", action="store_true", help="show the text of each statement")
            if name != "plan":
                verb.add_argument("--rehearse", action="store_true", help="on copies of some targets, before anything")
        for name, what in ONE.items():
            add_options(name, verbs.add_parser(name, help=what, description=what))
        verbs.add_parser("list", help=f"the latest {LISTED}", description=f"the latest {LISTED}")

    def handle(self, *, verb: str, **options: Any) -> None:
        act: Callable[..., None] = getattr(self, verb.replace("-", "_"))
        try:
            act(**options)
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}", returncode=REFUSED) from error

    def plan(self, **options: Any) -> None:
        self._planned(options)

    def propose(self, **options: Any) -> None:
        self._drafted(options)

    def start(self, **options: Any) -> None:
        rollout = self._drafted(options)
        lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ACTOR)
        self.stdout.write(f"{rollout.public_id} runs. Proposed and approved by one operator, as this house allows.")
        self._follow(rollout)

    def approve(self, *, rollout: str, plan_digest: str, override: str, follow: bool, **_options: Any) -> None:
        found = rollout_named(rollout)
        lifecycle.approve_rollout(found, digest=plan_digest, actor=ACTOR, override=override)
        self._done(found, follow=follow)

    def rehearse(self, *, rollout: str, copies: int, **_options: Any) -> None:
        self._rehearsed(rollout_named(rollout), copies=copies)

    def show(self, *, rollout: str, statements: bool, **_options: Any) -> None:
        found = rollout_named(rollout)
        self._say(plan_lines(found.plan, statements=statements))
        self._say(ending_lines(found, lifecycle.progress_of(found)))

    def follow(self, *, rollout: str, **_options: Any) -> None:
        self._follow(rollout_named(rollout))

    def pause(self, *, rollout: str, reason: str, **_options: Any) -> None:
        self._done(lifecycle.pause_rollout(rollout_named(rollout), actor=ACTOR, reason=reason), follow=False)

    def resume(self, *, rollout: str, reason: str, follow: bool, **_options: Any) -> None:
        self._done(lifecycle.resume_rollout(rollout_named(rollout), actor=ACTOR, reason=reason), follow=follow)

    def retry_failed(self, *, rollout: str, reason: str, follow: bool, **_options: Any) -> None:
        self._done(lifecycle.retry_failed(rollout_named(rollout), actor=ACTOR, reason=reason), follow=follow)

    def cancel(self, *, rollout: str, reason: str, **_options: Any) -> None:
        self._done(lifecycle.cancel_rollout(rollout_named(rollout), actor=ACTOR, reason=reason), follow=False)

    def skip(self, *, rollout: str, target: str, reason: str, **_options: Any) -> None:
        found = rollout_named(rollout)
        lifecycle.skip_target(target_named(found, target), reason=reason, actor=ACTOR)
        self.stdout.write(f"{target} is skipped and stays on its release.")

    def list(self, **_options: Any) -> None:
        self._say(list_lines(Rollout.objects.select_related("release").defer("plan").order_by("-created_at")[:LISTED]))

    def _drafted(self, options: dict[str, Any]) -> Rollout:
        """A draft of a plan that is shown, and that would not be refused."""
        self._planned(options)
        rollout = lifecycle.propose_rollout(
            release=release_named(options["to"]), terms=terms_of(options), actor=ACTOR, key=str(uuid4())
        )
        if options["rehearse"]:
            self._rehearsed(rollout)
        self._say(ending_lines(rollout, lifecycle.progress_of(rollout)))
        return rollout

    def _rehearsed(self, rollout: Rollout, *, copies: int = 3) -> None:
        """Shows it; findings are a reason to end: approving needs an override then."""
        rehearsal = lifecycle.rehearse_rollout(rollout, k=copies, actor=ACTOR)
        self._say(rehearsal_lines(rehearsal))
        if rehearsal.findings:
            raise CommandError(f"{rollout.public_id} stays a draft: see above.", returncode=LEFT)

    def _planned(self, options: dict[str, Any]) -> None:
        """Shows the plan; one that would be refused ends the command."""
        plan = lifecycle.plan_rollout(release=release_named(options["to"]), terms=terms_of(options))
        self._say(plan_lines(plan.row(), statements=options["statements"]))
        if plan.refusals or plan.older:
            raise CommandError("This plan would be refused: see above.", returncode=REFUSED)

    def _done(self, rollout: Rollout, *, follow: bool) -> None:
        self.stdout.write(f"{rollout.public_id} is {rollout.state}.")
        if follow:
            self._follow(rollout)

    def _follow(self, rollout: Rollout) -> None:
        file = cast("TextIO", self.stdout._out)  # noqa: SLF001  Django's wrapper ends a line after each piece of a bar
        with display_on(file, terminal=self.stdout.isatty()) as display:
            try:
                sight = follow(rollout, display)
            except KeyboardInterrupt:
                name = rollout.public_id
                raise CommandError(
                    f"{name} goes on. Follow it again: {FOLLOW} {name}", returncode=INTERRUPTED
                ) from None
        self._say(ending_lines(sight.rollout, sight.progress))
        if sight.rollout.state == RolloutState.CANCELLED:
            raise CommandError("It was cancelled.", returncode=CANCELLED)
        if sight.rollout.state != RolloutState.SUCCEEDED:
            raise CommandError("Not everything is there yet.", returncode=LEFT)

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(line)


ONE = {
    "approve": "freeze the targets of a draft's plan, and begin",
    "rehearse": "try a draft on copies of its largest and oldest targets",
    "show": "its plan, and how it stands",
    "follow": "watch it until it is over or paused",
    "pause": "take no more targets; those in work are finished",
    "resume": "go on after a pause",
    "retry-failed": "try the failed targets again",
    "skip": "leave one waiting or failed target on the release it is on",
    "cancel": "begin nothing more; who has arrived stays there",
}
