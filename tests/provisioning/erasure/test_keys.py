from typing import Any

import pytest
from django.conf import settings as project

from provisioning.erasure import controls
from provisioning.erasure.erasers.keys import KeysDisabler, KeysEraser
from provisioning.erasure.verifiers.keys import KeysVerifier
from provisioning.models import DataKey
from provisioning.providers.keys import KeyDestroyed, KeyDisabled, data_key, data_keys, enable, rotate
from tests.pair import Pair
from tests.provisioning.erasure.counting import Killed, erased, scope_of, total, verdict

ERASER, VERIFIER = KeysEraser(), KeysVerifier()
HANDLE = {"purpose": "tenant"}


def test_keys_are_disabled_and_then_destroyed_and_globexs_open_on(changing_pair: Pair, settings: Any) -> None:
    acme, globex = changing_pair.acme, changing_pair.globex
    scope = scope_of(acme)
    data_keys(acme)  # makes the one for indexes
    rotate(acme)
    controls.plant(acme.tenant_id)
    before = data_key(globex, HANDLE)

    assert erased(KeysDisabler(), scope) == 0  # they are there still
    with pytest.raises(KeyDisabled):
        data_key(acme, HANDLE)
    assert verdict(VERIFIER, scope).reasons == ("keys:data_key still holds 3",)
    assert enable(acme.tenant_id) == 3  # a blunder, undone: the one that rotation replaced is retired again
    assert sorted(DataKey.objects.filter(owner_ref=acme.tenant_id).values_list("state", flat=True)) == [
        "active",
        "active",
        "retired",
    ]

    with pytest.raises(Killed):
        erased(ERASER, scope, dies_at=1)
    assert erased(ERASER, scope) == 3
    assert erased(ERASER, scope) == 0
    with pytest.raises(KeyDestroyed):
        data_key(acme, HANDLE)
    found = verdict(VERIFIER, scope)
    assert (found.status, found.reasons) == ("clean", ())
    assert data_key(globex, HANDLE) == before

    DataKey.objects.create(owner_ref=acme.tenant_id, purpose="tenant.copy", wrapped=b"from a backup")
    assert (VERIFIER.coverage(scope).unclassified, total(VERIFIER, scope)) == (("keys:tenant.copy",), 1)
    settings.KEYRING_VERIFIER_URL = _runtime_url()
    assert not VERIFIER.control(scope).ok


def _runtime_url() -> str:
    entry = project.DATABASES["keyring"]
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**entry)
