"""`loyalty secrets`: the passwords and keys of a deployment, made once, each in a file for one reader.

What stands in them is read through LOYALTY_…_FILE; docker-compose.yml gives each container only its own.
"""

import base64
import os
import secrets
from pathlib import Path

from cyclopts import App

from loyalty.cli.frame import say

app = App(name="secrets", help="Make the passwords and keys of a deployment, once.")


@app.command
def make(directory: Path, *, postgres: str = "postgres:5432", valkey: str = "valkey:6379") -> None:
    """Write the secrets of a deployment below DIRECTORY unless they are there; nothing is ever replaced.

    Parameters
    ----------
    directory
        Gets admin/ (superuser and owner, for migrations), app/ (the running program) and valkey/.
    postgres
        Host and port of PostgreSQL.
    valkey
        Host and port of Valkey.
    """
    superuser, owner, application, cache = (secrets.token_urlsafe(32) for _ in range(4))
    files = {
        "admin/superuser_password": superuser,
        "admin/superuser_database_url": f"postgresql://postgres:{superuser}@{postgres}/postgres",
        "admin/owner_database_url": f"postgresql://loyalty_owner:{owner}@{postgres}/loyalty",
        "app/database_url": f"postgresql://loyalty_app:{application}@{postgres}/loyalty",
        "app/redis_url": f"redis://:{cache}@{valkey}/0",
        "app/secret_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        "valkey/valkey.conf": f'requirepass {cache}\nsave ""\nappendonly no',
    }
    # The passwords belong together: where this file stands, all the others do.
    done = directory / "app" / "complete"
    if done.exists():
        say(f"The secrets in {directory} are there already; nothing was changed.")
        return
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # Containers read with other users than the one that writes; the directory keeps strangers out.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "w") as file:
            file.write(text + "\n")
    done.touch()
    say(f"The secrets were written to {directory}.")
