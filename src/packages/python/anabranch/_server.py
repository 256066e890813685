"""The program ``anabranch serve`` as a child of this process."""

from __future__ import annotations

import json
import os
import secrets
import string
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import IO, Any, Union

from ._program import find_program

# Signatures are not verified, so any key will do; but clients want to have one.
_ANY_KEY = "any"

_Texts = Union[str, Iterable[str]]

# Of this process.
_servers: weakref.WeakSet[Server] = weakref.WeakSet()


class ServerError(RuntimeError):
    """The server did not start, ended by itself, or did not end in order."""

    def __init__(self, what: str, log: str) -> None:
        super().__init__(f"{what}; it said:\n{log}" if log else f"{what}, and said nothing")
        #: What the program wrote to its standard error.
        self.log = log


class Server:
    """A server of its own, on a free port of this machine, from here to :meth:`stop` or to the end of a ``with`` block.

    It ends with this process too, however that ends.

    :param streams: streams that are there at once: ``"clicks"`` with 4 shards, or ``"clicks:2"`` with two.
    :param faults: calls that fail, such as ``"PutRecords:throttle:25%"`` or ``"*:slow=200ms:3"``.
    :param fault_seed: which calls the faults strike follows from this number and the order of the calls.
    :param emulate: limits of AWS: ``"aws"`` for all of them, or some of ``"delays"``, ``"throughput"``,
        ``"call-rates"``, ``"changes"``.
    :param data_dir: the directory of the streams. Without it they are in memory, and are gone with the server.
    :param region: the region of requests that are signed for none, of ``streams``, and of :meth:`client`.
    :param account_id: the account of all streams.
    :param listen: the host and port to listen on. Port 0 takes a free one.
    :param arguments: more arguments of ``anabranch serve``.
    :param program: the path of the program; see :func:`anabranch.find_program` for where it is looked for.
    :param startup_timeout: how many seconds it may take until the server serves.
    :raises ServerError: if the server does not start.
    :raises ProgramNotFoundError: if the program is not found.
    """

    #: Where the server is: ``http://127.0.0.1:41234``.
    url: str
    #: The region of :meth:`client`, if it is told no other.
    region: str
    #: The account of the streams.
    account_id: str
    #: The process of the program.
    process: subprocess.Popen[bytes]

    def __init__(
        self,
        streams: _Texts = (),
        *,
        faults: _Texts = (),
        fault_seed: int | None = None,
        emulate: _Texts = (),
        data_dir: str | os.PathLike[str] | None = None,
        region: str = "us-east-1",
        account_id: str = "000000000000",
        listen: str = "127.0.0.1:0",
        arguments: _Texts = (),
        program: str | os.PathLike[str] | None = None,
        startup_timeout: float = 60.0,
    ) -> None:
        command = [
            os.fspath(program) if program is not None else find_program(),
            "serve",
            "--exit-with-stdin",
            f"--listen={listen}",
            f"--region={region}",
            f"--account-id={account_id}",
            "--ephemeral" if data_dir is None else f"--data-dir={os.fspath(data_dir)}",
        ]
        command += [f"--create-stream={stream}" for stream in _listed(streams)]
        command += [f"--fault={fault}" for fault in _listed(faults)]
        command += [f"--emulate={emulated}" for emulated in _listed(emulate)]
        if fault_seed is not None:
            command.append(f"--fault-seed={fault_seed}")
        command += _listed(arguments)
        self.region = region
        self.account_id = account_id
        self._session: Any = None
        self._owner = os.getpid()
        # Files without a name: the program never waits for a reader, as it would at a pipe that is full, and nothing is
        # left of them, however this process ends.
        self._output: IO[bytes] = tempfile.TemporaryFile()
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self._log = ""
        _servers.add(self)
        try:
            self.process = subprocess.Popen(
                command,
                # Nothing is ever written to it. Its end comes with the end of this process, also by SIGKILL, and the
                # program ends at that.
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._errors,
                # What the environment says of another server is not meant for this one.
                env={name: value for name, value in os.environ.items() if not name.startswith("ANABRANCH_")},
                # Ctrl-C at the terminal is for this process, which may still need the server then.
                start_new_session=True,
            )
        except BaseException:
            self._output.close()
            self._errors.close()
            raise
        # For a server that is not stopped: when it is collected as garbage, and when the interpreter ends.
        self._at_end = weakref.finalize(self, _end, self.process, (self._output, self._errors), self._owner)
        try:
            self.url = self._wait_for_url(startup_timeout)
        except BaseException:
            self.kill()
            raise

    def client(self, **arguments: Any) -> Any:
        """A boto3 client of the server, which runs for as long as there is one, unless it is stopped. Keyword arguments are
        those of ``boto3.client``, such as ``region_name`` and ``config``."""
        try:
            import boto3  # type: ignore[import-untyped, unused-ignore]
            from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]
        except ImportError as error:
            raise ImportError("a client of the server needs boto3: pip install 'anabranch[boto3]'") from error
        if self._session is None:
            # Not the default session of boto3, which is that of the program under test. Making it takes much longer than
            # making a client.
            self._session = boto3.session.Session()
        # A proxy that the environment names does not know this machine's loopback.
        config = Config(proxies={})
        if arguments.get("config") is not None:
            config = config.merge(arguments["config"])
        given = {
            "endpoint_url": self.url,
            "region_name": self.region,
            "aws_access_key_id": _ANY_KEY,
            "aws_secret_access_key": _ANY_KEY,
        }
        client = self._session.client("kinesis", **{**given, **arguments, "config": config})
        # A server that is garbage is stopped, and this one is still needed.
        client._anabranch_server = self
        return client

    def environment(self, region: str | None = None) -> dict[str, str]:
        """Environment variables by which the AWS SDKs and the AWS command line find the server by themselves."""
        region = self.region if region is None else region
        return {
            "AWS_ENDPOINT_URL_KINESIS": self.url,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ACCESS_KEY_ID": _ANY_KEY,
            "AWS_SECRET_ACCESS_KEY": _ANY_KEY,
        }

    def log(self) -> str:
        """What the program has written to its standard error so far."""
        return self._log if self._errors.closed else _text(self._errors)

    def stop(self, timeout: float = 60.0) -> None:
        """Stops the server in order: what it has taken is answered, and its store is closed. Does nothing if it is stopped.

        :param timeout: how many seconds that may take. Then it is killed.
        :raises ServerError: if it had ended before, by itself, or does not end in order.
        """
        if not self._is_ours():
            return
        ended_before = self.process.poll() is not None
        try:
            self.process.terminate()
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"anabranch did not stop within {timeout} s", self._log) from None
        except BaseException:
            self.kill()
            raise
        self._forget()
        if ended_before:
            raise ServerError(f"anabranch had ended by itself, {self._status()}", self._log)
        if self.process.returncode != 0:
            raise ServerError(f"anabranch did not stop in order, and ended {self._status()}", self._log)

    def kill(self) -> None:
        """Kills the server (SIGKILL), as a crash does. With a ``data_dir``, the next one finds what this one acknowledged."""
        if self._is_ours():
            self.process.kill()
            self.process.wait()
            self._forget()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except ServerError:
            # What went wrong in the block says more.
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<anabranch.Server {getattr(self, 'url', 'that did not start')}>"

    def _wait_for_url(self, timeout: float) -> str:
        """The program says where it is in its first line, when it serves."""
        deadline = time.monotonic() + timeout
        while True:
            # In this order: what it said before it ended is there once it has ended.
            has_ended = self.process.poll() is not None
            line, end, _ = _text(self._output).partition("\n")
            if end and line:
                return _url_in(line)
            if has_ended:
                self._forget()
                raise ServerError(f"anabranch did not start, and ended {self._status()}", self._log)
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"anabranch did not start within {timeout} s", self._log)
            time.sleep(0.002)

    def _is_ours(self) -> bool:
        """Whether there is something to end. A process that was forked of this one has the object, and not the child."""
        return self._at_end.alive and self._owner == os.getpid()

    def _forget(self) -> None:
        """Closes what belongs to a process that has ended."""
        self._at_end.detach()
        self._log = _text(self._errors)
        _close(self.process, (self._output, self._errors))

    def _status(self) -> str:
        status = self.process.returncode
        return f"by signal {-status}" if status < 0 else f"with status {status}"


