"""Every table of the control database, and what an erasure does to it. A table or a column that is not here blocks.

Of a table with `Blank` each column of text, JSON or bytes is named: among the values, or in CLOSED, where only words
of ours, ids and operators' references can be. What is empty stays empty; what is filled becomes the value.
"""

from collections.abc import Mapping
from typing import Final

from tenants.classification import Blank, Delete, NoPersonalData, Policy, Retain

ERASED: Final = "erased"
UNIQUE: Final = "erased-*"
"""A value for columns that must differ from row to row: `erased-` and 8 random hexadecimal digits."""

PUBLISHED = NoPersonalData("of the tenant application, the same for all tenants")
STAFF = NoPersonalData("which operator may do what")
EVIDENCE = NoPersonalData("the record of an erasure: ids and counts, and identifiers under a key that is destroyed")

HELD = NoPersonalData("records that a law keeps, sealed; erased with their key, by the store hold_archive")

CONTROL: Mapping[str, Policy] = {
    "audit_chain": NoPersonalData("hashes and a number"),
    "audit_checkpoint": NoPersonalData("hashes and numbers"),
    "audit_entry": NoPersonalData("words from closed lists, ids and numbers: see tenants/audit.py"),
    "audit_payload": NoPersonalData("sealed; erased by its key, by the store audit_payload"),
    "audit_sealed": NoPersonalData("ids of chains and numbers"),
    "auth_group": STAFF,
    "auth_group_permissions": STAFF,
    "auth_permission": STAFF,
    "auth_user": Retain(ground="accounts of the operators, who are nobody's tenants"),
    "auth_user_groups": STAFF,
    "auth_user_user_permissions": STAFF,
    "controlplane_apikey": Retain(ground="keys of the platform's own callers"),
    "django_admin_log": Blank(columns={"object_repr": ERASED, "change_message": ""}),
    "django_content_type": NoPersonalData("names of models"),
    "django_migrations": NoPersonalData("names of migrations"),
    "django_session": Retain(ground="operators' sign-ins, which end by themselves; nothing of a tenant is in them"),
    "ledger_mark": EVIDENCE,
    "provisioning_adopteddrift": Blank(columns={"lines": [], "reason": ERASED}),
    "provisioning_archivedrecords": HELD,
    "provisioning_clusterrelease": PUBLISHED,
    "provisioning_erasureact": EVIDENCE,
    "provisioning_erasureapproval": EVIDENCE,
    "provisioning_erasurecertificate": EVIDENCE,
    "provisioning_erasureplan": EVIDENCE,
    "provisioning_erasurerequest": EVIDENCE,
    "provisioning_erasurestore": EVIDENCE,
    "provisioning_evidencekey": NoPersonalData("keys of the platform"),
    "provisioning_holdarchive": HELD,
    "provisioning_idempotencykey": Delete(),
    "provisioning_knownstamp": PUBLISHED,
    "provisioning_legalhold": Blank(columns={"release_reason": ERASED}),
    "provisioning_person": Retain(ground="who answers for an erasure, by a reference that can be forgotten"),
    "provisioning_queuepulse": NoPersonalData("a queue and a time"),
    "provisioning_recheck": EVIDENCE,
    "provisioning_recordedmigration": PUBLISHED,
    "provisioning_recordhold": EVIDENCE,
    "provisioning_rehearsal": Blank(columns={"copies": [], "findings": [], "error": ERASED, "override": ERASED}),
    "provisioning_release": PUBLISHED,
    "provisioning_releasepath": PUBLISHED,
    "provisioning_resource": Blank(columns={"handle": {}, "findings": []}),
    "provisioning_rollout": Blank(
        columns={"selection": {}, "canary": [], "plan": {}, "pause_detail": ERASED, "reason": ERASED, "key": UNIQUE}
    ),
    "provisioning_rollouttarget": Blank(columns={"error": {"code": "ERASED"}, "cursor": {}, "reason": ERASED}),
    "provisioning_run": Blank(columns={"input": {}, "error": {"code": "ERASED"}, "reason": ERASED, "key": UNIQUE}),
    "provisioning_runevent": Blank(columns={"detail": ERASED}),
    "provisioning_runlimit": NoPersonalData("a cluster and a number"),
    "provisioning_runstep": Blank(columns={"cursor": {}, "note": ERASED, "output": {}, "reason": ERASED}),
    "provisioning_schedule": Blank(columns={"reason": ERASED, "note": ERASED}),
    "provisioning_secret": Delete(),
    "provisioning_signingkey": NoPersonalData("keys of the platform"),
    "tenants_cluster": NoPersonalData("a server of the platform"),
    "tenants_domain": Delete(),
    "tenants_event": Blank(columns={"data": {}}),
    "tenants_placement": NoPersonalData("names that are made of ids"),
    "tenants_plan": NoPersonalData("what the platform sells"),
    "tenants_pool": NoPersonalData("tables of the platform"),
    "tenants_tenant": Blank(columns={"slug": UNIQUE, "name": "", "principal": "", "external_ref": None, "labels": {}}),
}

CLOSED: Mapping[str, frozenset[str]] = {
    "django_admin_log": frozenset({"object_id"}),
    "provisioning_adopteddrift": frozenset({"release", "stamp", "actor"}),
    "provisioning_legalhold": frozenset({"ground", "placed_by", "released_by"}),
    "provisioning_rehearsal": frozenset(
        {"state", "plan_digest", "limits", "clusters", "estimate_s", "overridden_by", "started_by"}
    ),
    "provisioning_resource": frozenset({"kind", "state"}),
    "provisioning_rollout": frozenset(
        "waves max_failures window state pause_reason plan_digest proposed_by approved_by".split()
    ),
    "provisioning_rollouttarget": frozenset({"state"}),
    "provisioning_run": frozenset(
        "workflow queue lock_key limit_key fair_key state direction control step owner actor request_id".split()
    ),
    "provisioning_runevent": frozenset({"step", "direction", "owner", "kind", "actor"}),
    "provisioning_runstep": frozenset({"name", "direction", "state"}),
    "provisioning_schedule": frozenset({"verb", "delete_reason", "state", "actor"}),
    "tenants_event": frozenset({"type"}),
    "tenants_tenant": frozenset({"region", "state", "release", "delete_reason"}),
}
