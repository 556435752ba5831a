"""A file with a checksum is read as it was written, or refused."""

import hashlib
import json

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.storage import checksummed_json

RECORD = {"width": 3, "names": ["a", "ü"], "share": 1e-05}


def test_a_record_comes_back_with_the_digests_of_its_files(tmp_path):
    (tmp_path / "a.json").write_text(checksummed_json.dumps(RECORD, {"b.bin": b"content"}))
    record, digests = checksummed_json.read(tmp_path / "a.json")
    assert record == RECORD
    assert digests == {"b.bin": hashlib.sha256(b"content").hexdigest()}


@pytest.mark.parametrize("options", [{}, {"indent": 2, "sort_keys": True}, {"ensure_ascii": False}])
def test_no_flipped_bit_changes_what_is_read(tmp_path, options):
    path = tmp_path / "a.json"
    whole = checksummed_json.dumps(RECORD, {"b.bin": b""}, **options).encode()
    digests = {"b.bin": hashlib.sha256(b"").hexdigest()}
    for bit in range(len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            assert checksummed_json.read(path) == (RECORD, digests)
        except InputError as error:
            assert "a.json" in str(error)


def test_a_file_without_checksum_is_read_only_where_earlier_code_wrote_it(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(RECORD))
    with pytest.raises(InputError, match=r"a\.json has no checksum"):
        checksummed_json.read(tmp_path / "a.json")
    assert checksummed_json.read(tmp_path / "a.json", required=False) == (RECORD, {})


def test_the_bytes_on_disk_are_those_of_the_first_version_of_the_format():
    body = hashlib.sha256(b'[{"a":1},{"b":"%s"}]' % hashlib.sha256(b"2").hexdigest().encode()).hexdigest()
    expected = {"a": 1, "sha256": {"b": hashlib.sha256(b"2").hexdigest(), "": body}}
    assert checksummed_json.dumps({"a": 1, "sha256": "earlier"}, {"b": b"2"}) == json.dumps(expected)


def test_a_file_that_was_replaced_is_damaged(tmp_path):
    (tmp_path / "b.bin").write_bytes(b"content")
    checksummed_json.check(tmp_path / "b.bin", hashlib.sha256(b"content").hexdigest())
    with pytest.raises(InputError, match=r"b\.bin is damaged"):
        checksummed_json.check(tmp_path / "b.bin", hashlib.sha256(b"other").hexdigest())
