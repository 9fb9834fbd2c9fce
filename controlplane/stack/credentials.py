"""Random passwords and keys of one data folder, made once and kept in one file that only its owner can read."""

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from controlplane.stack.errors import StackError
from controlplane.stack.files import write_private

FILE_NAME = "credentials.json"


def _token() -> str:
    return secrets.token_urlsafe(32)


def _long_token() -> str:
    return secrets.token_urlsafe(48)  # Django wants 50 characters or more


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _access_key_id() -> str:
    return f"TENURE{secrets.token_hex(7).upper()}"  # 20 characters, like AWS's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    postgres: str = field(default_factory=_token, repr=False)
    tenure_owner_control: str = field(default_factory=_token, repr=False)
    tenure_control: str = field(default_factory=_token, repr=False)
    tenure_directory: str = field(default_factory=_token, repr=False)
    tenure_control_verifier: str = field(default_factory=_token, repr=False)
    tenure_provisioner: str = field(default_factory=_token, repr=False)
    access_key_id: str = field(default_factory=_access_key_id)
    secret_access_key: str = field(default_factory=_token, repr=False)
    weed_signing_key: str = field(default_factory=_token, repr=False)
    secret_key: str = field(default_factory=_long_token, repr=False)
    application_secret_key: str = field(default_factory=_long_token, repr=False)
    master_key: str = field(default_factory=_key, repr=False)
    context_secret: str = field(default_factory=_key, repr=False)


def load_or_make(folder: Path) -> Credentials:
    """The folder's credentials; what a newer version needs beyond the file's content is added to it.

    Raises StackError if the file is damaged: new passwords would lock us out of the data beside it.
    """
    path = folder / FILE_NAME
    known: dict[str, str] = {}
    if path.exists():
        try:
            known = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise StackError(
                f"{path} is damaged. Restore it, or remove {folder} to start over without data."
            ) from error
    names = {each.name for each in fields(Credentials)}
    credentials = Credentials(**{name: value for name, value in known.items() if name in names})
    if asdict(credentials) != known:
        write_private(path, json.dumps(asdict(credentials), indent=2))
    return credentials
