"""Celery: a bell, nothing more. A message holds the name of a queue; the work, its order and its state are rows.

# Note [Messages are disposable]
Late acknowledgement, redelivery, visibility timeouts, ETAs, chains and results keep state in the broker, and each of
them has lost or doubled work somewhere. Here a lost message costs one sweep, and a doubled one finds nothing to do, so
none of them is used. What would change it: nothing that a broker can offer.
"""

import os

from celery import Celery
from django.conf import settings
from kombu import Queue

from controlplane.hearing import Hearing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

QUEUES = ("operations", "fleet")  # provisioning.models.Queue, which cannot be imported before Django is set up

app = Celery("tenure")
app.conf.update(
    broker_url=settings.BROKER_URL,
    # The message is disposable and the state is ours.
    task_acks_late=False,
    task_ignore_result=True,
    result_backend=None,
    # Busy children must not hoard wake-ups.
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=settings.BROKER_URL.startswith("redis"),
    # A worker that loses its lease kills itself: one child only. Leaks are bounded.
    worker_pool="prefork",
    worker_max_tasks_per_child=200,
    worker_max_memory_per_child=400_000,  # kB
    task_time_limit=4_500,  # s; a backstop above the longest Step.timeout, which the lease enforces
    # A request must not hang on a dead broker.
    task_publish_retry=False,
    broker_connection_timeout=2,
    broker_pool_acquire_timeout=2,
    broker_transport_options=(
        {
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.2,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "health_check_interval": 10,
        }
        if settings.BROKER_URL.startswith("redis")
        else {"confirm_publish": True}
    ),
    # Start without a broker, and never give up on it.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A mistyped queue must fail, not swallow wake-ups.
    task_create_missing_queues=False,
    task_queues=[Queue(f"tenure.{queue}") for queue in QUEUES],
    task_default_queue=f"tenure.{QUEUES[0]}",
    task_serializer="json",
    accept_content=["json"],
    # Fewer reconnect stalls; whether anybody works is QueuePulse.
    worker_enable_remote_control=False,
    worker_soft_shutdown_timeout=30,  # s; the step ends and the run is given back
    worker_hijack_root_logger=False,
    # Celery would close every connection around every task; `advance` keeps to CONN_MAX_AGE instead.
    CELERY_DB_REUSE_MAX=1_000_000,
)

app.steps["worker"].add(Hearing)


@app.task(name="tenure.advance")
def advance(queue: str) -> None:
    """Drive what is runnable in a queue.

    A session with the control database is kept for the next task: to open one, and to plan the first claim on it, takes
    longer than most steps. None is kept with a tenant's, where it would be in the way of whoever drops it.
    """
    from django.db import close_old_connections, connections

    from provisioning import lifecycle
    from provisioning.models import Queue
    from tenants.isolation.connections import is_tenants

    close_old_connections()
    try:
        lifecycle.advance(queue=Queue(queue))
    finally:
        for connection in connections.all(initialized_only=True):
            if is_tenants(connection.alias):
                connection.close()