def fresh_region() -> str:
    """The name of a region that was never used. A stream belongs to a region; so the streams of a test that has a region of
    its own are apart from those of all others."""
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(12))
    # It looks like one of AWS': some SDKs derive the partition from it.
    return f"us-test{letters}-1"


def _url_in(line: str) -> str:
    """The first line of the program is JSON, or its last word is the URL; with ``--ephemeral`` that is the only one."""
    try:
        url: str = json.loads(line)["url"]
    except ValueError:
        url = line.split()[-1]
    return url


def _listed(texts: _Texts) -> list[str]:
    """One text is a list of one, and not of its letters."""
    return [texts] if isinstance(texts, str) else [str(text) for text in texts]


def _text(file: IO[bytes]) -> str:
    """What is in a file that the program writes to. It shares the position, which must not move."""
    length = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), length, 0).decode(errors="replace")


def _end(process: subprocess.Popen[bytes], files: tuple[IO[bytes], ...], owner: int) -> None:
    if owner != os.getpid():
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _close(process, files)


def _let_go() -> None:
    """In a process that was forked: the standard input of the servers of its parent ends with the parent, also if this
    process lives on."""
    for server in list(_servers):
        process = getattr(server, "process", None)
        if process is not None and process.stdin is not None:
            process.stdin.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _close(process: subprocess.Popen[bytes], files: tuple[IO[bytes], ...]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    for file in files:
        file.close()
