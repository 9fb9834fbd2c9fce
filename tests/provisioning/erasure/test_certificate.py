"""A certificate is one text with one meaning: whatever is changed in it, or was never true, is refused."""

import json
import string
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provisioning.erasure import certificate
from provisioning.erasure.certificate import Refused, canonical, sign, sign_status, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ISSUED = "2026-11-21T09:30:00+00:00"
LIVE: dict[str, Any] = {
    "id": "b3f0a9d2-0000-4000-8000-000000000001",
    "stage": "live",
    "supersedes": None,
    "issued_at": ISSUED,
    "request": "7c51a9d2-0000-4000-8000-000000000002",
    "scope": {"kind": "tenant", "ref": "5e0c", "incarnation": "0d9a"},
    "basis": "contract_end",
    "clock": {
        "policy": "contract",
        "received_at": "2026-11-02T10:00:00+00:00",
        "due_at": "2026-12-02T23:00:00+00:00",
        "extended": False,
    },
    "plan": {"digest": "sha256:91ab", "proposed_by": "4e", "approved_by": "c0", "approved_at": ISSUED},
    "fence": {"closed_at": ISSUED, "writes_refused": 1, "late_writes": 0, "soak_seconds": 900},
    "stores": [
        {
            "store": store,
            "planned": planned,
            "deleted": planned - retained - 1,
            "absent": 1,
            "retained": retained,
            "remaining": retained,
            "verdict": "clean",
            "vantage": "tenure_verifier",
            "control": "control tenant seen",
            "covered": 52,
            "waived": 0,
            "evidence": "5d",
        }
        for store, planned, retained in (("pool_rows", 48_211, 0), ("control_rows", 96, 1))
    ],
    "needles": {"searched": 7, "places": 118, "hits": 0},
    "collateral": {"control_tenant_equal": True, "others_present": True, "excess_deletes": 0},
    "retained": [{"locator": "control:invoice", "n": 1, "ground": "tax law", "until": "2036-12-31"}],
    "keys": {"disabled_at": ISSUED, "destroyed_at": ISSUED, "irrecoverable_at": ISSUED},
    "residue": [
        {"what": "base backups of cluster eu-1 (declared)", "why": "kept 30 days", "until": "2026-12-21T00:00:00+00:00"}
    ],
    "not_covered": [{"what": "CDN copies", "reason": "waiver W-12"}],
    "recipients": [],
    "tombstone": {"seq": 42, "hash": "sha256:e1"},
    "audit": {"chain": "9a77", "size": 1804, "head": "77", "checkpoint": 5120, "verdict": "clean"},
    "status_url": "https://control.example/status",
}


def pem(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def changed(path: str, value: Any, document: dict[str, Any] = LIVE) -> dict[str, Any]:
    made = deepcopy(document)
    *way, last = path.split(".")
    place: Any = made
    for name in way:
        place = place[int(name)] if name.isdigit() else place[name]
    place[last] = value
    return made


def final() -> dict[str, Any]:
    made = changed("stage", "final")
    made["supersedes"] = LIVE["id"]
    made["issued_at"] = "2026-12-22T00:00:00+00:00"
    return made


def test_a_good_one_is_valid_and_says_what_to_know_beside() -> None:
    valid = verify(sign(LIVE, KEY) + b"\n", pem(KEY))
    assert valid.document["stores"][0]["planned"] == 48_211
    assert valid.notes == (
        "live: 1 kinds of copies run out later, see `residue`",
        "1 items are retained, see `retained`",
        "1 things are not covered, see `not_covered`",
        "status not checked: no status list was given",
    )
    late = sign(changed("issued_at", "2026-12-03T00:00:00+00:00"), KEY)
    assert verify(late, pem(KEY)).notes[0].startswith("LATE")
    assert verify(sign(final(), KEY), pem(KEY)).document["stage"] == "final"


def test_no_byte_of_it_can_be_changed() -> None:
    signed, key = sign(LIVE, KEY), pem(KEY)
    flips = [(place, signed[place] ^ 1) for place in range(len(signed))]
    last_digit = signed.index(b'=="')  # of 64 bytes in base64: four of its bits say nothing
    flips += [(last_digit - 1, digit) for digit in set(string.ascii_letters.encode()) - {signed[last_digit - 1]}]
    for place, value in flips:
        forged = bytearray(signed)
        forged[place] = value
        with pytest.raises(Refused):
            verify(bytes(forged), key)


OTHER_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "spaces": lambda signed: json.dumps(json.loads(signed), sort_keys=True).encode(),
    "another order": lambda signed: json.dumps(
        dict(reversed(json.loads(signed).items())), separators=(",", ":")
    ).encode(),
    "a key twice": lambda signed: signed.replace(b'{"audit":', b'{"audit":{},"audit":', 1),
    "a fraction": lambda signed: signed.replace(b'"soak_seconds":900', b'"soak_seconds":900.0'),
    "no object": lambda _signed: b"[]",
    "no JSON": lambda _signed: b"certainly",
    "cut": lambda signed: signed[:-1],
}


@pytest.mark.parametrize("form", OTHER_FORMS.values(), ids=OTHER_FORMS.keys())
def test_the_same_meaning_in_another_form_is_refused(form: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Refused) as refused:
        verify(form(sign(LIVE, KEY)), pem(KEY))
    assert refused.value.code == "FORM"


