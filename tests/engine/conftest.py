"""Copies of the tiny models to damage, and a hub on this machine."""

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine import onnx_conversion, onnx_graphs

in_a_process_of_its_own = onnx_graphs._run


@pytest.fixture(autouse=True, scope="session")
def _convert_in_this_process() -> Iterator[None]:
    """Convert graphs here, which has imported all that it takes: a process of its own needs ten seconds for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graphs, "_run", lambda conversion, what: onnx_conversion.convert(conversion))
        yield


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base, to change."""
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


@pytest.fixture
def adapter(tiny_adapter: Path, base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny adapter, which names the copy of the base."""
    folder = Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
    edit_json(folder / "adapter_config.json", base_model_name_or_path=str(base))
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.fixture
def edit() -> Any:
    """Change values of a JSON file: edit(path, key=value)."""
    return edit_json


class Hub:
    """Answers as the hub does, for folders given to `add`; `refusal` makes it refuse everything."""

    def __init__(self) -> None:
        self.repositories: dict[str, Path] = {}
        self.refusal: tuple[int, str] | None = None
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and token."""

    def add(self, repo_id: str, folder: Path) -> str:
        self.repositories[repo_id] = folder
        return self.commit(repo_id)

    def commit(self, repo_id: str) -> str:
        return hashlib.sha1(repo_id.encode()).hexdigest()

    def files(self, repo_id: str) -> list[tuple[str, int]]:
        """Names with sizes."""
        root = self.repositories[repo_id]
        paths = [path for path in root.rglob("*") if path.is_file()]
        return [(path.relative_to(root).as_posix(), path.stat().st_size) for path in paths]

    def downloaded(self) -> set[str]:
        parts = [path.split("/", 5) for method, path, _ in self.requests if method == "GET"]
        return {part[5] for part in parts if part[3:4] == ["resolve"]}


def handler_for(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.requests.append((self.command, path, self.headers.get("Authorization")))
            if hub.refusal:
                self.send(hub.refusal[0], b"{}", {"X-Error-Code": hub.refusal[1]}, body=body)
                return
            parts = path.strip("/").removeprefix("api/models/").split("/")
            repo_id, rest = "/".join(parts[:2]), parts[2:]
            if repo_id not in hub.repositories:
                self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
            elif rest[:1] == ["resolve"]:
                self.send_file(repo_id, hub.repositories[repo_id].joinpath(*rest[2:]), body=body)
            elif rest[:1] == ["revision"] and rest[1] not in ("main", hub.commit(repo_id)):
                self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
            else:
                self.send_listing(repo_id, tree=rest[:1] == ["tree"])

        def send_listing(self, repo_id: str, *, tree: bool) -> None:
            files = hub.files(repo_id)
            answer: Any = {
                "id": repo_id,
                "sha": hub.commit(repo_id),
                "siblings": [{"rfilename": name, "size": size} for name, size in files],
            }
            if tree:
                answer = [{"type": "file", "path": name, "size": size, "oid": name} for name, size in files]
            self.send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body=True)

        def send_file(self, repo_id: str, path: Path, *, body: bool) -> None:
            data = path.read_bytes()
            etag = hashlib.sha1(data).hexdigest()
            self.send(200, data, {"X-Repo-Commit": hub.commit(repo_id), "ETag": f'"{etag}"'}, body=body)

        def send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    return Handler


def move_hub(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    from huggingface_hub import constants

    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def unplug(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, nothing listens where the hub was."""

    def unplug() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        move_hub(monkeypatch, port)

    return unplug


@pytest.fixture
def silent(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        move_hub(monkeypatch, server.getsockname()[1])
        yield


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with nothing in it, and an empty cache."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    move_hub(monkeypatch, server.server_port)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()
    try:
        yield hub
    finally:
        close_session()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch with one thread: on models so small, threads only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
