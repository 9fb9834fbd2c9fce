"""The control plane as gunicorn serves it, except that it dies on request: after the commit, before the answer."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from controlplane.wsgi import application as mortal


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    answer = mortal(environ, start_response)
    if environ.get("HTTP_X_DIE_BEFORE_ANSWERING"):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
