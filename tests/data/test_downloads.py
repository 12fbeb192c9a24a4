"""Downloads: checksums, mirrors, broken connections, two processes, folders that are filled."""

import bz2
import gzip
import io
import lzma
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lm_research.data import transfers
from lm_research.data.archives import member, members
from lm_research.data.document import DataError
from lm_research.data.downloads import Downloads, RemoteFile

TEXT = "".join(f"line {i}: {i * i}\n" for i in range(20_000)).encode()
CHUNK = transfers.CHUNK
DIGEST = sha256(TEXT).hexdigest()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PAUSE_S", 0.0)
    monkeypatch.setattr(transfers.transfer, "__defaults__", (transfers.ATTEMPTS, 0.0))
    Downloads._verified.clear()


@pytest.fixture
def server(file_server: Any) -> Any:
    file_server.files["/a.txt"] = TEXT
    return file_server


def remote(server: Any, **changes: Any) -> RemoteFile:
    given = {"name": "corpus/a.txt", "urls": [f"{server.url}/a.txt"], "sha256": DIGEST}
    return RemoteFile(**{**given, **changes})


def fetch(folder: Path, *files: RemoteFile) -> list[bytes]:
    downloads = Downloads(str(folder))
    downloads.fetch(files, "data=test")
    contents = []
    for file in files:
        with downloads.open(file) as content:
            contents.append(content.read())
    return contents


