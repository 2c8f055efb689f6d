"""Records are found by the value of a field, with an index or by a search: always the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driver.linux.state.indexed import IndexedRecords

KEYS = st.sampled_from("abcd")
RECORDS = st.dictionaries(st.sampled_from(["volume", "device"]), st.sampled_from(["", "v", "w"]))
STEPS = st.lists(st.tuples(KEYS, st.none() | RECORDS))


@given(STEPS, st.sampled_from(["", "volume", "device"]))
def test_an_index_finds_what_a_search_finds(
    steps: list[tuple[str, dict[str, str] | None]], index: str
) -> None:
    records, expected = IndexedRecords(index), dict[str, dict[str, str]]()
    for key, record in steps:
        if record is None:
            assert records.remove(key) is (expected.pop(key, None) is not None)
        else:
            records.set(key, record)
            expected[key] = record
    assert records.items() == expected
    for field in ("volume", "device", "other"):
        for value in ("", "v", "w"):
            found = {key: one for key, one in expected.items() if one.get(field) == value}
            assert records.find(field, value) == found
    for key in list(records):
        assert records[key] == records.get(key)
        records.remove(key)
    assert records._keys == {}
