"""A Kinesis server for tests: :class:`Server` runs the program ``anabranch`` for as long as it is needed.

    import anabranch

    with anabranch.Server(streams=["clicks:2"]) as server:
        kinesis = server.client()
        kinesis.put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")

With pytest, the fixture ``kinesis`` is a client of such a server: see :mod:`anabranch.pytest_plugin`.
"""

from ._program import ProgramNotFoundError, find_program
from ._server import Server, ServerError, fresh_region

__all__ = ["ProgramNotFoundError", "Server", "ServerError", "find_program", "fresh_region"]