def left(folder: Path) -> list[str]:
    """Names of the files, but for the locks."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_a_file_is_downloaded_once(server: Any, tmp_path: Path) -> None:
    assert fetch(tmp_path / "new", remote(server)) == [TEXT]
    assert fetch(tmp_path / "new", remote(server)) == [TEXT]
    assert len(server.requests) == 1
    assert left(tmp_path) == ["a.txt"]


def test_a_wrong_checksum_names_file_expected_found_and_the_fix(
    server: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        fetch(tmp_path, remote(server, sha256="0" * 64))
    for part in ("corpus/a.txt", server.url, f"expected {'0' * 64}", DIGEST, "fix:"):
        assert part in str(caught.value)
    assert left(tmp_path) == []


def test_a_file_that_lies_there_with_another_content_is_told_and_kept(
    server: Any, tmp_path: Path
) -> None:
    path = tmp_path / "corpus" / "a.txt"
    path.parent.mkdir()
    path.write_bytes(b"my own")
    with pytest.raises(DataError, match=f"expected {DIGEST}\n  fix: move it away"):
        fetch(tmp_path, remote(server))
    assert path.read_bytes() == b"my own"
    assert not server.requests
    assert fetch(tmp_path, remote(server, sha256=None)) == [b"my own"]


def test_a_connection_that_breaks_is_gone_on_with(server: Any, tmp_path: Path) -> None:
    server.drop_after["/a.txt"] = [CHUNK * 2, CHUNK]
    assert fetch(tmp_path, remote(server)) == [TEXT]
    ranges = [wanted for _, wanted in server.requests]
    assert ranges == ["", f"bytes={CHUNK * 2}-", f"bytes={CHUNK * 3}-"]


def test_the_next_command_goes_on_where_the_last_one_gave_up(server: Any, tmp_path: Path) -> None:
    server.drop_after["/a.txt"] = [CHUNK] + [0] * (transfers.ATTEMPTS - 1)
    with pytest.raises(DataError, match="goes on where it stopped"):
        fetch(tmp_path, remote(server))
    assert fetch(tmp_path, remote(server)) == [TEXT]
    assert server.requests[-1] == ("/a.txt", f"bytes={CHUNK}-")
    assert left(tmp_path) == ["a.txt"]


def test_a_server_without_ranges_begins_anew(server: Any, tmp_path: Path) -> None:
    server.ranges = False
    server.drop_after["/a.txt"] = [100_000]
    assert fetch(tmp_path, remote(server)) == [TEXT]


@pytest.mark.parametrize("beginning", [b"another edition", TEXT + b"longer"])
def test_a_beginning_of_another_edition_is_noticed(
    server: Any, tmp_path: Path, beginning: bytes
) -> None:
    name = sha256(f"{server.url}/a.txt".encode()).hexdigest()[:12]
    part = tmp_path / "corpus" / f".{name}.part.txt"
    part.parent.mkdir()
    part.write_bytes(beginning)
    assert fetch(tmp_path, remote(server)) == [TEXT]
    assert left(tmp_path) == ["a.txt"]


def test_without_a_checksum_no_beginning_is_trusted(server: Any, tmp_path: Path) -> None:
    server.drop_after["/a.txt"] = [10] + [0] * (transfers.ATTEMPTS - 1)
    with pytest.raises(DataError):
        fetch(tmp_path, remote(server, sha256=None))
    assert fetch(tmp_path, remote(server, sha256=None)) == [TEXT]
    assert server.requests[-1] == ("/a.txt", "")


def test_what_was_not_verified_is_told_with_its_checksum(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(tmp_path, remote(server, sha256=None))
    assert f"corpus/a.txt: not verified; its sha256 is {DIGEST}" in capsys.readouterr().err


def test_a_busy_server_is_asked_again(server: Any, tmp_path: Path) -> None:
    server.status["/a.txt"] = [503, 429]
    assert fetch(tmp_path, remote(server)) == [TEXT]


def test_the_second_mirror_is_taken_where_the_first_fails(server: Any, tmp_path: Path) -> None:
    server.files["/wrong.txt"] = b"something else"
    urls = [f"{server.url}/gone.txt", f"{server.url}/wrong.txt", f"{server.url}/a.txt"]
    assert fetch(tmp_path, remote(server, urls=urls)) == [TEXT]
    assert server.counts() == {"/gone.txt": 1, "/wrong.txt": 1, "/a.txt": 1}


def test_a_web_page_in_place_of_the_file_is_no_corpus(server: Any, tmp_path: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="a web page, not the file"):
        fetch(tmp_path, remote(server, sha256=None))


def test_without_a_network_addresses_and_places_for_copies_are_named(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/a.txt"  # the port of "discard": nobody listens
    files = [RemoteFile(f"corpus/{n}.txt", [url], DIGEST) for n in "ab"]
    with pytest.raises(DataError) as caught:
        fetch(tmp_path, *files)
    told = str(caught.value)
    for part in (url, str(tmp_path / "corpus" / "a.txt"), "LM_RESEARCH_DOWNLOADS", ".gz"):
        assert part in told
    assert f"{url}: as before" in told  # not waited for twice
    (tmp_path / "corpus" / "a.txt").write_bytes(TEXT)
    (tmp_path / "corpus" / "b.txt.gz").write_bytes(gzip.compress(TEXT))
    assert fetch(tmp_path, *files) == [TEXT, TEXT]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".bz2", bz2.compress),
        (".zst", zstandard.compress),
    ],
)
def test_a_copy_may_be_compressed_and_its_content_is_checked(
    tmp_path: Path, suffix: str, compress: Any
) -> None:
    path = tmp_path / f"a.txt{suffix}"
    file = RemoteFile("a.txt", [], DIGEST)
    path.write_bytes(compress(TEXT))
    assert fetch(tmp_path, file) == [TEXT]
    path.write_bytes(compress(TEXT + b"!"))
    with pytest.raises(DataError, match="of its content, unpacked"):
        fetch(tmp_path, file)
    path.write_bytes(compress(random.Random(0).randbytes(10_000))[:-2000])
    with pytest.raises(DataError, match="damaged or cut short"):
        fetch(tmp_path, file)


def test_what_comes_compressed_is_kept_so(server: Any, tmp_path: Path) -> None:
    server.files["/a.txt.gz"] = gzip.compress(TEXT)
    assert fetch(tmp_path, remote(server, urls=[f"{server.url}/a.txt.gz"])) == [TEXT]
    assert left(tmp_path) == ["a.txt.gz"]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_members_of_an_archive_that_is_downloaded_once(
    server: Any, tmp_path: Path, pack: Any
) -> None:
    server.files["/a.zip"] = pack({"x/a.txt": TEXT, "x/b.txt": b"b", "../../evil": b"e"})
    url = f"{server.url}/a.zip"
    files = [
        remote(server, urls=[f"{url}#a.txt"]),
        remote(server, name="corpus/b.txt", urls=[f"{url}#x/b.txt"], sha256=None),
    ]
    assert fetch(tmp_path / "in", *files) == [TEXT, b"b"]
    assert server.counts() == {"/a.zip": 1}
    assert left(tmp_path) == ["a.txt", "b.txt"]


def test_the_archive_s_own_checksum_stands_in(server: Any, tmp_path: Path) -> None:
    content = zipped({"a.txt": TEXT})
    server.files["/a.zip"] = content
    options: dict[str, Any] = {"urls": [f"{server.url}/a.zip#a.txt"], "sha256": None}
    with pytest.raises(DataError, match="the archive has sha256"):
        fetch(tmp_path, remote(server, archive_sha256="0" * 64, **options))
    right = sha256(content).hexdigest()
    assert fetch(tmp_path, remote(server, archive_sha256=right, **options)) == [TEXT]


def test_a_member_that_is_not_there_is_told(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = zipped({"b.txt": TEXT})
    with pytest.raises(DataError, match=r"no member a\.txt"):
        fetch(tmp_path, remote(server, urls=[f"{server.url}/a.zip#a.txt"]))
    assert left(tmp_path) == []


def test_names_with_dots_lead_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.zip"
    path.parent.mkdir()
    path.write_bytes(zipped({"../evil.txt": b"evil", "/etc/evil": b"evil", "good.txt": b"good"}))
    with member(path, "good.txt") as content:
        assert content.read() == b"good"
    with member(path, "evil.txt") as content:  # read, never written
        assert content.read() == b"evil"
    assert left(tmp_path) == ["a.zip"]
    for name in ("../a.txt", "/a.txt", "a/../../b", ".hidden/a", "a\\b", "", "a//b", "a/"):
        with pytest.raises(ValueError, match="name="):
            RemoteFile(name, [], None)


def test_links_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("link.txt")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    assert list(members(path, lambda name: True)) == []


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_that_unfolds_without_end_is_stopped(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(pack({"a.txt": bytes(1_000_000)}))
    with (
        pytest.raises(DataError, match="more than 999,999 bytes"),
        member(path, "a.txt", limit=999_999) as content,
    ):
        content.read()
    with member(path, "a.txt", limit=1_000_000) as content:
        assert len(content.read()) == 1_000_000


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_damaged_archive_is_told(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(pack({"a.txt": random.Random(0).randbytes(50_000)})[:-20_000])
    with (
        pytest.raises(DataError, match=r"a\.zip is damaged or cut short"),
        member(path, "a.txt") as stream,
    ):
        stream.read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(server: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            fetch(tmp_path, remote(server))
    finally:
        tmp_path.chmod(0o755)


def test_a_folder_that_cannot_be_made_is_told(server: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Not a directory") as caught:
        fetch(tmp_path / "file", remote(server))
    assert "downloads=FOLDER" in str(caught.value)


def test_a_filled_read_only_folder_is_not_touched(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt.xz").write_bytes(lzma.compress(TEXT))

    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "touch", "unlink", "write_bytes"):
        monkeypatch.setattr(Path, name, refused)
    assert fetch(tmp_path, remote(server)) == [TEXT]
    assert left(tmp_path) == ["a.txt.xz"]
    assert not (tmp_path / "corpus" / ".lock").exists()


FETCH = """
import sys
from lm_research.data.downloads import Downloads, RemoteFile
file = RemoteFile("corpus/a.txt", [sys.argv[2]], sys.argv[3])
Downloads(sys.argv[1]).fetch([file], "data=test")
"""


def test_two_processes_at_once_download_once(server: Any, tmp_path: Path) -> None:
    server.pause_s = 0.5
    command = [sys.executable, "-c", FETCH, str(tmp_path), f"{server.url}/a.txt", DIGEST]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert server.counts() == {"/a.txt": 1}
    assert (tmp_path / "corpus" / "a.txt").read_bytes() == TEXT
    assert left(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "a.txt", "http:///x"])
def test_only_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(ValueError, match="no http or https address"):
        RemoteFile("a.txt", [url], None)


def test_a_checksum_is_64_hex_digits() -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        RemoteFile("a.txt", [], "abc")
