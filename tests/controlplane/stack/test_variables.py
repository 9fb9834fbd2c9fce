"""Every complaint about the environment names its variable and the cure, and shows no password."""

import base64
import re
from collections.abc import Mapping

import pytest
from django.core.exceptions import ImproperlyConfigured

from controlplane import env
from controlplane.stack.embedded import Stack
from controlplane.stack.errors import StackError
from controlplane.stack.ports import HOST, free_ports
from controlplane.stack.reach import check_servers
from controlplane.stack.variables import choose

DATABASE = "postgresql://somebody:hunter2@db.example/tenure"
ALL_DATABASES = dict.fromkeys(("DATABASE_URL", "KEYRING_URL", "DIRECTORY_URL", "CLUSTER_URL"), DATABASE)


def test_nothing_set_means_everything_embedded() -> None:
    assert choose({}).servers == {"postgres", "valkey", "object-store"}


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (ALL_DATABASES, {"valkey", "object-store"}),
        ({"BROKER_URL": "amqp://mq.example", "CACHE_URL": "redis://cache.example"}, {"postgres", "object-store"}),
        ({"BROKER_URL": "amqp://mq.example"}, {"postgres", "valkey", "object-store"}),  # its cache is still needed
        ({"S3_ENDPOINT_URL": "https://s3.example"}, {"postgres", "valkey"}),
        ({"S3_ENDPOINT_URL": ""}, {"postgres", "valkey"}),  # AWS
    ],
)
def test_a_part_that_a_url_names_is_not_started(given: Mapping[str, str], left: set[str]) -> None:
    assert choose(given).servers == left


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"DATABASE_URL": DATABASE}, "KEYRING_URL and DIRECTORY_URL and CLUSTER_URL must be set too"),
        ({**ALL_DATABASES, "KEYRING_URL": ""}, "KEYRING_URL must be set too"),
        ({**ALL_DATABASES, "DIRECTORY_URL": "mysql://somebody:hunter2@db.example/x"}, "DIRECTORY_URL is not a URL"),
        ({**ALL_DATABASES, "KEYRING_URL": "postgresql://u:hunter2@db.example:port/x"}, "KEYRING_URL is not a URL"),
        ({"BROKER_URL": "localhost:6379"}, "BROKER_URL is not a URL"),
        ({"CACHE_URL": "amqp://mq.example"}, "CACHE_URL is not a URL"),
        ({"S3_ENDPOINT_URL": "s3.example"}, "S3_ENDPOINT_URL is not a URL"),
        ({"TENURE_PORT": "http"}, "TENURE_PORT is 'http'"),
        ({"TENURE_PORT": "80"}, "TENURE_PORT is '80'"),
    ],
)
def test_a_wrong_variable_is_named(given: Mapping[str, str], named: str) -> None:
    with pytest.raises(StackError, match=re.escape(named)) as caught:
        choose(given)
    assert "hunter2" not in str(caught.value)


NOBODY = f"{HOST}:{free_ports().base}"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", f"postgresql://somebody:hunter2@{NOBODY}/tenure"),
        ("KEYRING_URL", f"postgresql://somebody:hunter2@{NOBODY}/tenure"),
        ("BROKER_URL", f"redis://:hunter2@{NOBODY}/0"),
        ("BROKER_URL", f"amqp://somebody:hunter2@{NOBODY}//"),
        ("CACHE_URL", f"redis://:hunter2@{NOBODY}/1"),
        ("S3_ENDPOINT_URL", f"http://{NOBODY}"),
    ],
)
def test_a_server_that_does_not_answer_is_named_by_its_variable(stack: Stack, name: str, url: str) -> None:
    given = {**stack.environment, name: url}
    choice = choose(given)
    with pytest.raises(StackError, match=name) as caught:
        check_servers(choice, choice.environment(stack.credentials))
    assert "hunter2" not in str(caught.value)


def test_keys_that_the_object_store_refuses_are_named(stack: Stack) -> None:
    choice = choose({**stack.environment, "AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(StackError, match="AWS_SECRET_ACCESS_KEY"):
        check_servers(choice, choice.environment(stack.credentials))


def test_servers_that_answer_pass(stack: Stack) -> None:
    choice = choose(stack.environment)
    assert choice.servers == frozenset()
    check_servers(choice, choice.environment(stack.credentials))


def test_keys_of_another_store_are_not_sent_to_the_embedded_one(stack: Stack) -> None:
    given = {"AWS_ACCESS_KEY_ID": "AKIAMINE", "AWS_SESSION_TOKEN": "mine", "AWS_PROFILE": "mine"}
    environment = choose(given).environment(stack.credentials)
    assert environment["AWS_ACCESS_KEY_ID"] == stack.credentials.access_key_id
    assert not {"AWS_SESSION_TOKEN", "AWS_PROFILE"} & set(environment)


def test_an_empty_variable_is_one_that_is_not_set(stack: Stack) -> None:
    choice = choose({"DATABASE_URL": "", "CACHE_URL": ""})
    assert choice.servers == {"postgres", "valkey", "object-store"}
    environment = choice.environment(stack.credentials)
    assert environment["DATABASE_URL"].startswith("postgresql://tenure_control:")
    assert environment["CACHE_URL"].startswith("redis://")


def test_aws_is_asked_for_with_an_empty_endpoint(stack: Stack) -> None:
    environment = choose({"S3_ENDPOINT_URL": "", "AWS_PROFILE": "mine"}).environment(stack.credentials)
    assert not environment.get("S3_ENDPOINT_URL")
    assert environment["AWS_PROFILE"] == "mine"
    assert "AWS_SECRET_ACCESS_KEY" not in environment


@pytest.mark.parametrize(
    ("given", "application"),
    [
        ({}, "examples.site.wsgi:application"),
        ({"TENANT_APPS": "django.contrib.contenttypes,shop.orders"}, ""),
        ({"TENANT_SQL": "examples/orders"}, ""),
        ({"TENANT_APPS": "shop.orders", "APPLICATION_WSGI": "shop.wsgi:application"}, "shop.wsgi:application"),
    ],
)
def test_tenants_are_served_by_the_application_that_is_theirs(given: Mapping[str, str], application: str) -> None:
    assert choose(given).application == application


def test_a_secret_that_is_another_secrets_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = base64.b64encode(bytes(range(32))).decode()
    monkeypatch.setenv("TENURE_CONTEXT_SECRET", secret)
    monkeypatch.setenv("TENURE_MASTER_KEY", secret)
    with pytest.raises(ImproperlyConfigured, match="TENURE_CONTEXT_SECRET is the same as TENURE_MASTER_KEY"):
        env.key("TENURE_CONTEXT_SECRET", unlike=("TENURE_MASTER_KEY", "SECRET_KEY"))
    monkeypatch.delenv("TENURE_MASTER_KEY")
    assert env.key("TENURE_CONTEXT_SECRET", unlike=("TENURE_MASTER_KEY", "SECRET_KEY")) == bytes(range(32))
