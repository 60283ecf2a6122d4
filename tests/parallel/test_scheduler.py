"""Schedulers that cannot be used are refused in one line, before any work."""

import asyncio
import contextlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time

import pytest

import geossda
from geossda import SegmentConfig
from geossda.errors import InputError
from geossda.parallel import scheduler
from geossda.parallel.dask_workers import Workers
from geossda.parallel.scheduler import check_scheduler, local_paths

MALFORMED = ["localhost", "8786", ":8786", "tcp://", "tcp://host", "tcp://host:0", "tcp://host:99999",
             "tcp://host:port", "http://host:8786", "file:///etc/passwd", "tcp://a b:1",
             "tcp://user@host:8786", "inproc://1/2/3", "tcp://[::1", "-"]  # fmt: skip


@pytest.mark.parametrize("address", MALFORMED)
def test_a_malformed_address_is_refused(address):
    with pytest.raises(InputError, match=r"an address such as tcp://host:8786 was expected"):
        check_scheduler(address)


@contextlib.contextmanager
def answering(text):
    """Serve a program on a port that sends some bytes to whoever connects."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(text)
            self.request.recv(10_000)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\xff" * 64, bytes(64)]
)
def test_another_program_on_the_port_is_refused(monkeypatch, text):
    monkeypatch.setattr(scheduler, "ANSWER_S", 3)
    with answering(text) as address, pytest.raises(InputError, match="cannot be reached") as error:
        check_scheduler(address)
    assert "\n" not in str(error.value)


def test_nobody_on_the_port_is_refused_in_one_line_of_the_program(tmp_path, make_raster):
    raster = make_raster(tmp_path / "in.tif")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    impatient = (
        "from geossda.parallel import scheduler; scheduler.ANSWER_S = 1\n"
        "from geossda_cli.main import main; main()"
    )
    for address in (f"tcp://127.0.0.1:{port}", f"tls://127.0.0.1:{port}"):
        done = subprocess.run(
            [sys.executable, "-c", impatient, "harmonize", raster, "--style", raster, "-o",
             tmp_path / "out.tif", "--method", "histogram", "--scheduler", address],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1 and "cannot be reached" in done.stderr
        assert os.listdir(tmp_path) == ["in.tif"]


@pytest.fixture(scope="module")
def lonely(tmp_path_factory):
    """A scheduler without workers."""
    folder = tmp_path_factory.mktemp("dask")
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", "s.json"],
        cwd=folder, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    file = folder / "s.json"
    while not file.exists() or not file.read_text().strip().endswith("}"):
        assert time.monotonic() < deadline, "no scheduler came up"
        time.sleep(0.1)
    yield json.loads(file.read_text())["address"]
    process.terminate()
    process.wait(30)


def test_a_scheduler_without_workers_is_refused(monkeypatch, lonely):
    monkeypatch.setattr(scheduler, "FIRST_WORKER_S", 1)
    with pytest.raises(InputError, match="has no workers: start some with dask worker"):
        check_scheduler(lonely)


def test_workers_that_cannot_do_the_work_are_refused(monkeypatch, lonely, tmp_path):
    command = [sys.executable, "-m", "dask", "worker", lonely, "--nthreads", "1", "--no-nanny",
               "--host", "127.0.0.1", "--no-dashboard"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            seen = tmp_path / "here.tif"
            seen.touch()
            monkeypatch.setattr(scheduler, "FIRST_WORKER_S", 120)
            check_scheduler(lonely, local_paths([str(seen), "https://x/y.tif"], tmp_path / "a/o"))
            with pytest.raises(InputError, match=r"does not see /nowhere/a.tif"):
                check_scheduler(lonely, [str(seen), "/nowhere/a.tif"])
            monkeypatch.setattr(scheduler, "__version__", "99.0")
            with pytest.raises(InputError, match=f"has geossda {geossda.__version__}.* 99.0"):
                check_scheduler(lonely)

            async def in_a_notebook():
                check_scheduler(lonely)

            monkeypatch.undo()
            asyncio.run(in_a_notebook())
        finally:
            process.terminate()


def test_strangers_cannot_talk_to_the_workers_of_this_machine():
    """Whoever can have a scheduler run code runs it as the user who started it."""
    from distributed import Client, Security

    with Workers(SegmentConfig(workers=2)) as workers:
        assert sorted(workers.map(abs, [-1, 2])) == [1, 2]
        cluster = workers.client.cluster
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        for at, security in ((address.replace("tls", "tcp"), None),
                             (address, Security.temporary())):  # fmt: skip
            with pytest.raises(OSError):
                Client(at, security=security, timeout=2)
        with socket.create_connection(("127.0.0.1", cluster.scheduler.http_server.port)) as http:
            http.sendall(b"GET /info/main/workers.html HTTP/1.0\r\n\r\n")
            assert b" 404 " in http.recv(1000)
