"""The certificate of an erasure: its exact text, its signature, and its verification by whoever holds the public key.

This file needs nothing of Tenure: Python and `cryptography`, no Django, network or database. Copy it elsewhere, or:

    python -m provisioning.erasure.certificate CERTIFICATE PUBLIC_KEY [STATUS_LIST]

Exit status 0: valid; 1: refused, and why; 2: not called as above.

# Note [One text, one meaning]
What is signed is canonical JSON: sorted keys, no spaces, ASCII, whole numbers. A file in any other form is refused even
where it means the same, so that no two readers of one file can see two documents (a key twice, 1.0 for 1), and no byte
can be changed without a refusal. Spaces at the end are allowed: editors put them there.
"""

import base64
import binascii
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

TYPE, STATUS_TYPE = "tenure.erasure-certificate", "tenure.certificate-status"
CERTIFICATE, STATUS = b"tenure/certificate/1\n", b"tenure/certificate-status/1\n"
PEM_END = b"-----END PUBLIC KEY-----"
KEY_ID_DIGITS = 16
LONGEST = 4_000_000  # bytes; a certificate of ten thousand stores is shorter
COUNTS = ("planned", "deleted", "absent", "retained", "remaining")
USAGE = "usage: python -m provisioning.erasure.certificate CERTIFICATE PUBLIC_KEY [STATUS_LIST]"


