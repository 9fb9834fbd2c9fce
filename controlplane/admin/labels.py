"""From a state to its word, icon, letter and colour: one table for lists, pages and pictures."""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """The six state colours, from the quietest to the loudest. ops.css gives each a pair for light and for dark."""

    QUIET = "quiet"
    GOOD = "good"
    BUSY = "busy"
    WAIT = "wait"
    WARN = "warn"
    BAD = "bad"

    @property
    def loudness(self) -> int:
        return list(Tone).index(self)


@dataclass(frozen=True, slots=True)
class Label:
    """How one state looks. `icon` is a name of the Material Symbols font; `letter` stands where there is no room."""

    word: str
    icon: str
    letter: str
    tone: Tone


LABELS: dict[str, dict[str, Label]] = {
    "tenant": {
        "provisioning": Label("provisioning", "progress_activity", "P", Tone.BUSY),
        "active": Label("active", "check_circle", "A", Tone.GOOD),
        "suspending": Label("suspending", "progress_activity", "s", Tone.BUSY),
        "suspended": Label("suspended", "pause_circle", "S", Tone.WAIT),
        "resuming": Label("resuming", "progress_activity", "R", Tone.BUSY),
        "deleting": Label("deleting", "progress_activity", "d", Tone.BUSY),
        "deleted": Label("deleted", "delete", "D", Tone.WARN),
        "erasing": Label("erasing", "progress_activity", "e", Tone.BUSY),
        "erased": Label("erased", "delete_forever", "E", Tone.QUIET),
        "failed": Label("failed", "cancel", "F", Tone.BAD),
    },
    "run": {
        "queued": Label("queued", "schedule", "Q", Tone.WAIT),
        "running": Label("running", "progress_activity", "R", Tone.BUSY),
        "undoing": Label("undoing", "undo", "U", Tone.WARN),
        "stalled": Label("stalled", "hourglass_disabled", "!", Tone.WARN),
        "paused": Label("paused", "pause_circle", "P", Tone.WAIT),
        "parked": Label("parked", "front_hand", "K", Tone.BAD),
        "succeeded": Label("succeeded", "check_circle", "S", Tone.GOOD),
        "failed": Label("failed", "cancel", "F", Tone.BAD),
        "cancelled": Label("cancelled", "block", "C", Tone.QUIET),
    },
    "step": {
        "pending": Label("not begun", "radio_button_unchecked", "N", Tone.QUIET),
        "started": Label("running", "progress_activity", "R", Tone.BUSY),
        "waiting": Label("waiting", "schedule", "W", Tone.WAIT),
        "succeeded": Label("done", "check_circle", "D", Tone.GOOD),
        "skipped": Label("skipped", "skip_next", "S", Tone.WARN),
        "failed": Label("failed", "cancel", "F", Tone.BAD),
    },
    "resource": {
        "planned": Label("planned", "edit_calendar", "P", Tone.WAIT),
        "ready": Label("ready", "check_circle", "R", Tone.GOOD),
        "removed": Label("removed", "delete", "X", Tone.QUIET),
    },
    "observed": {
        "as planned": Label("as recorded", "check_circle", "A", Tone.GOOD),
        "different": Label("different", "error", "D", Tone.BAD),
        "not measured": Label("not measured", "help", "N", Tone.QUIET),
    },
    "health": {
        "ok": Label("ok", "check_circle", "O", Tone.GOOD),
        "attention": Label("attention", "error", "A", Tone.WARN),
        "unknown": Label("not known", "help", "U", Tone.QUIET),
    },
    "cluster": {
        "open": Label("open", "check_circle", "O", Tone.GOOD),
        "draining": Label("draining", "output", "D", Tone.WARN),
        "closed": Label("closed", "lock", "C", Tone.QUIET),
    },
    "release": {
        "publishing": Label("publishing", "progress_activity", "P", Tone.BUSY),
        "published": Label("published", "check_circle", "R", Tone.GOOD),
        "failed": Label("failed", "cancel", "F", Tone.BAD),
    },
    "rollout": {
        "draft": Label("draft", "edit_note", "D", Tone.QUIET),
        "running": Label("running", "progress_activity", "R", Tone.BUSY),
        "waiting": Label("waiting for its time", "schedule", "W", Tone.WAIT),
        "stalled": Label("stalled", "hourglass_disabled", "!", Tone.WARN),
        "paused": Label("paused", "pause_circle", "P", Tone.WARN),
        "stopped": Label("stopped itself", "front_hand", "X", Tone.BAD),
        "succeeded": Label("succeeded", "check_circle", "S", Tone.GOOD),
        "cancelled": Label("cancelled", "block", "C", Tone.QUIET),
    },
    "target": {
        "succeeded": Label("done", "check_circle", "D", Tone.GOOD),
        "running": Label("running", "progress_activity", "R", Tone.BUSY),
        "failed": Label("failed", "cancel", "F", Tone.BAD),
        "skipped": Label("skipped", "skip_next", "S", Tone.WARN),
        "blocked": Label("blocked", "lock_clock", "B", Tone.WAIT),
        "waiting": Label("waiting", "schedule", "W", Tone.QUIET),
    },
    "rehearsal": {
        "queued": Label("queued", "schedule", "Q", Tone.WAIT),
        "running": Label("running", "progress_activity", "R", Tone.BUSY),
        "finished": Label("nothing to object", "check_circle", "N", Tone.GOOD),
        "objects": Label("objects", "warning", "O", Tone.BAD),
        "overridden": Label("overridden", "warning", "V", Tone.WARN),
        "failed": Label("came to no end", "cancel", "F", Tone.BAD),
    },
    "drift": {
        "as released": Label("as released", "check_circle", "R", Tone.GOOD),
        "drifted": Label("drifted", "difference", "D", Tone.BAD),
        "adopted": Label("adopted", "handshake", "A", Tone.WARN),
        "away": Label("away", "cloud_off", "N", Tone.QUIET),
    },
    "erasure": {
        "received": Label("received", "mark_email_read", "R", Tone.QUIET),
        "identifying": Label("identity to be proved", "badge", "I", Tone.WAIT),
        "planning": Label("planning", "fact_check", "P", Tone.WAIT),
        "blocked": Label("blocked", "block", "B", Tone.BAD),
        "awaiting_approval": Label("waits for approval", "how_to_reg", "A", Tone.WARN),
        "scheduled": Label("scheduled", "schedule", "S", Tone.WAIT),
        "freezing": Label("freezing", "ac_unit", "F", Tone.BUSY),
        "erasing": Label("erasing", "progress_activity", "e", Tone.BUSY),
        "checking": Label("checking", "visibility", "c", Tone.BUSY),
        "settling": Label("erased, settling", "verified", "s", Tone.GOOD),
        "completed": Label("completed", "check_circle", "C", Tone.GOOD),
        "regressed": Label("regressed", "report", "!", Tone.BAD),
        "rejected": Label("rejected", "cancel", "X", Tone.QUIET),
        "cancelled": Label("cancelled", "block", "x", Tone.QUIET),
        "merged": Label("merged", "merge", "M", Tone.QUIET),
    },
    "deadline": {
        "on_time": Label("on time", "schedule", "T", Tone.GOOD),
        "soon": Label("must begin soon", "hourglass_top", "S", Tone.WARN),
        "at_risk": Label("at risk", "warning", "R", Tone.BAD),
        "overdue": Label("overdue", "alarm", "O", Tone.BAD),
    },
    "verdict": {
        "clean": Label("clean", "check_circle", "C", Tone.GOOD),
        "dirty": Label("dirty", "error", "D", Tone.BAD),
        "unknown": Label("unknown", "help", "U", Tone.WARN),
        "": Label("not looked at", "help", "N", Tone.QUIET),
    },
    "certificate": {
        "valid": Label("valid", "verified", "V", Tone.GOOD),
        "superseded": Label("superseded", "history", "S", Tone.QUIET),
        "regressed": Label("withdrawn", "report", "W", Tone.BAD),
    },
    "severity": {
        "info": Label("info", "info", "I", Tone.QUIET),
        "warning": Label("warning", "warning", "W", Tone.WARN),
        "error": Label("error", "error", "E", Tone.BAD),
        "critical": Label("critical", "report", "C", Tone.BAD),
    },
    "outcome": {
        "done": Label("done", "check_circle", "D", Tone.GOOD),
        "requested": Label("requested", "schedule", "R", Tone.BUSY),
        "refused": Label("refused", "block", "X", Tone.WARN),
        "failed": Label("failed", "cancel", "F", Tone.BAD),
    },
    "key": {
        "valid": Label("valid", "check_circle", "V", Tone.GOOD),
        "expired": Label("expired", "event_busy", "E", Tone.WARN),
        "revoked": Label("revoked", "block", "R", Tone.QUIET),
    },
    "check": {
        "yes": Label("yes", "check_circle", "Y", Tone.GOOD),
        "no": Label("not yet", "radio_button_unchecked", "N", Tone.BAD),
        "unknown": Label("not known", "help", "U", Tone.QUIET),
    },
}


def label(kind: str, state: str) -> Label:
    """The label of a state; one that is not in the table is shown as it is, in grey."""
    return LABELS[kind].get(state) or Label(state, "help", "?", Tone.QUIET)


def worst(labels: list[Label]) -> Label | None:
    """The loudest of several, or None of none."""
    return max(labels, key=lambda each: each.tone.loudness, default=None)
