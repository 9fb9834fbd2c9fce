"""One file per kind of thing a tenant owns outside of PostgreSQL. The table of all kinds is provisioning.workflows'."""

from provisioning.providers.bucket import Bucket
from provisioning.providers.cache import CacheNamespace
from provisioning.providers.credentials import StorageCredentials, StorageCredentialsProvider, vend
from provisioning.providers.domain import HostName
from provisioning.providers.keys import DataKeys, data_key

__all__ = [
    "Bucket",
    "CacheNamespace",
    "DataKeys",
    "HostName",
    "StorageCredentials",
    "StorageCredentialsProvider",
    "data_key",
    "vend",
]
