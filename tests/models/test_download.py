"""Models by address: over TLS from a server of these tests, from a hub of these tests, or not."""

import datetime
import gc
import http.server
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import warnings

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from geossda.errors import ModelError
from geossda.models.card import SegmenterCard
from geossda.models.model_file import read_model, resolve
from geossda_cli.main import cli


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                          serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip
    return path


@pytest.fixture
def serve():
    """Serve a handler on a free port of this machine; gives the port."""
    servers = []

    def start(handler, certificate=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of connections that the client has broken off
        del servers[:]
        gc.collect()


@pytest.fixture
def cache(tmp_path, monkeypatch, certificate):
    monkeypatch.setenv("GEOSSDA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return tmp_path / "cache"


def test_a_model_at_an_address_is_fetched_once_and_listed(serve, cache, certificate, tiny_model):
    asked = []

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            there = self.path == "/models/tiny.onnx"
            self.send_response(200 if there else 404)
            self.end_headers()
            if there:
                self.wfile.write(tiny_model.with_suffix(".onnx").read_bytes())

        def log_message(self, *_):
            pass

    address = f"https://127.0.0.1:{serve(Files, certificate)}/models/tiny.onnx"
    for _ in range(2):
        files, card = read_model(address, SegmenterCard)
        assert card.name == "tiny" and files.weights is None
        assert files.graph.read_bytes() == tiny_model.with_suffix(".onnx").read_bytes()
    assert asked == ["/models/tiny.onnx"]
    listed = json.loads(CliRunner().invoke(cli, ["models", "--json"]).output)
    assert [each["kind"] for each in listed] == ["segmenter", "style", "segmenter"]
    assert listed[0]["model"] == "default" and listed[2]["path"] == str(files.graph)
    files.graph.write_bytes(b"not a model")
    text = CliRunner().invoke(cli, ["models"]).output
    assert len(text.splitlines()) == 3 and "damaged" in text
    with pytest.raises(ModelError, match=r"cannot be downloaded .*check the address"):
        resolve(address.replace("tiny", "other"), SegmenterCard)
    assert not list(cache.rglob("*other*"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://127.0.0.1:9/m.onnx", "cannot be downloaded"),
        ("https://127.0.0.1:9/m.pt", "was expected"),
        ("https:///m.onnx", "was expected"),
        ("http://127.0.0.1:9/m.onnx", "unknown model"),
        ("hf:nobody", "hf:owner/name"),
        ("hf:a/../../b", "hf:owner/name"),
    ],
)
def test_addresses_that_lead_nowhere_are_one_line(cache, address, message):
    with pytest.raises(ModelError, match=message) as error:
        resolve(address, SegmenterCard)
    assert "\n" not in str(error.value)


def test_models_of_a_hub_are_found_by_owner_and_name(serve, tmp_path, tiny_model):
    """What the hub's client asks for, answered by a server that has one repository."""
    files = {f"model{suffix}": tiny_model.with_suffix(suffix).read_bytes()
             for suffix in (".onnx", ".safetensors")}  # fmt: skip
    commit = "0123456789abcdef0123456789abcdef01234567"

    class Hub(http.server.BaseHTTPRequestHandler):
        def answer(self, body):
            name = self.path.partition("?")[0].rpartition("/")[2]
            if "/api/models/me/mine/tree/" in self.path:
                names = (*files, "README.md")
                tree = [{"type": "file", "path": n, "size": 1, "oid": "0"} for n in names]
                content = json.dumps(tree).encode()
            else:
                content = files.get(name)
            self.send_response(404 if content is None else 200)
            content = content or b""
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{name}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_GET(self):
            self.answer(True)

        def do_HEAD(self):
            self.answer(False)

        def log_message(self, *_):
            pass

    told = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{serve(Hub)}", "HF_HOME": str(tmp_path),
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
    script = (
        "from geossda.models.card import SegmenterCard\n"
        "from geossda.models.model_file import read_model\n"
        "files, card = read_model('hf:me/mine', SegmenterCard)\n"
        "print(card.name, files.weights.name, files.graph.name)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=told, capture_output=True, text=True)
    assert done.stdout.split() == ["tiny", "model.safetensors", "model.onnx"], done.stderr
    nobody = script.replace("me/mine", "me/other")
    done = subprocess.run([sys.executable, "-c", nobody], env=told, capture_output=True, text=True)
    assert "hf:me/other cannot be downloaded" in done.stderr.splitlines()[-1]


def test_the_client_of_the_hub_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="pip install huggingface_hub"):
        resolve("hf:me/mine", SegmenterCard)


def test_a_pair_is_two_files_of_one_name(tiny_model, tmp_path):
    for suffix in (".safetensors", ".onnx"):
        shutil.copy(tiny_model.with_suffix(suffix), tmp_path / f"m{suffix}")
    files, _ = read_model(tmp_path / "m.safetensors", SegmenterCard)
    assert files == read_model(tmp_path / "m.onnx", SegmenterCard)[0]
    assert (files.weights.name, files.graph.name) == ("m.safetensors", "m.onnx")