UNTRUE: dict[str, dict[str, Any]] = {
    "a sum that does not add up": changed("stores.0.deleted", 48_000),
    "more remains than is retained": changed("stores.0.remaining", 1),
    "a dirty store": changed("stores.1.verdict", "dirty"),
    "an unknown store": changed("stores.1.verdict", "unknown"),
    "no store": changed("stores", []),
    "a store twice": changed("stores.1.store", "pool_rows"),
    "a count below nothing": changed("stores.0.absent", -1),
    "retained without a line": changed("retained", []),
    "retained without a ground": changed("retained.0.ground", ""),
    "a needle": changed("needles.hits", 1),
    "a neighbour that changed": changed("collateral.control_tenant_equal", False),
    "a shut neighbour's rows that changed": changed("collateral.neighbours_changed", 1),
    "too many deleted": changed("collateral.excess_deletes", 3),
    "a late writer": changed("fence.late_writes", 2),
    "a tampered audit log": changed("audit.verdict", "dirty"),
    "issued before it was asked for": changed("clock.received_at", "2027-01-01T00:00:00+00:00"),
    "one person for both": changed("plan.approved_by", "4e"),
    "a stage nobody knows": changed("stage", "nearly"),
    "final over nothing": {**final(), "supersedes": None},
    "final before the last copy ran out": {**final(), "issued_at": ISSUED},
    "final with a copy that never runs out": changed("residue.0.until", None, final()),
}


@pytest.mark.parametrize("document", UNTRUE.values(), ids=UNTRUE.keys())
def test_what_is_not_proved_is_neither_signed_nor_believed(document: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        sign(document, KEY)
    assert refused.value.code == "RULES"
    forced = certificate._signed({**document, "type": certificate.TYPE, "v": 1}, certificate.CERTIFICATE, KEY)
    with pytest.raises(Refused) as refused:
        verify(forced, pem(KEY))
    assert refused.value.code == "RULES"


def test_a_signature_of_anybody_else_or_for_anything_else_is_none() -> None:
    other = Ed25519PrivateKey.generate()
    signed, status = sign(LIVE, KEY), sign_status({}, issued_at=ISSUED, private=KEY)
    for paper, key, code in (
        (signed, pem(other), "KEY"),
        (signed, b"no key", "KEY"),
        (status, pem(KEY), "SIGNATURE"),  # signed by us, as another kind of paper
        (signed.replace(b'"alg":"Ed25519"', b'"alg":"none"'), pem(KEY), "SIGNATURE"),
    ):
        with pytest.raises(Refused) as refused:
            verify(paper, key)
        assert refused.value.code == code
    assert verify(signed, pem(other) + pem(KEY)).document["id"] == LIVE["id"]  # a file of several keys


def test_the_status_list_withdraws() -> None:
    signed = sign(LIVE, KEY)
    lists = {
        state: sign_status({LIVE["id"]: state}, issued_at=ISSUED, private=KEY) for state in ("regressed", "superseded")
    }
    with pytest.raises(Refused) as refused:
        verify(signed, pem(KEY), lists["regressed"])
    assert refused.value.code == "REGRESSED"
    assert "superseded" in verify(signed, pem(KEY), lists["superseded"]).notes[-1]
    assert (
        verify(signed, pem(KEY), sign_status({}, issued_at=ISSUED, private=KEY)).notes[-1].startswith("not withdrawn")
    )
    with pytest.raises(Refused):
        verify(signed, pem(KEY), lists["superseded"].replace(b"superseded", b"supersedes"))


def test_anybody_can_verify_one_with_python_and_cryptography_alone(tmp_path: Path) -> None:
    """A copy of the one file, far from Tenure, in a process where importing anything of Django's fails."""
    paper, key, status = tmp_path / "certificate.json", tmp_path / "key.pem", tmp_path / "status.json"
    copied = tmp_path / "certificate.py"
    copied.write_bytes(Path(certificate.__file__).read_bytes())
    paper.write_bytes(sign(LIVE, KEY))
    key.write_bytes(pem(KEY))
    status.write_bytes(sign_status({}, issued_at=datetime.now(UTC).isoformat(), private=KEY))
    code = (
        "import sys, runpy\n"
        "for name in ('django', 'tenants', 'provisioning', 'psycopg', 'boto3'): sys.modules[name] = None\n"
        f"sys.argv = [{str(copied)!r}, *sys.argv[1:]]\n"
        f"runpy.run_path({str(copied)!r}, run_name='__main__')\n"
    )

    def run(*arguments: Path) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, env={}
        )
        return done.returncode, done.stdout + done.stderr

    valid = run(paper, key, status)
    assert valid[0] == 0
    assert valid[1].startswith(f"VALID: live certificate {LIVE['id']}")
    assert "not withdrawn as of" in valid[1]
    paper.write_bytes(paper.read_bytes().replace(b'"hits":0', b'"hits":7'))
    assert run(paper, key) == (1, "REFUSED (SIGNATURE): its signature is not good: it was changed\n")
    assert run(paper)[0] == 2
    assert run(paper, tmp_path / "nowhere")[0] == 2


def test_what_is_signed_has_one_form() -> None:
    assert canonical({"b": [1, None, True], "a": "é"}) == b'{"a":"\\u00e9","b":[1,null,true]}'
    for value in (1.5, float("nan"), {1: 2}, b"x", datetime.now(UTC)):
        with pytest.raises(Refused):
            canonical({"a": value})
