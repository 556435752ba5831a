"""A Hugging Face hub of one process: repositories in memory, large files by git LFS, failures on demand.

Written from the requests that huggingface_hub makes, for the real client to talk to.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors",)


class Hub:
    """The state that requests change.

    Attributes:
        private: by repository whether it is private
        commits: by repository, of each commit the files' bytes by path
        objects: bytes of large files by SHA-256
        fail: (method, pattern of the path, status) that answer once each
        requests: methods and paths, in order
    """

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.objects: dict[str, bytes] = {}
        self.fail: list[tuple[str, str, int]] = []
        self.requests: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, repo: str, files: dict[str, bytes], private: bool = True) -> None:
        self.private[repo] = private
        self.commits.setdefault(repo, [{}]).append(files)

    def files(self, repo: str) -> dict[str, bytes]:
        return self.commits[repo][-1]

    def sent(self, method: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.requests if line.startswith(f"{method} ")]


def sha(repo: str, number: int) -> str:
    return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{method} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for failure in self.hub.fail:
            if failure[0] == method and re.search(failure[1], path):
                self.hub.fail.remove(failure)
                return self._send(failure[2], b'{"error": "on demand"}')
        for kind, pattern, answer in ROUTES:
            if method in kind and (match := re.fullmatch(pattern, path)):
                return answer(self, body, *match.groups())
        return self._send(404, b"{}")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, values) -> None:
        self._send(200, json.dumps(values).encode())

    def _known(self, repo: str) -> bool:
        if repo in self.hub.commits:
            return True
        self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        return False

    def create(self, body: bytes) -> None:
        values = json.loads(body)
        repo = f"{values.get('organization') or 'me'}/{values['name']}"
        private = values.get("private") or values.get("visibility") == "private"
        self.hub.private[repo], self.hub.commits[repo] = bool(private), [{}]
        self._json({"url": f"{self.hub.endpoint}/{repo}", "id": repo})

    def validate(self, body: bytes) -> None:
        head = json.loads(body)["content"].partition("---\n")[2].partition("---\n")[0]
        errors = [] if "license: " in head else [{"message": "no license"}]
        self._send(400 if errors else 200, json.dumps({"errors": errors, "warnings": []}).encode())

    def info(self, body: bytes, repo: str, revision: str | None) -> None:
        if not self._known(repo):
            return
        commits = self.hub.commits[repo]
        numbers = {sha(repo, n): n for n in range(len(commits))} | {None: len(commits) - 1, "main": len(commits) - 1}
        if revision not in numbers:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        number = numbers[revision]
        files = [{"rfilename": name} for name in sorted(commits[number])]
        self._json({"id": repo, "sha": sha(repo, number), "private": self.hub.private[repo], "siblings": files})

    def tree(self, body: bytes, repo: str, revision: str) -> None:
        if self._known(repo):
            number = self._number(repo, revision)
            files = self.hub.commits[repo][number].items()
            self._json([{"type": "file", "path": p, "size": len(b), "oid": _blob(b)} for p, b in sorted(files)])

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        files = [
            {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular"}
            for each in json.loads(body)["files"]
        ]
        self._json({"files": [each | {"shouldIgnore": False} for each in files]})

    def batch(self, body: bytes, repo: str) -> None:
        objects = []
        for each in json.loads(body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.endpoint}/objects/{each['oid']}"}}
            objects.append(each | ({} if each["oid"] in self.hub.objects else {"actions": upload}))
        self._json({"objects": objects, "transfer": "basic"})

    def put(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        self._send(200, b"")

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        files = dict(self.hub.files(repo))
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        self.hub.commits[repo].append(files)
        number = len(self.hub.commits[repo]) - 1
        url = f"{self.hub.endpoint}/{repo}/commit/{sha(repo, number)}"
        self._json({"commitUrl": url, "commitOid": sha(repo, number), "success": True})

    def resolve(self, body: bytes, repo: str, revision: str, path: str) -> None:
        files = self.hub.commits[repo][self._number(repo, revision)]
        if path not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{_blob(files[path])}"', "X-Repo-Commit": revision, "Accept-Ranges": "bytes"}
        content = files[path]
        if given := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            content = content[int(given[1]) :]
            headers["Content-Range"] = f"bytes {given[1]}-{len(files[path]) - 1}/{len(files[path])}"
        self._send(206 if given else 200, content, headers)

    def _number(self, repo: str, revision: str) -> int:
        commits = self.hub.commits[repo]
        return next((n for n in range(len(commits)) if sha(repo, n) == revision), len(commits) - 1)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate),
    (("GET",), f"/api/models/{NAME}(?:/revision/([^/]+))?", _Handler.info),
    (("GET",), f"/api/models/{NAME}/tree/([^/]+)/?", _Handler.tree),
    (("POST",), f"/api/models/{NAME}/preupload/([^/]+)", _Handler.preupload),
    (("POST",), f"/api/models/{NAME}/commit/([^/]+)", _Handler.commit),
    (("POST",), f"/{NAME}.git/info/lfs/objects/batch", _Handler.batch),
    (("PUT",), "/objects/([0-9a-f]+)", _Handler.put),
    (("GET", "HEAD"), f"/{NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
]
