"""A sealed file says what was written, or is refused."""

import hashlib
import json

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.storage import checksummed_json

SAID = {"width": 3, "names": ["a", "ü"], "share": 1e-05}


def test_what_was_sealed_comes_back_with_the_digests_of_its_files(tmp_path):
    (tmp_path / "a.json").write_text(checksummed_json.dumps(SAID, {"b.bin": b"content"}))
    said, files = checksummed_json.read(tmp_path / "a.json")
    assert said == SAID
    assert files == {"b.bin": hashlib.sha256(b"content").hexdigest()}


@pytest.mark.parametrize("options", [{}, {"indent": 2, "sort_keys": True}, {"ensure_ascii": False}])
def test_no_flipped_bit_changes_what_is_read(tmp_path, options):
    path = tmp_path / "a.json"
    whole = checksummed_json.dumps(SAID, {"b.bin": b""}, **options).encode()
    files = {"b.bin": hashlib.sha256(b"").hexdigest()}
    for bit in range(len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            assert checksummed_json.read(path) == (SAID, files)
        except InputError as error:
            assert "a.json" in str(error)


def test_a_file_without_seal_is_read_only_where_earlier_code_wrote_them(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(SAID))
    with pytest.raises(InputError, match=r"a\.json has no seal"):
        checksummed_json.read(tmp_path / "a.json")
    assert checksummed_json.read(tmp_path / "a.json", required=False) == (SAID, {})


def test_a_file_that_was_replaced_is_damaged(tmp_path):
    (tmp_path / "b.bin").write_bytes(b"content")
    checksummed_json.check(tmp_path / "b.bin", hashlib.sha256(b"content").hexdigest())
    with pytest.raises(InputError, match=r"b\.bin is damaged"):
        checksummed_json.check(tmp_path / "b.bin", hashlib.sha256(b"other").hexdigest())