class Refused(Exception):
    """The paper is not valid. `code` is stable: FORM, KEY, SIGNATURE, RULES or REGRESSED."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Valid:
    """What a valid certificate says, and what whoever relies on it should know beside."""

    document: Mapping[str, Any]
    notes: tuple[str, ...]


def canonical(document: Mapping[str, Any]) -> bytes:
    """Raises Refused(FORM) for what has more than one form: a fraction, a key that is no text."""
    _plain(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def key_id(public: Ed25519PublicKey) -> str:
    """The first digits of the SHA-256 of the key's 32 bytes: whoever has the key can tell its papers."""
    return sha256(public.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


def sign(document: Mapping[str, Any], private: Ed25519PrivateKey) -> bytes:
    """The signed certificate. Raises Refused(RULES) for one that no verifier would take."""
    unsigned = {**document, "type": TYPE, "v": 1}
    _ruled(unsigned)
    return _signed(unsigned, CERTIFICATE, private)


def sign_status(certificates: Mapping[str, str], *, issued_at: str, private: Ed25519PrivateKey) -> bytes:
    """The signed list of certificates that are not valid any more: by id, `superseded` or `regressed`."""
    document = {"type": STATUS_TYPE, "v": 1, "issued_at": issued_at, "certificates": dict(certificates)}
    return _signed(document, STATUS, private)


def verify(signed: bytes, public_key: bytes, status: bytes | None = None) -> Valid:
    """Take or refuse a certificate. `public_key`: one or more public keys as PEM; `status`: a status list.

    Raises Refused.
    """
    keys = public_keys(public_key)
    document = _read(signed, CERTIFICATE, TYPE, keys)
    notes = _ruled(document)
    if status is None:
        return Valid(document, (*notes, "status not checked: no status list was given"))
    listed = _read(status, STATUS, STATUS_TYPE, keys)
    state = listed["certificates"].get(document["id"])
    if state == "superseded":
        return Valid(document, (*notes, f"superseded as of {listed['issued_at']}: ask for the newer one"))
    if state is not None:
        raise Refused("REGRESSED", f"it is {state}, says the status list of {listed['issued_at']}")
    return Valid(document, (*notes, f"not withdrawn as of {listed['issued_at']}"))


def broken_rules(document: Mapping[str, Any]) -> Iterable[str]:
    """Every rule of a certificate that this one breaks, in words."""
    if document["stage"] not in {"live", "final"}:
        yield f"there is no stage {document['stage']!r}"
    stores = document["stores"]
    if not stores:
        yield "it names no store"
    if len({store["store"] for store in stores}) != len(stores):
        yield "it names a store twice"
    for store in stores:
        yield from _broken_in(store)
    retained = sum(item["n"] for item in document["retained"])
    if retained != sum(store["retained"] for store in stores):
        yield "what is retained is not what the stores retain"
    if any(not item["ground"] for item in document["retained"]):
        yield "something is retained without a ground"
    yield from _broken_around(document)
    if document["stage"] == "final":
        yield from _broken_in_final(document)


def _ruled(document: Mapping[str, Any]) -> list[str]:
    """The notes on a document that keeps every rule. One function for who signs and who verifies."""
    try:
        broken, notes = list(broken_rules(document)), list(_notes(document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused("RULES", f"it does not say what a certificate says: {error!r}") from error
    if broken:
        raise Refused("RULES", "; ".join(broken))
    return notes


def _broken_in(store: Mapping[str, Any]) -> Iterable[str]:
    name = store["store"]
    if any(isinstance(store[count], bool) or not isinstance(store[count], int) or store[count] < 0 for count in COUNTS):
        yield f"{name}: a count is no whole number"
        return
    if store["planned"] != store["deleted"] + store["absent"] + store["retained"]:
        yield f"{name}: planned is not deleted + absent + retained"
    if store["remaining"] != store["retained"]:
        yield f"{name}: {store['remaining']} remain and {store['retained']} are retained"
    if store["verdict"] != "clean":
        yield f"{name}: its verdict is {store['verdict']}"


def _broken_around(document: Mapping[str, Any]) -> Iterable[str]:
    if document["needles"]["hits"] != 0:
        yield f"{document['needles']['hits']} identifiers were found"
    collateral = document["collateral"]
    if collateral["control_tenant_equal"] is not True or collateral["others_present"] is not True:
        yield "a neighbour changed"
    if collateral.get("neighbours_changed", 0) != 0:  # older ones did not compare
        yield f"rows of {collateral['neighbours_changed']} neighbours changed, for whom nobody worked"
    if collateral["excess_deletes"] != 0:
        yield f"{collateral['excess_deletes']} more were deleted than planned"
    if document["fence"]["late_writes"] != 0:
        yield f"{document['fence']['late_writes']} rows were written behind the fence"
    if document["audit"]["verdict"] != "clean":
        yield f"the audit log is {document['audit']['verdict']}"
    clock = document["clock"]
    if _time(clock["received_at"]) > _time(document["issued_at"]):
        yield "it was issued before it was asked for"
    if not document["plan"]["proposed_by"] or document["plan"]["proposed_by"] == document["plan"]["approved_by"]:
        yield "one person proposed and approved it"


def _broken_in_final(document: Mapping[str, Any]) -> Iterable[str]:
    if not document["supersedes"]:
        yield "a final certificate supersedes a live one, and this names none"
    for residue in document["residue"]:
        if residue["until"] is None or _time(residue["until"]) > _time(document["issued_at"]):
            yield f"{residue['what']} outlasts a final certificate"


def _notes(document: Mapping[str, Any]) -> Iterable[str]:
    due, issued = _time(document["clock"]["due_at"]), _time(document["issued_at"])
    if document["stage"] == "live":
        if issued > due:
            yield f"LATE: it was due at {document['clock']['due_at']}"
        if document["residue"]:
            yield f"live: {len(document['residue'])} kinds of copies run out later, see `residue`"
    if document["retained"]:
        yield f"{sum(item['n'] for item in document['retained'])} items are retained, see `retained`"
    if document["not_covered"]:
        yield f"{len(document['not_covered'])} things are not covered, see `not_covered`"


def public_keys(pem: bytes) -> dict[str, Ed25519PublicKey]:
    """Those of a PEM file, by key id. Raises Refused(KEY)."""
    found = {}
    for part in pem.split(PEM_END)[:-1]:
        try:
            key = load_pem_public_key(part[part.find(b"-----BEGIN") :] + PEM_END + b"\n")
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Refused("KEY", "the public key cannot be read") from error
        if not isinstance(key, Ed25519PublicKey):
            raise Refused("KEY", "the public key is not of Ed25519")
        found[key_id(key)] = key
    if not found:
        raise Refused("KEY", "there is no public key in the file")
    return found


def _signed(document: Mapping[str, Any], prefix: bytes, private: Ed25519PrivateKey) -> bytes:
    value = base64.b64encode(private.sign(prefix + canonical(document))).decode()
    signature = {"alg": "Ed25519", "key_id": key_id(private.public_key()), "value": value}
    return canonical({**document, "signature": signature})


def _read(signed: bytes, prefix: bytes, kind: str, keys: Mapping[str, Ed25519PublicKey]) -> dict[str, Any]:
    """The document inside, without its signature, if that is good. See Note [One text, one meaning]."""
    signed = signed.rstrip()
    try:
        document = json.loads(signed) if len(signed) <= LONGEST else None
        if not isinstance(document, dict) or canonical(document) != signed:
            raise Refused("FORM", "it is not in the one form that is signed")
    except (ValueError, RecursionError) as error:
        raise Refused("FORM", "it is no JSON") from error
    signature = document.pop("signature", None)
    if not isinstance(signature, dict) or set(signature) != {"alg", "key_id", "value"} or signature["alg"] != "Ed25519":
        raise Refused("SIGNATURE", "it has no signature of Ed25519")
    if (key := keys.get(str(signature["key_id"]))) is None:
        raise Refused("KEY", f"it is signed with the key {signature['key_id']}, which was not given")
    try:
        value = base64.b64decode(str(signature["value"]), validate=True)
        if base64.b64encode(value).decode() != signature["value"]:  # the last digit has bits that say nothing
            raise Refused("SIGNATURE", "its signature is not in the one form")
        key.verify(value, prefix + canonical(document))
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise Refused("SIGNATURE", "its signature is not good: it was changed") from error
    if document.get("type") != kind or document.get("v") != 1:
        raise Refused("FORM", f"it is no {kind} of version 1")
    return document


def _plain(value: Any) -> None:
    match value:
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise Refused("FORM", "a key is no text")
            for inner in value.values():
                _plain(inner)
        case list() | tuple():
            for inner in value:
                _plain(inner)
        case None | bool() | int() | str():
            pass
        case _:
            raise Refused("FORM", f"{type(value).__name__} has more than one form")


def _time(text: str) -> datetime:
    """With its zone, or it is no moment."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return found


def main(arguments: list[str]) -> int:
    """Print what the certificate says and whether it is valid. Returns the exit status."""
    if len(arguments) not in {2, 3}:
        sys.stderr.write(USAGE + "\n")
        return 2
    try:
        certificate, key, *status = (Path(name).read_bytes() for name in arguments)
        valid = verify(certificate, key, *status)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except Refused as error:
        sys.stdout.write(f"REFUSED ({error.code}): {error}\n")
        return 1
    document = valid.document
    lines = [f"VALID: {document['stage']} certificate {document['id']} of request {document['request']}"]
    lines += [
        f"  {store['store']}: {store['planned']} planned, {store['deleted']} deleted, {store['absent']} gone before,"
        f" {store['retained']} retained; {store['verdict']}"
        for store in document["stores"]
    ]
    lines += [f"  {note}" for note in valid.notes]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
