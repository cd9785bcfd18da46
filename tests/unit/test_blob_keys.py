"""A key belongs to the tenant that its second segment names, to the letter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.blobs.keys import belongs_to


@pytest.mark.parametrize(
    "key",
    [
        "uploads/acme/01a1fbea-6e13-7d45-ac0a-768cee331159",
        "results/acme/01a1fbea-6e13-7d45-ac0a-768cee331159/7.json",
        "artifacts/acme/01a1fbea-6e13-7d45-ac0a-768cee331159/clean-1/people.csv",
        "uploads/acme/...",
    ],
)
def test_a_key_belongs_to_its_tenant(key: str) -> None:
    assert belongs_to(key, "acme")
    assert not belongs_to(key, "other")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "acme",
        "uploads/acme",
        "uploads/acme/",
        "uploads//acme/1",
        "/uploads/acme/1",
        "uploads/other/1",
        "uploads/ACME/1",
        "uploads/acmes/1",
        "uploads/acme /1",
        "uploads/other/acme/1",
        "uploads/acme/../other/1",
        "uploads/acme/..",
        "uploads/acme/./1",
        "../acme/1",
        "uploads/acme/%2e%2e/other/1",
        "uploads/acme/..\\other\\1",
        "uploads/acme/1\n",
        "uploads/acme/1\x00",
        "uploads/acme/é",
        "uploads/acme/1.1a2b3c4d.partial",
        "segments/acme/1",
    ],
)
def test_what_is_not_plainly_a_key_of_the_tenant_is_none(key: str) -> None:
    assert not belongs_to(key, "acme")


@pytest.mark.parametrize("tenant", ["", ".", "..", "a/b", "other/../acme"])
def test_a_tenant_that_is_no_segment_has_no_keys(tenant: str) -> None:
    assert not belongs_to(f"uploads/{tenant}/1", tenant)


@given(st.lists(st.sampled_from(["uploads", "acme", "other", "..", ".", "", "1", "%2e", "\\", "\n"]), max_size=6))
def test_a_key_that_belongs_stays_within_the_tenants_folder(segments: list[str]) -> None:
    if belongs_to("/".join(segments), "acme"):
        assert segments[1] == "acme"
        assert not {"", ".", "..", "%2e", "\\", "\n"} & set(segments)
