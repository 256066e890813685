"""A record processor that notes all that the KCL tells it, as lines of JSON at the end of one file.

Run by the MultiLangDaemon as: processor.py FILE WORKER

A line is one write, and the file is open for appending: so the lines of all processors of all workers are in the order in
which things happened.
"""
import json
import os
import sys
import time

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor


class Processor(processor.RecordProcessorBase):
    def __init__(self, path, worker):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.worker = worker
        self.shard = None
        self.last = None
        self.checkpointed = time.monotonic()

    def note(self, *events):
        common = {"worker": self.worker, "shard": self.shard, "process": os.getpid()}
        lines = "".join(json.dumps({**common, **event}) + "\n" for event in events)
        os.write(self.file, lines.encode())

    def initialize(self, initialize_input):
        self.shard = initialize_input.shard_id
        start = [initialize_input.sequence_number, initialize_input.sub_sequence_number]
        self.note({"event": "begin", "from": start})

    def process_records(self, process_records_input):
        events = []
        for record in process_records_input.records:
            self.last = [record.sequence_number, record.sub_sequence_number]
            data = record.binary_data.decode()
            events.append({"event": "record", "at": self.last, "key": record.partition_key, "data": data})
        self.note(*events)
        # As in a real program, a worker that is killed has records behind its checkpoint.
        if time.monotonic() - self.checkpointed > 1:
            self.checkpoint(process_records_input.checkpointer)
            self.checkpointed = time.monotonic()

    def checkpoint(self, checkpointer):
        try:
            checkpointer.checkpoint()
        except kcl.CheckpointError as error:
            # Another worker has the shard now.
            return self.note({"event": "refused", "why": str(error)})
        self.note({"event": "checkpoint", "at": self.last})

    def lease_lost(self, lease_lost_input):
        self.note({"event": "lost"})

    def shard_ended(self, shard_ended_input):
        shard_ended_input.checkpointer.checkpoint()
        self.note({"event": "end"})

    def shutdown_requested(self, shutdown_requested_input):
        self.note({"event": "asked to stop"})
        if self.last:
            self.checkpoint(shutdown_requested_input.checkpointer)


kcl.KCLProcess(Processor(*sys.argv[1:])).run()
